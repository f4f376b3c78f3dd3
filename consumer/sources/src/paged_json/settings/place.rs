//! Where something stands in an answer: in its body, or in a header.

use std::borrow::Cow;

use reqwest::header::{HeaderMap, HeaderName};
use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::pointer;
use crate::SourceError;
use crate::paged_json::pointer::Pointer;

/// A JSON pointer into the body, or a header as `{"header": "X-Total-Count"}`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// A pointer (RFC 6901).
    Pointer(String),
    /// A header's name.
    Header(HeaderName),
}

impl<'de> Deserialize<'de> for Place {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let wrong = "must be a JSON pointer, or a header as {\"header\": \"X-Total-Count\"}";
        match Value::deserialize(deserializer)? {
            Value::String(pointer) => Ok(Self::Pointer(pointer)),
            Value::Object(members) if members.len() == 1 => {
                let name = members.get("header").and_then(Value::as_str).and_then(|name| name.parse().ok());
                name.map(Self::Header).ok_or_else(|| D::Error::custom(wrong))
            }
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
                Err(D::Error::custom(wrong))
            }
        }
    }
}

/// Where to look in each answer. The pointers of one connection are kept together, so that one pass finds them all.
#[derive(Clone, Debug)]
pub(in crate::paged_json) enum Spot {
    /// What the pointer with this number found.
    Found(usize),
    /// The header's value.
    Header(HeaderName),
}

impl Spot {
    /// Where it is; a pointer joins the others.
    pub(in crate::paged_json) fn of(
        setting: &str,
        place: &Place,
        pointers: &mut Vec<Pointer>,
    ) -> Result<Self, SourceError> {
        Ok(match place {
            Place::Header(name) => Self::Header(name.clone()),
            Place::Pointer(text) => {
                pointers.push(pointer(setting, text)?);
                Self::Found(pointers.len() - 1)
            }
        })
    }

    /// What stands there, as JSON: a header's value is a text.
    pub(in crate::paged_json) fn read<'de>(
        &self,
        found: &[Option<&'de str>],
        headers: &HeaderMap,
    ) -> Option<Cow<'de, str>> {
        match self {
            Self::Found(index) => found.get(*index).copied().flatten().map(Cow::Borrowed),
            Self::Header(name) => {
                let value = String::from_utf8_lossy(headers.get(name)?.as_bytes()).trim().to_owned();
                Some(Cow::Owned(Value::String(value).to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_place_is_a_pointer_or_a_header() {
        let read = |place: Value| Place::deserialize(place);
        assert_eq!(read(json!("/a/b")).unwrap(), Place::Pointer("/a/b".to_owned()));
        assert_eq!(read(json!({"header": "X-Total"})).unwrap(), Place::Header("x-total".parse().unwrap()));
        for wrong in [
            json!(7),
            json!(null),
            json!({"header": "a b"}),
            json!({"header": "a", "x": 1}),
            json!({"Header": "a"}),
        ] {
            assert!(
                read(wrong.clone()).unwrap_err().to_string().contains("must be a JSON pointer"),
                "{wrong}"
            );
        }
    }

    #[test]
    fn a_header_is_read_as_a_text() {
        let mut pointers = Vec::new();
        let spot = |place: Value, pointers: &mut Vec<Pointer>| {
            Spot::of("total", &Place::deserialize(place).unwrap(), pointers)
        };
        let header = spot(json!({"header": "x-total"}), &mut pointers).unwrap();
        let pointer = spot(json!("/total"), &mut pointers).unwrap();
        let headers = HeaderMap::from_iter([("x-total".parse().unwrap(), " 1\" ".parse().unwrap())]);
        assert_eq!(header.read(&[Some("7")], &headers).as_deref(), Some(r#""1\"""#));
        assert_eq!(pointer.read(&[Some("7")], &headers).as_deref(), Some("7"));
        assert_eq!(header.read(&[], &HeaderMap::new()), None);
        assert!(spot(json!("total"), &mut pointers).is_err());
    }
}
