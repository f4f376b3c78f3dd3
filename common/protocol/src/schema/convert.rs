//! What a value is as a value of a type: itself, or an error. The rules are in the head of the module above.

use super::FieldType;
use chrono::{DateTime, SecondsFormat, Utc};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

/// The largest doubles below which every whole number is exact.
const EXACT: f64 = 9_007_199_254_740_992.0;

/// Converts a value that is neither null nor missing.
pub(super) fn convert(raw: &RawValue, kind: FieldType) -> Result<Box<RawValue>, String> {
    let wrong = || format!("{} is not {}", excerpt(raw.get()), described(kind));
    let is_number = raw.get().starts_with(|first: char| first == '-' || first.is_ascii_digit());
    match kind {
        FieldType::Json => Some(raw.to_owned()),
        FieldType::String => text(raw).is_some().then(|| raw.to_owned()),
        FieldType::Boolean => matches!(raw.get(), "true" | "false").then(|| raw.to_owned()),
        FieldType::Integer => {
            integer(raw.get()).filter(|_| is_number).and_then(|number| to_raw_value(&number).ok())
        }
        FieldType::Number => {
            let number: Option<f64> = raw.get().parse().ok();
            number.filter(|number| is_number && number.is_finite()).map(|_| raw.to_owned())
        }
        FieldType::Timestamp => {
            let moment = text(raw).and_then(|text| DateTime::parse_from_rfc3339(&text).ok());
            moment.and_then(|moment| to_raw_value(&written(moment.to_utc())).ok())
        }
    }
    .ok_or_else(wrong)
}

const fn described(kind: FieldType) -> &'static str {
    match kind {
        FieldType::String => "a string",
        FieldType::Integer => "a whole number of 64 bits",
        FieldType::Number => "a number that a double can hold",
        FieldType::Boolean => "true or false",
        FieldType::Timestamp => "a time in RFC 3339, with its offset",
        FieldType::Json => "JSON",
    }
}

fn text(raw: &RawValue) -> Option<String> {
    raw.get().starts_with('"').then(|| serde_json::from_str(raw.get()).ok()).flatten()
}

fn integer(json: &str) -> Option<i64> {
    if let Ok(number) = json.parse() {
        return Some(number);
    }
    let number: f64 = json.parse().ok()?;
    (number.fract() == 0.0 && number.abs() <= EXACT).then(|| format!("{number:.0}").parse().ok()).flatten()
}

fn written(moment: DateTime<Utc>) -> Value {
    let digits = match moment.timestamp_subsec_micros() {
        0 => SecondsFormat::Secs,
        _ => SecondsFormat::Micros,
    };
    Value::from(moment.to_rfc3339_opts(digits, true))
}

/// The beginning of a value, to be shown in a sentence.
fn excerpt(json: &str) -> String {
    const LONGEST: usize = 60;
    let mut excerpt: String = json.chars().take(LONGEST).collect();
    if json.chars().nth(LONGEST).is_some() {
        excerpt.push('…');
    }
    excerpt
}
