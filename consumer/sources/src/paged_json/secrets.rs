//! Takes a connection's secrets out of the URLs that it stores: some upstreams write the key that they were asked with into
//! the next page's URL. They are put back when the page is asked for.

use std::fmt;

use serde_json::Value;
use url::form_urlencoded::byte_serialize;
use zeroize::Zeroizing;

use crate::FetchError;
use crate::error::quote;

/// Bytes of a URL with its secrets: no server takes more.
const LONGEST: usize = 64 << 10;
/// Shorter values are words, not secrets.
const SHORTEST: usize = 4;

/// The secrets of a connection, the longest first, and what stands for each of them: its name in angle brackets, which no
/// URL holds as they are.
#[derive(Clone, Default)]
pub(super) struct Secrets(Vec<(String, Zeroizing<String>)>);

impl Secrets {
    /// Every text value of these credentials.
    pub(super) fn of(credentials: &Value) -> Self {
        let mut secrets = Vec::new();
        add("", credentials, &mut secrets);
        secrets.sort_by_key(|(_, secret)| std::cmp::Reverse(secret.len()));
        Self(secrets)
    }

    /// A path and query without the secrets, whether they are written as they are or encoded.
    pub(super) fn hide(&self, url: &str) -> String {
        let mut hidden = String::with_capacity(url.len());
        let mut rest = url;
        while !rest.is_empty() {
            let found =
                self.0.iter().find_map(|(name, secret)| Some((name, length(rest, secret.as_bytes())?)));
            match found {
                Some((name, length)) => {
                    hidden.extend(["<", name, ">"]);
                    rest = rest.get(length..).unwrap_or_default();
                }
                None => {
                    let mut chars = rest.chars();
                    hidden.extend(chars.next());
                    rest = chars.as_str();
                }
            }
        }
        hidden
    }

    /// The same with the secrets.
    pub(super) fn show(&self, hidden: &str) -> Result<String, FetchError> {
        let mut shown = String::with_capacity(hidden.len());
        let mut rest = hidden;
        while let Some((before, after)) = rest.split_once('<') {
            let (name, after) = after.split_once('>').unwrap_or((after, ""));
            let known = self.0.iter().find(|(known, _)| known == name).ok_or_else(|| {
                FetchError::permanent(format!(
                    "the next page's URL needs the credential {}, which the connection has no more; start another job",
                    quote(name)
                ))
            })?;
            shown.push_str(before);
            shown.push_str(&encoded(&known.1));
            check(&shown)?;
            rest = after;
        }
        shown.push_str(rest);
        check(&shown)?;
        Ok(shown)
    }
}

fn check(url: &str) -> Result<(), FetchError> {
    if url.len() <= LONGEST {
        return Ok(());
    }
    Err(FetchError::permanent(format!("the next page's URL is longer than {LONGEST} bytes")))
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({})", self.0.len())
    }
}

fn add(path: &str, value: &Value, secrets: &mut Vec<(String, Zeroizing<String>)>) {
    let inner = |name: &str| {
        let name = encoded(name);
        if path.is_empty() { name } else { format!("{path}/{name}") }
    };
    match value {
        Value::String(secret) if secret.len() >= SHORTEST => {
            secrets.push((path.to_owned(), Zeroizing::new(secret.clone())));
        }
        Value::Object(members) => members.iter().for_each(|(name, value)| add(&inner(name), value, secrets)),
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .for_each(|(index, value)| add(&inner(&index.to_string()), value, secrets));
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

fn encoded(text: &str) -> String {
    byte_serialize(text.as_bytes()).collect::<String>().replace('+', "%20")
}

/// How many bytes of the beginning of a URL's part stand for the secret, each of whose bytes may be encoded or not.
fn length(url: &str, secret: &[u8]) -> Option<usize> {
    let url = url.as_bytes();
    let mut at = 0;
    for byte in secret {
        at += match url.get(at)? {
            b'%' if escape(url.get(at + 1..at + 3)) == Some(*byte) => 3,
            b'+' if *byte == b' ' => 1,
            here if here == byte => 1,
            _ => return None,
        };
    }
    Some(at)
}

fn escape(digits: Option<&[u8]>) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(digits?).ok()?, 16).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn secrets_are_hidden_however_they_are_written_and_come_back() {
        let secrets =
            Secrets::of(&json!({"api_key": "s3cr+t /é", "oauth": {"id<>": "s3cr"}, "n": 7, "eu": "eu"}));
        for written in ["s3cr%2Bt%20/%C3%A9", "s3cr+t+%2f%c3%a9", "%733cr%2bt%20%2F%C3%A9"] {
            let hidden = secrets.hide(&format!("/list?key={written}&page=2"));
            assert_eq!(hidden, "/list?key=<api_key>&page=2", "{written}");
            assert_eq!(secrets.show(&hidden).unwrap(), "/list?key=s3cr%2Bt%20%2F%C3%A9&page=2");
        }
        let hidden = secrets.hide("/s3cr/é/s3cr+t?eu=eu");
        assert_eq!(hidden, "/<oauth/id%3C%3E>/é/<oauth/id%3C%3E>+t?eu=eu");
        assert_eq!(secrets.show(&hidden).unwrap(), "/s3cr/é/s3cr+t?eu=eu");
        assert_eq!(format!("{secrets:?}"), "Secrets(2)");
    }

    #[test]
    fn a_credential_that_is_gone_is_named() {
        let gone = Secrets::of(&json!({})).show("/list?key=<api_key>").unwrap_err().to_string();
        assert!(gone.contains("needs the credential api_key"), "{gone}");
        assert_eq!(Secrets::default().hide("/list?a=%zz%"), "/list?a=%zz%");
    }

    #[test]
    fn a_url_that_names_a_credential_again_and_again_is_refused() {
        let secrets = Secrets::of(&json!({"api_key": "s3cret__".repeat(128)}));
        assert!(secrets.show(&"<api_key>".repeat(60)).is_ok());
        let refused = secrets.show(&"<api_key>".repeat(70)).unwrap_err().to_string();
        assert!(refused.contains("longer than 65536 bytes") && !refused.contains("s3cret"), "{refused}");
    }

    proptest::proptest! {
        #[test]
        fn what_is_hidden_comes_back_as_it_means(text in "[a-c%+/=é]{0,20}", secret in "[a-c+/ ]{4,6}") {
            let secrets = Secrets::of(&json!({"k": secret}));
            let url = encoded(&text);
            let again = secrets.show(&secrets.hide(&url)).unwrap();
            let meaning = |url: &str| url::form_urlencoded::parse(url.as_bytes()).into_owned().collect::<Vec<_>>();
            proptest::prop_assert_eq!(meaning(&again), meaning(&url));
        }
    }
}
