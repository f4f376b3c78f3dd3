//! Reads and writes times as upstreams have them.

mod iso;
mod pattern;
mod zone;

use std::borrow::Cow;

use chrono::{DateTime, Datelike, Utc};
pub(super) use pattern::Pattern;
use protocol::command::YEARS;
pub(super) use zone::Zone;

use super::record::{number, text};

/// How an upstream writes the times of its records.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) enum TimeFormat {
    /// RFC 3339 and what is like it.
    #[default]
    Rfc3339,
    /// A number, or a text of one, since 1970 began; so many of its units are a second.
    Unix(i64),
    /// As in mails and HTTP headers: `Tue, 1 Jan 2013 05:00:00 +0000`.
    Rfc2822,
    /// By a pattern of `strftime`.
    Pattern(Pattern),
}

impl TimeFormat {
    /// Reads `records.time_format`.
    pub(super) fn parse(format: &str) -> Result<Self, String> {
        Ok(match format {
            "rfc3339" => Self::Rfc3339,
            "unix" => Self::Unix(1),
            "unix_ms" => Self::Unix(1_000),
            "unix_us" => Self::Unix(1_000_000),
            "unix_ns" => Self::Unix(1_000_000_000),
            "rfc2822" => Self::Rfc2822,
            pattern if pattern.contains('%') => Self::Pattern(Pattern::to_read(pattern)?),
            _ => {
                return Err(format!(
                    "{format:?} is unknown: use rfc3339, unix, unix_ms, unix_us, unix_ns, rfc2822, or a pattern of strftime"
                ));
            }
        })
    }

    /// The moment that a JSON text or number stands for. What has no offset is by the zone's clock. Only the years that can
    /// be stored.
    pub(super) fn read(&self, json: &str, zone: &Zone) -> Option<DateTime<Utc>> {
        let written = text(json);
        let moment = match self {
            Self::Rfc3339 => iso::read(written?.trim(), zone),
            Self::Rfc2822 => DateTime::parse_from_rfc2822(written?.trim()).ok().map(|moment| moment.to_utc()),
            Self::Unix(units) => {
                since_1970(written.or_else(|| number(json).map(Cow::Borrowed))?.trim(), *units)
            }
            Self::Pattern(pattern) => {
                pattern.read(written.or_else(|| number(json).map(Cow::Borrowed))?.trim(), zone)
            }
        };
        moment.filter(|moment| YEARS.contains(&moment.year()))
    }
}

/// A number of units since 1970, exactly: a float would lose microseconds.
fn since_1970(number: &str, per_second: i64) -> Option<DateTime<Utc>> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    let exponent: i32 = exponent.parse().ok().filter(|exponent| (-30..=30).contains(exponent))?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let (sign, whole) = whole.strip_prefix('-').map_or((1, whole), |whole| (-1, whole));
    let digits = whole.len() + fraction.len();
    if whole.is_empty()
        || digits > 30
        || !(whole.to_owned() + fraction).bytes().all(|byte| byte.is_ascii_digit())
    {
        return None;
    }
    let all: i128 = (whole.to_owned() + fraction).parse().ok()?;
    // All digits as one number, which has its point so many digits from its end; in nanoseconds.
    let nanos_per_unit = i128::from(1_000_000_000 / per_second);
    let point = i32::try_from(fraction.len()).ok()? - exponent;
    let scale = |power: i32| 10_i128.checked_pow(power.unsigned_abs());
    let nanos = if point > 0 {
        all.checked_mul(nanos_per_unit)? / scale(point)?
    } else {
        all.checked_mul(nanos_per_unit)?.checked_mul(scale(point)?)?
    };
    let nanos = sign * nanos;
    let (seconds, rest) = (nanos.div_euclid(1_000_000_000), nanos.rem_euclid(1_000_000_000));
    DateTime::from_timestamp(seconds.try_into().ok()?, rest.try_into().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(format: &str, json: &str) -> Option<String> {
        let moment = TimeFormat::parse(format).unwrap().read(json, &Zone::default());
        moment.map(|moment| moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    #[test]
    fn numbers_since_1970_are_read_exactly() {
        let written = Some("2024-01-10T00:00:00Z".to_owned());
        for (format, json) in [
            ("unix", "1704844800"),
            ("unix", r#""1704844800""#),
            ("unix", "1704844800.0"),
            ("unix", "1.7048448e9"),
            ("unix_ms", "1704844800000"),
            ("unix_ms", r#"" 1704844800000 ""#),
            ("unix_us", "1704844800000000"),
            ("unix_ns", "1704844800000000000"),
        ] {
            assert_eq!(read(format, json), written, "{format} {json}");
        }
        assert_eq!(read("unix", "1704844800.123456").as_deref(), Some("2024-01-10T00:00:00.123456Z"));
        assert_eq!(read("unix_ms", "1704844800123.5").as_deref(), Some("2024-01-10T00:00:00.123500Z"));
        assert_eq!(read("unix", "-0.5").as_deref(), Some("1969-12-31T23:59:59.500Z"));
        assert_eq!(read("unix", "0").as_deref(), Some("1970-01-01T00:00:00Z"));
        for wrong in [
            r#""""#,
            r#""soon""#,
            "true",
            "null",
            r#""1704844800 s""#,
            "1e300",
            "1e-300",
            "-",
            r#""2024-01-10""#,
        ] {
            assert_eq!(read("unix", wrong), None, "{wrong}");
        }
        // Milliseconds taken for seconds are beyond the calendar.
        assert_eq!(read("unix", "1704844800000"), None);
    }

    #[test]
    fn times_of_mails_are_read() {
        let five = Some("2013-01-01T05:00:00Z".to_owned());
        for json in [
            r#""Tue, 1 Jan 2013 05:00:00 +0000""#,
            r#""Tue, 01 Jan 2013 05:00:00 GMT""#,
            r#""1 Jan 2013 00:00:00 EST""#,
            r#""Tue, 01 Jan 2013 06:00:00 +0100""#,
        ] {
            assert_eq!(read("rfc2822", json), five, "{json}");
        }
        assert_eq!(read("rfc2822", r#""2013-01-01T05:00:00Z""#), None);
    }

    #[test]
    fn formats_that_are_none_are_named() {
        for wrong in ["iso", "", "seconds", "%Q", "%H:%M"] {
            assert!(TimeFormat::parse(wrong).is_err(), "{wrong}");
        }
    }

    proptest::proptest! {
        #[test]
        fn nothing_panics(format in "unix(_ms)?|rfc2822|rfc3339|(%[a-zA-Z%:.0-9-]{1,2}|[ ,TZ-]){1,6}", text in ".{0,30}") {
            if let Ok(format) = TimeFormat::parse(&format) {
                let json = serde_json::to_string(&text).unwrap();
                for read in [format.read(&json, &Zone::default()), format.read(&text, &Zone::named("Europe/Berlin").unwrap())] {
                    proptest::prop_assert!(read.is_none_or(|moment| (0..=9999).contains(&moment.year())));
                }
            }
        }
    }
}
