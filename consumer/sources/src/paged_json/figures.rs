//! Reads numbers and flags as upstreams write them: some as a text, some in a header, some as 1 and 0.

use crate::FetchError;
use crate::error::quote;

use super::record::text;

/// A whole number: `250`, `250.0`, `"250"`, or what a `Content-Range` ends with (`items 0-99/250`).
pub(super) fn whole(json: &str) -> Option<i64> {
    let text = text(json);
    let written = text.as_deref().unwrap_or(json).trim();
    let written = written.rsplit_once('/').map_or(written, |(_, total)| total);
    written.parse().ok().or_else(|| {
        let (whole, fraction) = written.split_once('.')?;
        let zeros = !fraction.is_empty() && fraction.bytes().all(|digit| digit == b'0');
        whole.parse().ok().filter(|_| zeros)
    })
}

/// A flag: true or false, as a text too, or a number, which is false when it is 0. Null says nothing.
pub(super) fn flag(setting: &str, json: Option<&str>) -> Result<Option<bool>, FetchError> {
    let Some(json) = json.filter(|json| !matches!(*json, "null" | "\"\"")) else { return Ok(None) };
    let text = text(json);
    let written = text.as_deref().unwrap_or(json).trim();
    if written.eq_ignore_ascii_case("true") {
        return Ok(Some(true));
    }
    if written.eq_ignore_ascii_case("false") {
        return Ok(Some(false));
    }
    match written.parse::<u64>() {
        Ok(number) => Ok(Some(number > 0)),
        Err(_no_number) => Err(FetchError::permanent(format!(
            "what {setting} points to must be true or false, or a number, and is {}",
            quote(json)
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_are_read_however_they_are_written() {
        for written in ["250", "250.0", r#""250""#, r#"" 250 ""#, r#""items 0-99/250""#, r#""bytes */250""#] {
            assert_eq!(whole(written), Some(250), "{written}");
        }
        assert_eq!(whole("-1"), Some(-1));
        for none in [
            "null",
            "true",
            "1.5",
            "1.",
            "1e300",
            r#""many""#,
            r#""0-99/*""#,
            "[1]",
            r#""""#,
            "99999999999999999999",
        ] {
            assert_eq!(whole(none), None, "{none}");
        }
    }

    #[test]
    fn flags_are_read_however_they_are_written() {
        let read = |json: &str| flag("next.more", Some(json)).unwrap();
        for yes in ["true", r#""true""#, r#""True""#, "1", r#""1""#, "37"] {
            assert_eq!(read(yes), Some(true), "{yes}");
        }
        for no in ["false", r#""FALSE""#, "0", r#""0""#] {
            assert_eq!(read(no), Some(false), "{no}");
        }
        assert_eq!((read("null"), read(r#""""#), flag("next.more", None).unwrap()), (None, None, None));
        for neither in [r#""yes""#, "-1", "[]", "{}", "1.5"] {
            let said = flag("next.done", Some(neither)).unwrap_err().to_string();
            assert!(said.starts_with("what next.done points to must be true or false"), "{said}");
        }
    }
}
