//! Lengths of time in settings: `"90s"`, `"15m"`, `"36 h"`, `"30 days"`.

use chrono::TimeDelta;
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

/// No setting is about longer times: a hundred years.
const LONGEST: TimeDelta = TimeDelta::days(36_525);

/// A length of time. A number needs its unit, unless it is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Length(pub TimeDelta);

impl<'de> Deserialize<'de> for Length {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let length = match &value {
            Value::Number(number) if number.as_u64() == Some(0) => Some(TimeDelta::zero()),
            Value::String(text) => parse(text),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
        };
        let length = length.filter(|length| *length <= LONGEST);
        length.map(Self).ok_or_else(|| {
            D::Error::custom("must be a length of time as a text with its unit, such as \"90s\", \"15m\", \"36h\" or \"30d\"")
        })
    }
}

fn parse(text: &str) -> Option<TimeDelta> {
    let text = text.trim();
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits)?;
    let number: i64 = number.parse().ok()?;
    match unit.trim() {
        "s" | "second" | "seconds" => TimeDelta::try_seconds(number),
        "m" | "min" | "minute" | "minutes" => TimeDelta::try_minutes(number),
        "h" | "hour" | "hours" => TimeDelta::try_hours(number),
        "d" | "day" | "days" => TimeDelta::try_days(number),
        "w" | "week" | "weeks" => TimeDelta::try_weeks(number),
        "" if number == 0 => Some(TimeDelta::zero()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_length_is_a_number_with_its_unit() {
        let read = |value: Value| Length::deserialize(value).map(|length| length.0);
        for (text, length) in [
            ("90s", TimeDelta::seconds(90)),
            ("15 m", TimeDelta::minutes(15)),
            ("36h", TimeDelta::hours(36)),
            ("1 day", TimeDelta::days(1)),
            ("2w", TimeDelta::days(14)),
            ("0", TimeDelta::zero()),
        ] {
            assert_eq!(read(json!(text)).unwrap(), length, "{text}");
        }
        assert_eq!(read(json!(0)).unwrap(), TimeDelta::zero());
        for wrong in [
            json!(30),
            json!("30"),
            json!("-1d"),
            json!("1.5h"),
            json!("1y"),
            json!(""),
            json!("d"),
            json!(null),
            json!("99999999999d"),
        ] {
            assert!(read(wrong.clone()).unwrap_err().to_string().contains("with its unit"), "{wrong}");
        }
    }
}
