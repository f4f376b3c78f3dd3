//! Values that must not be shown: keys, and URLs that carry a password.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use url::Url;
use zeroize::Zeroizing;

/// A URL that may hold credentials. `Debug` and `Display` show it with the password masked.
#[derive(Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct SecretUrl(String);

impl SecretUrl {
    /// Wraps a URL as it was given.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self(url.into())
    }

    /// The URL with its password, for the one call that connects.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

// Written as it is shown: for people.
impl Serialize for SecretUrl {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (!self.is_empty()).then(|| self.to_string()).serialize(serializer)
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&mask_url(&self.0), f)
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&mask_url(&self.0))
    }
}

/// A text that is never shown, and wiped from memory when dropped.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct SecretText(Zeroizing<String>);

impl SecretText {
    /// The text, for the one place that uses it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// Whether none was given.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(Zeroizing::new(text))
    }
}

impl<'de> Deserialize<'de> for SecretText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

// Written as it is shown: for people.
impl Serialize for SecretText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (!self.is_empty()).then_some("***").serialize(serializer)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_empty() { "(not set)" } else { "***" })
    }
}

/// The URL with its password replaced by `***`, and without its query, where drivers accept passwords too.
/// Text that is not a URL is not shown at all, since nobody can tell which part of it is secret.
#[must_use]
pub fn mask_url(url: &str) -> String {
    if url.is_empty() {
        return "(not set)".to_owned();
    }
    if let Some(shown) = mask_hosts(url) {
        return shown;
    }
    let Ok(mut parsed) = Url::parse(url) else {
        return "(not a URL, hidden)".to_owned();
    };
    // Nobody means that, and what is behind it may be a second user's password.
    if parsed.path().contains('@') {
        parsed.set_path("/***");
    }
    if parsed.password().is_some() && parsed.set_password(Some("***")).is_err() {
        return "(hidden)".to_owned();
    }
    if parsed.query().is_some() {
        parsed.set_query(Some("***"));
    }
    parsed.to_string()
}

/// The same of an address that names several hosts, which is no URL to others than the driver.
fn mask_hosts(url: &str) -> Option<String> {
    let (scheme, rest) = url.split_once("://")?;
    let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let (user, hosts) = authority.rsplit_once('@').unwrap_or(("", authority));
    let is_name = |host: &str| {
        !host.is_empty() && host.chars().all(|one| one.is_ascii_alphanumeric() || "-_.:[]%".contains(one))
    };
    if !hosts.contains(',')
        || !hosts.split(',').all(is_name)
        || !scheme.chars().all(|one| one.is_ascii_alphanumeric())
    {
        return None;
    }
    let user = match (user.split_once(':'), user) {
        (Some((name, _)), _) => format!("{name}:***@"),
        (None, "") => String::new(),
        (None, name) => format!("{name}@"),
    };
    let (path, rest) = tail.split_at(tail.find(['?', '#']).unwrap_or(tail.len()));
    let path = if path.contains('@') { "/***" } else { path };
    let rest = if rest.is_empty() { "" } else { "?***" };
    Some(format!("{scheme}://{user}{hosts}{path}{rest}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_masked_everywhere() {
        let url = SecretUrl::new("amqp://user:s3cret@host:5672/%2f?password=s3cret");
        assert_eq!(format!("{url}"), "amqp://user:***@host:5672/%2f?***");
        assert!(!format!("{url:?}").contains("s3cret"));
        assert!(!mask_url("host=x password=s3cret").contains("s3cret"));
        assert_eq!(url.expose(), "amqp://user:s3cret@host:5672/%2f?password=s3cret");
    }

    #[test]
    fn every_host_is_shown_and_no_password() {
        for (url, shown) in [
            ("postgres://u:s3cret@h1:5432,h2:5433/db?x=1", "postgres://u:***@h1:5432,h2:5433/db?***"),
            ("postgres://u@h1,[::1]:5433/db", "postgres://u@h1,[::1]:5433/db"),
            ("postgres://h1,h2/db", "postgres://h1,h2/db"),
            ("postgres://a:s3cret@h1,b:s3cret@h2/db", "postgres://a:***@h2/db"),
            ("postgres://a:s3cret@h1:1,b:s3cret@h2:2,h3/db", "postgres://a:***@h2:2,h3/db"),
            ("amqp://a:s3cret@h1,amqp://b:s3cret@h2/v", "amqp://a:***@h1,amqp:/***"),
            ("postgres://a:s3cret@h1/db,postgres://b:s3cret@h2/db", "postgres://a:***@h1/***"),
        ] {
            let masked = mask_url(url);
            assert!(!masked.contains("s3cret"), "{masked}");
            assert_eq!(masked, shown);
        }
    }

    #[test]
    fn a_url_without_secrets_is_shown_whole() {
        assert_eq!(mask_url("postgres://root@127.0.0.1/x"), "postgres://root@127.0.0.1/x");
        assert_eq!(mask_url(""), "(not set)");
    }
}
