//! SD-34's sentences as CEL: a policy refuses in the very words of everything else, with what the API server knows filled in.

use crate::softdelete::{Refusal, Unless};

/// Between two of them stands CEL, in a text that is a sentence otherwise.
const EDGE: char = '\u{1}';

/// A place in a refusal that the API server fills in: CEL that answers a string.
pub(super) fn hole(cel: &str) -> String {
    format!("{EDGE}{cel}{EDGE}")
}

/// A refusal's sentence as one CEL expression.
pub(super) fn sentence(refusal: &Refusal) -> String {
    cel(&refusal.to_string())
}

/// A change of a field, with both values as strings.
pub(super) fn fixed(field: &str, old: &str, new: &str) -> String {
    sentence(&Refusal::FieldImmutable {
        field: field.to_owned(),
        fixed: hole(old),
        wanted: hole(new),
    })
}

/// A change of the retention. The sentence's days are numbers, so that they are set in as such first.
pub(super) fn retention(old: &str, new: &str) -> String {
    let (fixed, wanted) = (1_000_000_001, 1_000_000_002);
    let text = Refusal::RetentionImmutable { fixed, wanted }.to_string();
    cel(&text
        .replace(&fixed.to_string(), &hole(old))
        .replace(&wanted.to_string(), &hole(new)))
}

/// That the requesting user may not do this.
pub(super) fn not_permitted(verb: &str, resource: &str, name: &str, unless: Unless) -> String {
    sentence(&Refusal::NotPermitted {
        user: hole("request.userInfo.username"),
        verb: verb.to_owned(),
        resource: resource.to_owned(),
        name: name.to_owned(),
        unless,
    })
}

fn cel(text: &str) -> String {
    let parts = text.split(EDGE).enumerate();
    let parts = parts.filter_map(|(at, part)| match at % 2 {
        _ if part.is_empty() => None,
        0 => Some(literal(part)),
        _ => Some(part.to_owned()),
    });
    parts.collect::<Vec<_>>().join(" + ")
}

/// A string as CEL writes it.
pub(super) fn literal(text: &str) -> String {
    let escaped = text.replace('\\', r"\\").replace('\'', r"\'");
    format!("'{}'", escaped.replace('\n', r"\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sd34_a_sentence_is_cel_around_what_only_the_api_server_knows() {
        assert_eq!(
            fixed("spec.hsm", "oldObject.spec.hsm", "object.spec.hsm"),
            "'The field spec.hsm was fixed as ' + oldObject.spec.hsm + ' at creation and cannot become ' + object.spec.hsm + '; set it back, or create another object under another name.'"
        );
        assert!(
            retention("string(1)", "string(2)")
                .contains("creation, ' + string(1) + ' days in effect")
        );
        assert_eq!(literal(r"it's a \"), r"'it\'s a \\'");
    }
}
