//! How large the parts of a connection may be, told before the database refuses them (see migrations/0001_schema.up.sql).

use super::connections::NewConnection;
use serde_json::Value;
use serde_json::ser::{CompactFormatter, Formatter, Serializer};
use std::io::{self, Write};

/// Characters of the kind of a source.
const LONGEST_SOURCE: usize = 100;
/// Characters of the normal form of an address.
const LONGEST_BASE_URL: usize = 2048;
/// Bytes of settings as Postgres writes them, and of sealed credentials.
const LARGEST: usize = 64 << 10;
/// What sealing adds to credentials.
const SEAL: usize = 16;

/// A part of a connection that is too large: which field, and in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooLarge {
    /// The field.
    pub field: &'static str,
    /// By how much.
    pub reason: String,
}

/// Whether the database takes a connection, by its sizes.
///
/// # Errors
/// The first part that is too large.
pub fn check(new: &NewConnection, credentials: &Value) -> Result<(), TooLarge> {
    let characters = |text: &str| text.chars().count();
    for (field, unit, size, most) in [
        ("source", "characters", characters(&new.source), LONGEST_SOURCE),
        ("base_url", "characters", characters(&new.base_url), LONGEST_BASE_URL),
        ("settings", "bytes as they are stored", written(&new.settings, AsPostgres), LARGEST),
        ("credentials", "bytes", written(credentials, CompactFormatter), LARGEST - SEAL),
    ] {
        if size > most {
            let reason = format!("{field} may have at most {most} {unit}, and would have {size}");
            return Err(TooLarge { field, reason });
        }
    }
    Ok(())
}

/// The bytes that a value is written in. It may be secret, so it is not written anywhere.
fn written(value: &Value, form: impl Formatter) -> usize {
    let mut count = Count(0);
    let mut serializer = Serializer::with_formatter(&mut count, form);
    // Nothing that is counted fails.
    match serde::Serialize::serialize(value, &mut serializer) {
        Ok(()) => count.0,
        Err(_never) => usize::MAX,
    }
}

struct Count(usize);

impl Write for Count {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0 += bytes.len();
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A blank after each comma and colon, and no number with an exponent.
struct AsPostgres;

impl Formatter for AsPostgres {
    fn begin_array_value<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_key<W: Write + ?Sized>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: Write + ?Sized>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_f64<W: Write + ?Sized>(&mut self, writer: &mut W, value: f64) -> io::Result<()> {
        write!(writer, "{value}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::ids::TenantId;
    use serde_json::json;

    fn new(base_url: &str, settings: Value) -> NewConnection {
        let (name, source) = ("a".to_owned(), "paged_json".to_owned());
        NewConnection { tenant: TenantId::random(), name, source, base_url: base_url.to_owned(), settings }
    }

    #[test]
    fn settings_are_measured_as_postgres_writes_them() {
        for (value, text) in [
            (json!({ "a": [1, 2, {}], "b": "é\n" }), r#"{"a": [1, 2, {}], "b": "é\n"}"#),
            (json!(1e20), "100000000000000000000"),
            (json!([null, true, -1.5]), "[null, true, -1.5]"),
        ] {
            assert_eq!(written(&value, AsPostgres), text.len(), "{text}");
        }
    }

    #[test]
    fn what_is_too_large_is_named() {
        let fine = "https://api.example/";
        let path = |characters: usize| format!("{fine}{}", "x".repeat(characters - fine.len()));
        let settings = |bytes: usize| json!({ "a": "x".repeat(bytes - r#"{"a": ""}"#.len()) });
        let field =
            |new: &NewConnection, credentials: Value| check(new, &credentials).err().map(|too| too.field);
        assert_eq!(field(&new(&path(2048), settings(LARGEST)), json!({})), None);
        assert_eq!(field(&new(&path(2049), json!({})), json!({})), Some("base_url"));
        assert_eq!(field(&new(fine, settings(LARGEST + 1)), json!({})), Some("settings"));
        assert_eq!(field(&new(fine, json!({})), json!("x".repeat(LARGEST))), Some("credentials"));
        let numbers = new(fine, json!(vec![1e300; 1000]));
        let too = check(&numbers, &json!({})).unwrap_err();
        assert_eq!(
            too.reason,
            "settings may have at most 65536 bytes as they are stored, and would have 303000"
        );
    }
}
