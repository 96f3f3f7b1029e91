//! Durations as people write them: `90s`, `24h`, `1h30m`, `250ms`, `7d`.

use std::time::Duration;

/// Reads a duration above zero. The error is half a sentence that says what would do.
pub fn parse(text: &str) -> Result<Duration, String> {
    const WAY_OUT: &str = "write a number and a unit (ms, s, m, h, d), such as 90s or 1h30m";
    let mut rest = text.trim();
    let mut total = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let (number, tail) = rest.split_at(digits);
        let letters = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(letters);
        let part = number
            .parse::<u64>()
            .ok()
            .zip(millis(unit))
            .and_then(|(number, unit)| number.checked_mul(unit));
        let part = part.ok_or_else(|| WAY_OUT.to_owned())?;
        total = total
            .checked_add(Duration::from_millis(part))
            .ok_or_else(|| WAY_OUT.to_owned())?;
        rest = tail.trim_start();
    }
    if total.is_zero() {
        Err(WAY_OUT.to_owned())
    } else {
        Ok(total)
    }
}

fn millis(unit: &str) -> Option<u64> {
    Some(match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_people_write_is_understood() {
        for (text, millis) in [
            ("1s", 1000),
            ("24h", 86_400_000),
            ("1h30m", 5_400_000),
            ("250ms", 250),
            ("1d 1s", 86_401_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_no_duration_is_refused_with_an_example() {
        for text in [
            "",
            "5",
            "s",
            "-1s",
            "1.5h",
            "1y",
            "0s",
            "99999999999999999999s",
            "18446744073709551615d",
        ] {
            assert!(
                parse(text).is_err_and(|error| error.contains("such as 90s")),
                "{text}"
            );
        }
    }
}
