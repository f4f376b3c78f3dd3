//! The `auth` setting: the header that carries the credentials.

use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use crate::SourceError;
use crate::error::quote;
use crate::paged_json::template::{Piece, pieces};

/// Headers that say how a request is sent, where it goes, or what is answered: those are the HTTP client's own business.
const NOT_CREDENTIALS: [&str; 29] = [
    "accept",
    "accept-charset",
    "accept-encoding",
    "accept-language",
    "cache-control",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "date",
    "expect",
    "forwarded",
    "host",
    "http2-settings",
    "keep-alive",
    "max-forwards",
    "pragma",
    "prefer",
    "range",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-http-method",
    "x-http-method-override",
    "x-method-override",
    "x-original-url",
    "x-rewrite-url",
];
/// So do those that begin like this.
const NOT_CREDENTIALS_BEGIN: [&str; 4] = ["if-", "proxy-", "sec-", "x-forwarded-"];

fn is_no_credential(name: &HeaderName) -> bool {
    let name = name.as_str();
    NOT_CREDENTIALS.contains(&name) || NOT_CREDENTIALS_BEGIN.iter().any(|begin| name.starts_with(begin))
}

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
        let said = quote(&self.header);
        let name = HeaderName::try_from(&self.header).map_err(|_no_name| {
            SourceError::settings(format!("auth.header: {said:?} is no name of a header"))
        })?;
        if is_no_credential(&name) {
            return Err(SourceError::settings(format!(
                "auth.header: {said:?} carries no credentials: it says how a request is sent, or what is answered; use \
                 Authorization, or the header that the upstream's documentation names"
            )));
        }
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
    fn a_header_that_is_not_for_credentials_is_refused_in_words() {
        let header = |name: &str| {
            let (header, value) = (name.to_owned(), "{token}".to_owned());
            Auth { header, value }.header(&serde_json::json!({ "token": "s3cret" }))
        };
        for name in [
            "Accept",
            "Accept-Charset",
            "Accept-Encoding",
            "Accept-Language",
            "Cache-Control",
            "Connection",
            "Content-Encoding",
            "Content-Length",
            "Content-Type",
            "Date",
            "Expect",
            "Forwarded",
            "Host",
            "HTTP2-Settings",
            "If-Match",
            "If-Modified-Since",
            "If-None-Match",
            "If-Range",
            "If-Unmodified-Since",
            "Keep-Alive",
            "Max-Forwards",
            "Pragma",
            "Prefer",
            "Proxy-Authorization",
            "Proxy-Connection",
            "Range",
            "Sec-Fetch-Mode",
            "TE",
            "Trailer",
            "Transfer-Encoding",
            "Upgrade",
            "Via",
            "X-Forwarded-Host",
            "X-HTTP-Method",
            "X-HTTP-Method-Override",
            "X-Method-Override",
            "X-Original-URL",
            "X-Rewrite-URL",
        ] {
            for name in [name, &name.to_uppercase(), &name.to_lowercase()] {
                let refused = header(name).unwrap_err().to_string();
                assert!(refused.contains("carries no credentials") && refused.contains(name), "{refused}");
            }
        }
        for no_name in ["", "a b", "a:", "ä", "a\r\nb"] {
            let refused = header(no_name).unwrap_err().to_string();
            assert!(refused.contains("is no name of a header"), "{refused}");
        }
        for name in [
            "Authorization",
            "X-API-Key",
            "Cookie",
            "api_key",
            "X-Auth-Token",
            "Private-Token",
            "Ocp-Apim-Subscription-Key",
        ] {
            assert!(header(name).is_ok(), "{name}");
        }
    }

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
