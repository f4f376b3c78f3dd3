//! What client libraries, tools and the broker itself put around a command, or write in its place.

use super::Rejection;
use serde_json::Value;

/// What RabbitMQ writes into the `type` property of a message that came over AMQP 1.0; no sender's word.
const BROKERS_TYPES: [&str; 2] = ["binary", "amqp-1.0"];
/// A value section of AMQP 1.0 begins with its descriptor.
const VALUE_SECTION: &[u8] = &[0x00, 0x53, 0x77];
/// The codes of text and bytes there: with a length of one byte, or of four.
const SHORT: [u8; 2] = [0xa1, 0xa0];
const LONG: [u8; 2] = [0xb1, 0xb0];

/// How compressed data begins.
const COMPRESSED: [(&[u8], &str); 6] = [
    (&[0x1f, 0x8b], "gzip"),
    (&[0x78, 0x9c], "zlib"),
    (&[0x78, 0x01], "zlib"),
    (&[0x78, 0xda], "zlib"),
    (&[0x28, 0xb5, 0x2f, 0xfd], "zstd"),
    (b"BZh", "bzip2"),
];

/// The `type` property as its sender meant it: an empty one is none.
pub(super) fn kind(property: Option<&str>) -> Option<&str> {
    property.filter(|kind| !kind.is_empty() && !BROKERS_TYPES.contains(kind))
}

/// What is in a body: itself, or the text or the bytes of a value section, which is what AMQP 1.0 clients send a string as.
pub(super) fn unwrapped(body: &[u8]) -> Result<&[u8], Rejection> {
    let Some(value) = body.strip_prefix(VALUE_SECTION) else { return Ok(body) };
    let inner = match value {
        [code, length, rest @ ..] if SHORT.contains(code) => rest.get(..usize::from(*length)),
        [code, a, b, c, d, rest @ ..] if LONG.contains(code) => {
            let length = u32::from_be_bytes([*a, *b, *c, *d]);
            usize::try_from(length).ok().and_then(|length| rest.get(..length))
        }
        _ => None,
    };
    inner.ok_or_else(|| {
        let detail = "the body is an AMQP 1.0 value section of neither text nor bytes; send the JSON as a data section";
        Rejection::new("not_json", detail)
    })
}

/// Why bytes are no JSON, where something else shows.
pub(super) fn compression(body: &[u8]) -> Option<String> {
    let (_, name) = COMPRESSED.into_iter().find(|(beginning, _)| body.starts_with(beginning))?;
    Some(format!("the body is compressed ({name}); send it as it is, without a compression option"))
}

/// Why JSON is no object, or not the one that is meant.
pub(super) fn framework(body: &Value) -> Option<&'static str> {
    let task = body.as_array().and_then(|parts| parts.last()?.as_object());
    if task.is_some_and(|embed| embed.contains_key("callbacks")) {
        return Some(
            "this is a Celery task; publish its keyword arguments as the body, with kombu's producer",
        );
    }
    let packet = body.as_object().filter(|it| it.contains_key("pattern") && it.contains_key("data"));
    packet.map(|_| "this is Nest's {pattern, data}; give its client a serializer that sends data alone")
}

/// A hint for a time that cannot be read.
pub(super) fn about_times(path: &str, given: Option<&Value>) -> Option<&'static str> {
    let text = given?.as_str()?;
    let zone = text.ends_with(['Z', 'z']) || text.get(10..).is_some_and(|rest| rest.contains(['+', '-']));
    (path.starts_with("date_") && !zone && text.starts_with(|first: char| first.is_ascii_digit()))
        .then_some("a time needs a zone, as in 2026-01-01T00:00:00Z")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_value_section_of_text_or_bytes_is_unwrapped() {
        let long = [&[0x00, 0x53, 0x77, 0xb0, 0, 0, 0, 2][..], b"{}"].concat();
        for section in [&b"\x00\x53\x77\xa1\x02{}"[..], b"\x00\x53\x77\xa0\x02{}", &long] {
            assert_eq!(unwrapped(section), Ok(&b"{}"[..]));
        }
        assert_eq!(unwrapped(b"{}"), Ok(&b"{}"[..]));
        for other in [&b"\x00\x53\x77\x56\x01"[..], b"\x00\x53\x77\xa1\xff{}", b"\x00\x53\x77"] {
            assert!(unwrapped(other).is_err_and(|why| why.detail.contains("data section")), "{other:?}");
        }
    }

    #[test]
    fn the_brokers_words_are_no_type() {
        assert_eq!([Some(""), Some("binary"), Some("amqp-1.0"), None].map(kind), [None; 4]);
        assert_eq!(kind(Some("sync.start")), Some("sync.start"));
        assert_eq!(kind(Some("call")), Some("call"));
    }

    #[test]
    fn frameworks_and_compression_are_recognised() {
        let celery =
            json!([[], {"connection_id": "x"}, {"callbacks": null, "errbacks": null, "chain": null}]);
        assert!(framework(&celery).is_some_and(|why| why.contains("Celery")));
        assert!(
            framework(&json!({"pattern": "sync.start", "data": {}})).is_some_and(|why| why.contains("Nest"))
        );
        assert_eq!(framework(&json!([])), None);
        assert_eq!(framework(&json!({"data": {}})), None);
        assert!(compression(&[0x1f, 0x8b, 8]).is_some_and(|why| why.contains("gzip")));
        assert_eq!(compression(b"{}"), None);
    }

    #[test]
    fn a_time_without_a_zone_is_told_of() {
        let hint = |given: &str| about_times("date_from", Some(&json!(given))).is_some();
        for naive in ["2026-01-01", "2026-01-01T00:00:00", "2026-01-01 00:00:00.5"] {
            assert!(hint(naive), "{naive}");
        }
        for other in ["2026-01-01T00:00:00Z", "2026-13-01T00:00:00+01:00", "yesterday", ""] {
            assert!(!hint(other), "{other}");
        }
    }
}
