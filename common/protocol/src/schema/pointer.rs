//! JSON pointers (RFC 6901) into the text of a record.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The longest pointer, in bytes.
const MAX_POINTER_BYTES: usize = 512;
/// The deepest one, in tokens.
const MAX_TOKENS: usize = 16;

/// A JSON pointer: empty for the whole record, else `/` before each name or index. `~1` stands for `/`, `~0` for `~`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pointer {
    text: String,
    tokens: Vec<String>,
}

impl Pointer {
    /// What it leads to, verbatim; of a name that an object has twice the last one, as in Postgres. `None` if it leads
    /// nowhere.
    #[must_use]
    pub(super) fn find<'de>(&self, record: &'de RawValue) -> Option<&'de RawValue> {
        self.tokens.iter().try_fold(record, |value, token| step(value, token))
    }
}

fn step<'de>(value: &'de RawValue, token: &str) -> Option<&'de RawValue> {
    let json = value.get();
    match json.as_bytes().first()? {
        b'{' => {
            // Names with escapes are not borrowed, hence Cow.
            let mut fields: HashMap<Cow<'de, str>, &'de RawValue> = serde_json::from_str(json).ok()?;
            fields.remove(token)
        }
        b'[' => {
            let index = index(token)?;
            let items: Vec<&'de RawValue> = serde_json::from_str(json).ok()?;
            items.get(index).copied()
        }
        _ => None,
    }
}

/// No leading zeros, no sign.
fn index(token: &str) -> Option<usize> {
    let plain = token == "0" || token.starts_with(|first: char| ('1'..='9').contains(&first));
    token.parse().ok().filter(|_| plain)
}

impl TryFrom<String> for Pointer {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if !text.is_empty() && !text.starts_with('/') {
            return Err(format!(
                "{text:?} is not a JSON pointer: it must be empty (the whole record), or begin with /"
            ));
        }
        if text.len() > MAX_POINTER_BYTES || text.contains('\0') {
            return Err(format!("a JSON pointer must have at most {MAX_POINTER_BYTES} bytes, and no NUL"));
        }
        let tokens: Vec<&str> = text.split('/').skip(1).collect();
        if tokens.len() > MAX_TOKENS {
            return Err(format!("{text:?} is deeper than {MAX_TOKENS} levels"));
        }
        let escaped = |token: &&str| token.split('~').skip(1).all(|after| after.starts_with(['0', '1']));
        if !tokens.iter().all(escaped) {
            return Err(format!(
                "{text:?} is not a JSON pointer: write ~0 for ~, and ~1 for / within a name"
            ));
        }
        let tokens = tokens.iter().map(|token| token.replace("~1", "/").replace("~0", "~")).collect();
        Ok(Self { text, tokens })
    }
}

impl From<Pointer> for String {
    fn from(pointer: Pointer) -> Self {
        pointer.text
    }
}

impl fmt::Display for Pointer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
