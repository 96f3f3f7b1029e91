//! `-l`: a choice by labels, read as kubectl reads it (apimachinery's `labels.Parse`, but for `<` and `>`, which its help does not have either).

use std::collections::BTreeSet;
use std::iter::Peekable;
use std::vec::IntoIter;

use kube::core::{Expression, Selector};

use crate::ending::Failure;

/// The longest first: each is the longest that fits.
const SIGNS: [&str; 6] = ["==", "!=", "=", "!", "(", ")"];
const COMMA: &str = ",";
/// Of a label's name and of its value (Kubernetes' labels and selectors).
const LONGEST: usize = 63;
const LONGEST_PREFIX: usize = 253;

type Tokens<'a> = Peekable<IntoIter<&'a str>>;

/// Nothing chooses all.
pub fn parse(text: &str) -> Result<Selector, Failure> {
    all(text).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is no choice of labels; write key=value, key!=value, key in (a,b), key notin (a,b), key or !key, with commas between."
        ))
    })
}

fn all(text: &str) -> Option<Selector> {
    let mut tokens = tokens(text).into_iter().peekable();
    let mut all = Selector::default();
    if tokens.peek().is_none() {
        return Some(all);
    }
    loop {
        all.extend(requirement(&mut tokens)?);
        match tokens.next() {
            None => return Some(all),
            Some(COMMA) => {}
            Some(_) => return None,
        }
    }
}

/// Signs, and the words between them.
fn tokens(mut text: &str) -> Vec<&str> {
    let mut all = Vec::new();
    loop {
        text = text.trim_start();
        if text.is_empty() {
            return all;
        }
        let sign = SIGNS.iter().chain([&COMMA]);
        let end = sign
            .filter(|sign| text.starts_with(**sign))
            .map(|sign| sign.len())
            .next()
            .or_else(|| text.find(|c: char| c.is_whitespace() || is_sign(c)))
            .unwrap_or(text.len());
        let (token, rest) = text.split_at(end);
        all.push(token);
        text = rest;
    }
}

const fn is_sign(c: char) -> bool {
    matches!(c, '=' | '!' | '(' | ')' | ',')
}

fn requirement(tokens: &mut Tokens) -> Option<Expression> {
    let not = tokens.next_if_eq(&"!").is_some();
    let key = tokens.next().filter(|key| is_key(key))?.to_owned();
    if not {
        return Some(Expression::DoesNotExist(key));
    }
    if matches!(tokens.peek(), None | Some(&COMMA)) {
        return Some(Expression::Exists(key));
    }
    Some(match tokens.next()? {
        "=" | "==" => Expression::Equal(key, value(tokens)?),
        "!=" => Expression::NotEqual(key, value(tokens)?),
        "in" => Expression::In(key, values(tokens)?),
        "notin" => Expression::NotIn(key, values(tokens)?),
        _ => return None,
    })
}

/// None is the empty one.
fn value(tokens: &mut Tokens) -> Option<String> {
    let word = tokens.next_if(|token| !token.starts_with(is_sign));
    word.map_or_else(
        || Some(String::new()),
        |word| is_name(word).then(|| word.to_owned()),
    )
}

fn values(tokens: &mut Tokens) -> Option<BTreeSet<String>> {
    tokens.next_if_eq(&"(")?;
    let mut all = BTreeSet::new();
    loop {
        all.insert(value(tokens)?);
        match tokens.next()? {
            ")" => return Some(all),
            COMMA => {}
            _ => return None,
        }
    }
}

/// PREFIX/NAME, or NAME.
fn is_key(text: &str) -> bool {
    match text.split_once('/') {
        None => is_name(text),
        Some((prefix, name)) => {
            let lower = |c: char| !c.is_ascii_uppercase() && c != '_';
            let parts = prefix.split('.').all(is_part);
            parts && prefix.len() <= LONGEST_PREFIX && prefix.chars().all(lower) && is_name(name)
        }
    }
}

fn is_name(text: &str) -> bool {
    text.len() <= LONGEST && is_part(text)
}

fn is_part(text: &str) -> bool {
    let ends = |c: char| c.is_ascii_alphanumeric();
    let inside = |c: char| ends(c) || "-_.".contains(c);
    text.starts_with(ends) && text.ends_with(ends) && text.chars().all(inside)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ending::Exit;
    use kube::core::SelectorExt as _;

    #[test]
    fn labels_choose_by_what_the_object_had() {
        let pairs = [("app", "pay"), ("tier", "gold"), ("x.example/in", "")];
        let has = pairs
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
        for (text, fits) in [
            ("", true),
            ("app=pay", true),
            ("app = pay , tier", true),
            ("app==pay,tier", true),
            ("app!=pay", false),
            ("other!=pay", true),
            ("!app", false),
            ("! other", true),
            ("app=pay,other", false),
            ("app in (pay,other),tier notin (silver)", true),
            ("app in (other)", false),
            ("app notin(pay)", false),
            ("other notin (pay)", true),
            ("other in (pay)", false),
            ("x.example/in in ()", true),
            ("x.example/in in (a,)", true),
            ("x.example/in=", true),
            ("app in ()", false),
            ("in notin (in,notin)", true),
        ] {
            assert_eq!(parse(text).unwrap().matches(&has), fits, "{text}");
        }
    }

    #[test]
    fn what_is_no_choice_gets_a_sentence_with_the_way_out() {
        let long = "a".repeat(LONGEST + 1);
        for wrong in [
            "=x",
            "a=b,,c",
            ",",
            "a=b,",
            "a in",
            "a in b",
            "a in (b",
            "a in (b c)",
            "a in (b))",
            "a b",
            "!",
            "!!a",
            "!a=b",
            "a=b=c",
            "a=(b)",
            "a>1",
            "a=b c",
            "A.example/a/b",
            "/a",
            "a/",
            "-a",
            "a=-b",
            "a=b!",
            &long,
        ] {
            let failure = parse(wrong).unwrap_err();
            assert_eq!(failure.exit, Exit::Usage, "{wrong}");
            assert!(failure.sentence.contains("key notin (a,b)"), "{wrong}");
        }
    }
}
