//! The `dates` and `slicing` settings: how a span of time is asked for, and how jobs are cut into slices.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::{Length, Parameter};
use crate::paged_json::time::{TimeFormat, Zone};

/// How to ask for a span of time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// Parameters whose values are templates: `{from}` and `{to}` are the ends of the half-open span, `{last}` is
    /// the last day that it touches. A format follows a colon: `rfc3339` (default), `date`, `unix`, `unix_ms`, or a pattern
    /// of `strftime` such as `{from:%Y-%m-%d %H:%M:%S}`.
    pub parameters: Vec<Parameter>,
    /// What is sent where there is no lower bound. Needed if a parameter has `{from}`.
    #[serde(default, deserialize_with = "said")]
    pub start: Option<Start>,
    /// Widens the asked span to whole days, for upstreams that know nothing finer. Needs `records.time`.
    #[serde(default)]
    pub whole_days: bool,
    /// The zone that the upstream's days, and its times without an offset, are in, such as `Europe/Berlin`. Default UTC.
    #[serde(default)]
    pub zone: Option<String>,
    /// By how much more than its span a slice is asked for on either side, so that inclusive, exclusive and shifted bounds lose
    /// nothing at a cut; `records.time` drops what belongs to others. Default: one unit of the format, but a day where whole
    /// days are asked for, and where times have no offset and no `zone` is given. Without `records.time` it is 0.
    #[serde(default)]
    pub margin: Option<Length>,
    /// The longest span that the upstream answers. Slices are no longer than that, their margins included.
    #[serde(default)]
    pub max_span: Option<Length>,
}

/// What is sent where there is no lower bound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// Nothing: the upstream lists everything when the parameter is missing. `null` in the settings.
    Missing,
    /// This moment: there is nothing older. A date.
    At(DateTime<Utc>),
    /// This template instead, in the only parameter that has `{from}`.
    Instead(String),
    /// These templates instead, by the parameter's name; null leaves it out.
    Each(BTreeMap<String, Option<String>>),
}

/// A member that is there, be it null.
fn said<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Start>, D::Error> {
    let wrong = || {
        D::Error::custom(
            "must be a date such as \"2015-01-01\", null if the upstream lists everything without the parameter, or what \
             is sent instead: a template, or an object of them by the parameters' names",
        )
    };
    match Value::deserialize(deserializer)? {
        Value::Null => Ok(Some(Start::Missing)),
        Value::String(text) => {
            let moment = TimeFormat::Rfc3339.read(&Value::String(text.clone()).to_string(), &Zone::default());
            match moment {
                Some(moment) => Ok(Some(Start::At(moment))),
                // A date that was mistyped is no template.
                None if text.trim_start().starts_with(|first: char| first.is_ascii_digit())
                    || text.is_empty() =>
                {
                    Err(wrong())
                }
                None => Ok(Some(Start::Instead(text))),
            }
        }
        object @ Value::Object(_) => {
            serde_json::from_value(object).map(|each| Some(Start::Each(each))).map_err(|_other| wrong())
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) => Err(wrong()),
    }
}

/// How jobs are cut into slices.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceSettings {
    /// The length of a slice in days.
    pub days: u32,
    /// No more slices than this: a span that needs more is refused. Default 1000.
    #[serde(default = "default_max_slices")]
    pub max_slices: u32,
}

pub(in crate::paged_json) const fn default_max_slices() -> u32 {
    1000
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_start_is_a_date_or_nothing_or_what_is_sent_instead() {
        let read = |start: Value| {
            serde_json::from_value::<Dates>(json!({"parameters": [], "start": start}))
                .map(|dates| dates.start.unwrap())
        };
        assert_eq!(read(json!(null)).unwrap(), Start::Missing);
        for date in ["2015-01-01", "2015-01-01T00:00:00Z"] {
            assert_eq!(read(json!(date)).unwrap(), Start::At("2015-01-01T00:00:00Z".parse().unwrap()));
        }
        assert_eq!(read(json!("state:public")).unwrap(), Start::Instead("state:public".to_owned()));
        let each =
            Start::Each(BTreeMap::from([("q".to_owned(), Some("a".to_owned())), ("r".to_owned(), None)]));
        assert_eq!(read(json!({"q": "a", "r": null})).unwrap(), each);
        for wrong in [
            json!("2015-13-01"),
            json!("2015"),
            json!(""),
            json!(7),
            json!(false),
            json!({"q": 7}),
            json!([]),
        ] {
            assert!(read(wrong.clone()).unwrap_err().to_string().contains("must be a date"), "{wrong}");
        }
        let unsaid: Dates = serde_json::from_value(json!({"parameters": []})).unwrap();
        assert_eq!(unsaid.start, None);
    }
}
