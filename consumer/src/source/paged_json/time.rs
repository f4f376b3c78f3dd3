//! Reads the times that upstreams write.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Utc};
use common::command::YEARS;

/// Reads RFC 3339, the same with a space or without an offset (then it is UTC), or a date (then it is its midnight).
/// Only the years that can be stored.
pub(super) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    read(text.trim()).filter(|moment| YEARS.contains(&moment.year()))
}

fn read(text: &str) -> Option<DateTime<Utc>> {
    if let Ok(moment) = DateTime::parse_from_rfc3339(text) {
        return Some(moment.to_utc());
    }
    for format in ["%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M:%S%.f"] {
        if let Ok(moment) = NaiveDateTime::parse_from_str(text, format) {
            return Some(moment.and_utc());
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok()?;
    Some(day.and_time(NaiveTime::MIN).and_utc())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_read_in_every_form() {
        let five: DateTime<Utc> = "2013-01-01T05:00:00Z".parse().unwrap();
        for text in [
            "2013-01-01T05:00:00Z",
            "2013-01-01T00:00:00-05:00",
            "2013-01-01 05:00:00+00:00",
            "2013-01-01 05:00:00",
            "2013-01-01T05:00:00.000",
        ] {
            assert_eq!(parse_time(text), Some(five), "{text}");
        }
        assert_eq!(parse_time("2013-01-01"), Some("2013-01-01T00:00:00Z".parse().unwrap()));
        assert!(parse_time("0000-01-01").is_some() && parse_time("9999-12-31 23:59:59.999999").is_some());
        for text in ["-0001-12-31", "+10000-01-01", "-200000-01-01 00:00:00", "0000-01-01T00:00:00+00:01"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
        for text in ["", "soon", "2013-13-01", "1357016400", "2013-01-01T05:00"] {
            assert_eq!(parse_time(text), None, "{text}");
        }
    }
}
