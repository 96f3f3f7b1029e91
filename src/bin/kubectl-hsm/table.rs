//! Tables as kubectl prints them: columns padded by three blanks, colours only at a terminal.

use std::io::Write as _;

use anstyle::{AnsiColor, Style};
use chrono::Duration;
use tabwriter::TabWriter;

const GOOD: Style = AnsiColor::Green.on_default();
const BAD: Style = AnsiColor::Red.on_default();
const HEAD: Style = Style::new().bold();

/// Lines of cells under a head, as text. Whoever prints it takes the colours off where nobody sees them.
pub fn table(head: &[&str], rows: &[Vec<String>]) -> String {
    let head = head.iter().map(|cell| painted(HEAD, cell));
    let mut text = head.collect::<Vec<_>>().join("\t") + "\n";
    for row in rows {
        text.push_str(&row.join("\t"));
        text.push('\n');
    }
    let lines = aligned(&text);
    let lines = lines.lines().map(str::trim_end);
    lines.flat_map(|line| [line, "\n"]).collect()
}

fn aligned(text: &str) -> String {
    let mut writer = TabWriter::new(Vec::new()).minwidth(0).padding(3).ansi(true);
    // A Vec takes whatever is written; were it not so, the text would stand as it is.
    let written = writer
        .write_all(text.as_bytes())
        .and_then(|()| writer.flush());
    let bytes = written.ok().and_then(|()| writer.into_inner().ok());
    bytes
        .and_then(|bytes| String::from_utf8(bytes).ok())
        .unwrap_or_else(|| text.to_owned())
}

pub fn good(text: &str) -> String {
    painted(GOOD, text)
}

pub fn bad(text: &str) -> String {
    painted(BAD, text)
}

fn painted(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// How long, as kubectl shows ages.
pub fn human(time: Duration) -> String {
    let seconds = time.num_seconds();
    let (minutes, hours, days) = (seconds / 60, seconds / 3600, seconds / 86_400);
    let two = |first: i64, one: &str, second: i64, other: &str| match second {
        0 => format!("{first}{one}"),
        _ => format!("{first}{one}{second}{other}"),
    };
    match seconds {
        ..=0 => "0s".to_owned(),
        1..120 => format!("{seconds}s"),
        120..600 => two(minutes, "m", seconds % 60, "s"),
        600..10_800 => format!("{minutes}m"),
        10_800..28_800 => two(hours, "h", minutes % 60, "m"),
        28_800..172_800 => format!("{hours}h"),
        172_800..691_200 => two(days, "d", hours % 24, "h"),
        _ => format!("{days}d"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_padded_and_colours_count_for_nothing() {
        let rows = [
            vec!["a".to_owned(), good("yes"), "x".to_owned()],
            vec!["long".to_owned(), bad("no"), String::new()],
        ];
        let text = anstream::adapter::strip_str(&table(&["NAME", "OK", "MORE"], &rows)).to_string();
        assert_eq!(text, "NAME   OK    MORE\na      yes   x\nlong   no\n");
    }

    #[test]
    fn times_are_said_as_kubectl_says_them() {
        for (seconds, said) in [
            (-5, "0s"),
            (59, "59s"),
            (150, "2m30s"),
            (3599, "59m"),
            (4 * 3600, "4h"),
            (4 * 3600 + 120, "4h2m"),
            (47 * 3600, "47h"),
            (3 * 86_400 + 3600, "3d1h"),
            (30 * 86_400 - 1, "29d"),
        ] {
            assert_eq!(human(Duration::seconds(seconds)), said);
        }
    }
}
