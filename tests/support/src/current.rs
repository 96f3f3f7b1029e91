//! Pages of `docs/` that are written from the code or from a run: `make docs` and others write them with UPDATE_DOCS, and a stale one fails.

use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use crate::binaries::project_dir;

fn path(page: &str) -> PathBuf {
    project_dir().join("docs").join(page)
}

fn committed(page: &str) -> String {
    std::fs::read_to_string(path(page)).unwrap_or_default()
}

/// Compares the committed page, or writes it where that was asked for.
#[track_caller]
pub fn is_current(page: &str, made: &str) {
    same_or_written(page, made, str::to_owned);
}

/// The same of what a run printed: dates, uids and other chance are not compared, and alone are no reason to write.
#[track_caller]
pub fn is_as_before(page: &str, made: &str) {
    same_or_written(page, made, masked);
}

/// The same of the part between `<!-- run: NAME -->` and the next `<!-- end -->`.
#[track_caller]
pub fn is_as_before_in(page: &str, name: &str, made: &str) {
    // Stories beside each other write the same page.
    static ONE: Mutex<()> = Mutex::new(());
    let _one = ONE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = committed(page);
    let begin = format!("<!-- run: {name} -->\n");
    let (before, rest) = text
        .split_once(&begin)
        .unwrap_or_else(|| panic!("docs/{page} has no {begin}"));
    let end = rest.find("<!-- end -->").expect("an end");
    is_as_before(page, &format!("{before}{begin}{made}{}", &rest[end..]));
}

#[track_caller]
fn same_or_written(page: &str, made: &str, compared: impl Fn(&str) -> String) {
    let (old, new) = (compared(&committed(page)), compared(made));
    if old == new {
        return;
    }
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(path(page), made).expect("docs/ is there");
        return;
    }
    let mut lines = old.lines().zip(new.lines());
    let (one, other) = lines
        .find(|(one, other)| one != other)
        .unwrap_or(("one of them", "ends before the other"));
    panic!(
        "docs/{page} is stale: write it anew (UPDATE_DOCS=1) and read the difference, which begins with\n{one}\n{other}"
    );
}

/// Without what no two runs have the same, how far columns are apart included.
fn masked(text: &str) -> String {
    let lines = text.lines().map(|line| {
        let mut masked = String::new();
        let mut word = String::new();
        let mut letters = line.chars().chain(['\n']).peekable();
        while let Some(letter) = letters.next() {
            let digit = |letter: Option<&char>| letter.is_some_and(char::is_ascii_digit);
            let point =
                letter == '.' && digit(word.chars().last().as_ref()) && digit(letters.peek());
            if letter.is_ascii_alphanumeric() || "-_:".contains(letter) || point {
                word.push(letter);
                continue;
            }
            masked.push_str(&mask(&word, line));
            word.clear();
            if letter != ' ' || !masked.ends_with(' ') {
                masked.push(letter);
            }
        }
        masked
    });
    lines.collect()
}

fn mask(word: &str, line: &str) -> String {
    if let Some(word) = word.strip_suffix(':') {
        return mask(word, line) + ":";
    }
    let hex = |text: &str| text.len() >= 8 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let date = word.len() == 20 && word.ends_with('Z') && word.as_bytes()[10] == b'T';
    let print = word.len() == 43 && !line.starts_with('$');
    if date || print || is_age(word) || hex(word) {
        return "?".to_owned();
    }
    // A uid, alone or at the end of a name.
    let start = word.len().saturating_sub(36);
    let uid = word
        .get(start..)
        .filter(|end| end.split('-').map(str::len).eq([8, 4, 4, 4, 12]));
    if uid.is_some() {
        return format!("{}?", &word[..start]);
    }
    let by_chance =
        |end: &str| hex(end) || line.starts_with("purge.managedhsm.dev/") && end.len() == 5;
    match word.rsplit_once(['-', '_', ':']) {
        Some((start, end)) if by_chance(end) => format!("{start}-?"),
        _ => word.to_owned(),
    }
}

/// As kubectl and others write one: 5s, 2m10s, 5.01s.
fn is_age(word: &str) -> bool {
    let digits = word.starts_with(|letter: char| letter.is_ascii_digit());
    let ends = word.ends_with(['s', 'm', 'h', 'd']);
    let units = |letter: char| letter.is_ascii_digit() || ".smhd".contains(letter);
    digits && ends && word.chars().all(units)
}

#[cfg(test)]
mod tests {
    use super::masked;

    #[test]
    fn two_runs_differ_in_chance_and_what_they_say_is_compared() {
        let one = "payments   8s    True    Applied revision: main@sha1:f251e31f311bd70a8c3dc9455b61f8ff85345b06";
        let other = "payments   2m1s   True    Applied revision: main@sha1:0e28f0e47f3e97b31ad16e985834f3fa752d0a42";
        assert_eq!(masked(one), masked(other));
        for (same, other) in [
            ("after 5.058420222s: failed", "after 26.347668ms: failed"),
            ("team@1.0.0+06cae1839944: no", "team@1.0.0+33c0c5514843: no"),
            (
                "recover-b58e5db1-6c30-4032-94e6-44fd5c79ac1e at 2026-12-30T07:10:05Z",
                "recover-7f62ee73-a948-454e-a5b9-14a80ea6ecdb at 2027-12-30T07:10:05Z",
            ),
        ] {
            assert_eq!(masked(same), masked(other));
        }
        for (one, other) in [
            ("0 of 7 applied", "1 of 7 applied"),
            ("True", "False"),
            ("1.9.3", "1.9.4"),
        ] {
            assert_ne!(masked(one), masked(other));
        }
    }
}
