//! The `auth` setting: the header that carries the credentials.

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::SourceError;
use crate::error::quote;
use crate::paged_json::template::{Piece, pieces};

/// Headers that are the HTTP client's own business.
const FORBIDDEN_HEADERS: [&str; 8] = [
    "host",
    "connection",
    "content-length",
    "transfer-encoding",
    "accept",
    "accept-encoding",
    "cache-control",
    "te",
];

/// The header that carries the credentials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Its name, such as `Authorization`.
    pub header: String,
    /// Its value, with credentials by name in braces, such as `Bearer {token}`.
    pub value: String,
}

impl Auth {
    /// The header with the credentials filled in. It is marked sensitive, so that it stays out of logs.
    pub(in crate::paged_json) fn header(
        &self,
        credentials: &serde_json::Value,
    ) -> Result<(HeaderName, HeaderValue), SourceError> {
        let name = HeaderName::try_from(&self.header)
            .ok()
            .filter(|name| !FORBIDDEN_HEADERS.contains(&name.as_str()))
            .ok_or_else(|| SourceError::settings(format!("auth.header: {:?} cannot be used", self.header)))?;
        let mut value = HeaderValue::try_from(fill(&self.value, credentials)?).map_err(|_secret| {
            SourceError::Credentials { reason: format!("a value holds bytes that {name} cannot carry") }
        })?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// Bytes of the filled header: what servers take for all headers of a request together.
const LONGEST: usize = 8 << 10;

/// Fills a header's template. No message of it holds a secret.
fn fill(template: &str, credentials: &serde_json::Value) -> Result<String, SourceError> {
    let mut filled = String::new();
    let mut add = |text: &str| {
        if filled.len() + text.len() > LONGEST {
            let reason = format!("auth.value is longer than {LONGEST} bytes with the credentials filled in");
            return Err(SourceError::Credentials { reason });
        }
        filled.push_str(text);
        Ok(())
    };
    let pieces = pieces(template).map_err(|reason| SourceError::settings(format!("auth.value: {reason}")))?;
    for piece in pieces {
        match piece {
            Piece::Text(text) => add(text)?,
            Piece::Hole(name) => match credentials.get(name).and_then(serde_json::Value::as_str) {
                Some(secret) if !secret.is_empty() => add(secret)?,
                _ => {
                    let reason = format!("{:?} must be a text", quote(name));
                    return Err(SourceError::Credentials { reason });
                }
            },
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_credential_that_is_missing_is_named_briefly() {
        let template = format!("Key {{{}}}", "a".repeat(2000));
        let refused = fill(&template, &serde_json::json!({})).unwrap_err().to_string();
        assert!(refused.contains("must be a text") && refused.chars().count() < 200, "{refused}");
    }

    #[test]
    fn what_is_filled_in_has_an_end() {
        let credentials = serde_json::json!({ "token": "s3cret__".repeat(128) });
        assert_eq!(
            fill("{token}{token}{token}{token}{token}{token}{token}{token}", &credentials).unwrap().len(),
            LONGEST
        );
        for template in [&"{token}".repeat(9), &"{token}".repeat(100), &"x".repeat(LONGEST + 1)] {
            let refused = fill(template, &credentials).unwrap_err().to_string();
            assert!(refused.contains("longer than 8192 bytes") && !refused.contains("s3cret"), "{refused}");
        }
    }

    #[test]
    fn a_missing_credential_is_named() {
        let credentials = serde_json::json!({"token": "s3cret", "port": 7});
        assert_eq!(fill("Bearer {token}", &credentials).unwrap(), "Bearer s3cret");
        for template in ["{api_key}", "{port}", "{token"] {
            let error = fill(template, &credentials).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
