//! Dates as the API shows them: RFC 3339, UTC, whole seconds.

use std::fmt;

use chrono::{DateTime, SecondsFormat, SubsecRound, Utc};
use k8s_openapi::apimachinery::pkg::apis::meta::v1 as meta;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// A date in whole seconds; parts of a second are cut off wherever one comes in.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Time(DateTime<Utc>);

impl Time {
    /// The date as chrono has it.
    pub fn utc(self) -> DateTime<Utc> {
        self.0
    }
}

impl From<DateTime<Utc>> for Time {
    fn from(at: DateTime<Utc>) -> Self {
        Self(at.trunc_subsecs(0))
    }
}

impl From<Time> for DateTime<Utc> {
    fn from(time: Time) -> Self {
        time.0
    }
}

impl From<&meta::Time> for Time {
    fn from(time: &meta::Time) -> Self {
        // jiff ends at the year 9999, well inside chrono's range: the fallback is never taken.
        Self(DateTime::from_timestamp(time.0.as_second(), 0).unwrap_or_default())
    }
}

impl From<Time> for meta::Time {
    fn from(time: Time) -> Self {
        let seconds = time.0.timestamp();
        let (first, last) = (jiff::Timestamp::MIN, jiff::Timestamp::MAX);
        let nearest = if seconds < first.as_second() {
            first
        } else {
            last
        };
        Self(jiff::Timestamp::from_second(seconds).unwrap_or(nearest))
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Secs, true))
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for Time {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        DateTime::parse_from_rfc3339(&text)
            .map(|at| Self::from(at.to_utc()))
            .map_err(|error| de::Error::custom(format!("{text:?} is no RFC 3339 date: {error}")))
    }
}

impl JsonSchema for Time {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        // The format alone lets dates through that no parser reads (offsets of 30 hours, `00:00:00x5Z`): one such
        // object would make the list of all unreadable.
        json_schema!({
            "type": "string",
            "format": "date-time",
            "maxLength": 20,
            "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z$",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn time(text: &str) -> Time {
        serde_json::from_value(json!(text)).expect("a date")
    }

    #[test]
    fn a_date_is_written_in_utc_and_whole_seconds() {
        let written = serde_json::to_value(time("2026-03-01T01:30:00.999+02:00")).expect("json");
        assert_eq!(written, json!("2026-02-28T23:30:00Z"));
    }

    #[test]
    fn a_text_that_is_no_date_is_refused_and_shown() {
        let error = serde_json::from_value::<Time>(json!("tomorrow")).expect_err("no date");
        assert!(
            error
                .to_string()
                .contains("\"tomorrow\" is no RFC 3339 date"),
            "{error}"
        );
    }

    #[test]
    fn a_date_survives_the_way_to_kubernetes_and_back() {
        let there = meta::Time::from(time("2026-03-01T00:00:00Z"));
        assert_eq!(there.0.to_string(), "2026-03-01T00:00:00Z");
        assert_eq!(Time::from(&there), time("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn kubernetes_fractions_of_a_second_are_cut_off() {
        let fine = meta::Time("2026-03-01T00:00:00.999Z".parse().expect("jiff"));
        assert_eq!(Time::from(&fine), time("2026-03-01T00:00:00Z"));
    }

    #[test]
    fn a_date_that_kubernetes_cannot_hold_becomes_its_nearest() {
        let far = Time::from(DateTime::<Utc>::MAX_UTC);
        assert_eq!(meta::Time::from(far).0, jiff::Timestamp::MAX);
        let past = Time::from(DateTime::<Utc>::MIN_UTC);
        assert_eq!(meta::Time::from(past).0, jiff::Timestamp::MIN);
    }
}
