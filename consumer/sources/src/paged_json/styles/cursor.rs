//! The answer has a cursor, which goes into a query parameter.

use protocol::walk::Walk;
use serde::Deserialize;
use serde_json::Value;

use super::marks::present;
use super::{Follow, Page, Place, Spot, Style, itself, kept, nowhere, own};
use crate::FetchError;

/// The answer has a cursor, which goes into a query parameter. Null, missing or empty ends the list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Cursor {
    /// Where it is.
    pub pointer: Spot,
    /// The parameter's name.
    pub parameter: String,
    /// Other values that end the list, such as `["-1", 0]`.
    #[serde(default)]
    pub end_marks: Vec<Value>,
    /// Whether cursors come encoded for a URL, so that they are sent as they came. Without it, those are that hold a valid
    /// `%XX`, and a note counts them.
    #[serde(default)]
    pub encoded: Option<bool>,
}

impl Style for Cursor {
    fn place<'p>(&'p self, cursor: Option<&'p str>, _walk: &Walk) -> Result<Place<'p>, FetchError> {
        let Some(cursor) = cursor else { return Ok(Place::Start) };
        Ok(if self.encoded.unwrap_or_else(|| is_encoded(cursor)) {
            Place::Encoded { name: &self.parameter, value: cursor, guessed: self.encoded.is_none() }
        } else {
            Place::Parameter(&self.parameter, cursor.to_owned())
        })
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let cursor = present(page.answer.next.as_deref(), &self.end_marks).map(own).transpose()?;
        let Some(next) = cursor else { return nowhere(page, "cursor") };
        if page.cursor == Some(&next) { itself(&next, page) } else { kept(next) }
    }

    fn next(&self) -> Option<&Spot> {
        Some(&self.pointer)
    }
}

/// Whether a text is encoded for a URL already: it holds `%XX`, each `%` of it begins one, and nothing that would have been
/// encoded.
fn is_encoded(text: &str) -> bool {
    let bytes = text.as_bytes();
    let escapes =
        |at: usize| bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit));
    let mut found = false;
    for (at, byte) in bytes.iter().enumerate() {
        match byte {
            b'%' if escapes(at) => found = true,
            b'%' | b'&' | b'#' | b' ' | b'"' | b'<' | b'>' => return false,
            byte if !byte.is_ascii_graphic() => return false,
            _ => {}
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_with_escapes_is_encoded_already() {
        for encoded in ["a%3D", "%2B%2f", "a=b%20c"] {
            assert!(is_encoded(encoded), "{encoded}");
        }
        for plain in ["", "a", "a=b", "100%", "50%-80%", "%zz", "a%3D&b", "a%3D b", "é%3D", "a%3D%"] {
            assert!(!is_encoded(plain), "{plain}");
        }
    }
}
