//! Whether Postgres stores a piece of JSON as `jsonb`.
//!
//! Postgres refuses some JSON that is well-formed. It is found here, record by record, so that it costs a record and
//! not the page.

use super::super::error::quote;
use super::scan::scan;

/// Deepest nesting of arrays and objects. Postgres takes more; but what is stored must also be read back, and
/// `serde_json` stops at 128 levels, of which some belong to what a record is wrapped in.
pub(super) const MAX_NESTING: usize = 100;
/// Most digits that a number may have before it is enormous rather than exact. A key of 4096 bits has 1234.
const MAX_DIGITS: usize = 2000;
/// Largest exponent, of either sign: Postgres stores the plain form, so that a few bytes could become megabytes.
const MAX_EXPONENT: i64 = 400;
/// How much longer the plain forms of a record's numbers may be, all together, than how they are written.
pub(super) const MAX_PLAIN_BYTES: usize = 256 << 10;

/// Why a record cannot be stored.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Unstorable {
    #[error("the record holds the NUL character (\\u0000), which cannot be stored")]
    Nul,
    #[error("the record holds half of a surrogate pair (\\u{0}), which cannot be stored")]
    LoneSurrogate(String),
    #[error(
        "the number {0} is too large to be stored: its exponent is beyond {MAX_EXPONENT}, or it has more than {MAX_DIGITS} digits"
    )]
    Number(String),
    #[error(
        "the record's numbers would take more than {MAX_PLAIN_BYTES} bytes when they are written without exponents"
    )]
    Numbers,
    #[error("the record is nested deeper than {MAX_NESTING} levels")]
    Nesting,
}

/// Whether a record is JSON that Postgres stores.
///
/// # Errors
/// Why not, in words.
pub(crate) fn check(json: &str) -> Result<(), String> {
    match scan(json, &[], &mut []) {
        Ok(storable) => storable.map_err(|unstorable| unstorable.to_string()),
        Err(error) => Err(format!("the record is not JSON: {}", error.explain(json))),
    }
}

/// Looks at what a text between its quotes has written as `\u`.
pub(super) fn check_characters(text: &[u8]) -> Result<(), Unstorable> {
    let mut at = 0;
    // Set right behind the first half of a surrogate pair: where the second half must be.
    let mut second_half: Option<(usize, u16)> = None;
    let lone = |unit: u16| Err(Unstorable::LoneSurrogate(format!("{unit:04x}")));
    while let Some(skip) = memchr::memchr(b'\\', text.get(at..).unwrap_or_default()) {
        at += skip;
        let unit = if text.get(at + 1) == Some(&b'u') { unit(text.get(at + 2..at + 6)) } else { None };
        match (second_half.take(), unit) {
            (Some((expected, _)), Some(0xdc00..=0xdfff)) if expected == at => {}
            (Some((_, first)), _) => return lone(first),
            (None, Some(0)) => return Err(Unstorable::Nul),
            (None, Some(first @ 0xd800..=0xdbff)) => second_half = Some((at + 6, first)),
            (None, Some(second @ 0xdc00..=0xdfff)) => return lone(second),
            (None, _) => {}
        }
        at += if unit.is_some() { 6 } else { 2 };
    }
    second_half.map_or(Ok(()), |(_, first)| lone(first))
}

fn unit(digits: Option<&[u8]>) -> Option<u16> {
    u16::from_str_radix(std::str::from_utf8(digits?).ok()?, 16).ok()
}

/// Looks at a number, as it is written: how many bytes its plain form takes at most.
pub(super) fn check_number(number: &str) -> Result<usize, Unstorable> {
    plain_bytes(number).ok_or_else(|| Unstorable::Number(quote(number)))
}

/// `None` if it is enormous.
fn plain_bytes(number: &str) -> Option<usize> {
    let (mantissa, exponent) = number.split_once(['e', 'E']).unwrap_or((number, "0"));
    // An exponent too long for its type is out of range too.
    let exponent: i64 = exponent.parse().ok().filter(|exponent: &i64| exponent.abs() <= MAX_EXPONENT)?;
    let zeros = usize::try_from(exponent.unsigned_abs()).ok()?;
    Some(mantissa.len()).filter(|digits| *digits <= MAX_DIGITS).map(|digits| digits + zeros)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(json: &str) -> Result<(), Unstorable> {
        scan(json, &[], &mut []).unwrap()
    }

    #[test]
    fn ordinary_json_is_storable() {
        for json in [
            r#"{"a":"é \u00e9 \ud83d\ude00 \\u0000 \" \\","b":[1,-2.5,1e10,0.0,true,null,{}]}"#,
            r#""\uD83D\uDE00\ud83d\ude00""#,
            "0e400",
            "1e400",
            "0.001e400",
            "1e-400",
            "-9.99E+400",
            "123456789012345678901234567890.123456789012345678901234567890",
        ] {
            assert_eq!(check(json), Ok(()), "{json}");
        }
    }

    #[test]
    fn characters_that_postgres_refuses_are_found() {
        assert_eq!(check(r#"{"a":"b\u0000"}"#), Err(Unstorable::Nul));
        assert_eq!(check(r#"{"\u0000":1}"#), Err(Unstorable::Nul));
        assert_eq!(check(r#""\\\u0000""#), Err(Unstorable::Nul));
        for lone in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83d x""#,
            r#""\ud83d \ude00""#,
            r#""\ud83d\n""#,
            r#""\ud83d\ud83d\ude00""#,
            r#"["\ud83d","\ude00"]"#,
        ] {
            assert!(matches!(check(lone), Err(Unstorable::LoneSurrogate(_))), "{lone}");
        }
    }

    #[test]
    fn numbers_out_of_range_are_found() {
        let long = format!("1{}", "0".repeat(2000));
        let fine = format!("0.{}", "1".repeat(1999));
        for number in [
            "1e401",
            "-1E+401",
            "1e131071",
            "1e-401",
            "0e2000000000",
            "1e99999999999999999999",
            "9e-99999999999999999999",
            &long,
            &fine,
        ] {
            assert!(matches!(check(&format!("[{number}]")), Err(Unstorable::Number(_))), "{number:.20}");
        }
        let longest = format!("1{}", "0".repeat(1999));
        assert_eq!(check(&longest), Ok(()));
    }

    #[test]
    fn many_large_numbers_are_an_enormous_record() {
        let record = |count: usize| format!("[{}1]", "1e400,".repeat(count));
        assert_eq!(check(&record(600)), Ok(()));
        assert_eq!(check(&record(700)), Err(Unstorable::Numbers));
        // What is written plainly is as long as it is.
        assert_eq!(check(&format!("[{}1]", "1234567,".repeat(100_000))), Ok(()));
    }

    #[test]
    fn deep_nesting_is_found_without_recursion() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(100)), Ok(()));
        assert_eq!(check(&nested(101)), Err(Unstorable::Nesting));
        assert_eq!(check(&nested(1_000_000)), Err(Unstorable::Nesting));
        let flat = format!("[{}[]]", "[],".repeat(1000));
        assert_eq!(check(&flat), Ok(()));
    }
}
