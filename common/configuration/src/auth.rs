//! `[auth]`: whose JSON Web Tokens the HTTP API believes.

use super::secret::{SecretText, SecretUrl};
use protocol::millis;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use url::{Host, Url};

/// A shared secret that is shorter than the hash it keys can be guessed from one token (RFC 7518, 3.2).
const SHORTEST_SECRET: usize = 32;
/// Beyond this the clocks should be repaired instead.
const LONGEST_LEEWAY: Duration = Duration::from_secs(5 * 60);
/// A request that meets an unknown key waits for the fetch.
const LONGEST_FETCH: Duration = Duration::from_secs(10);

/// `[auth]`: tokens are accepted if a shared secret, the address of a key set, or both are given; else none is. What a
/// token may be signed with follows from what is given here: HS256 with the secret, RS256 or ES256 with a key of the set.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AuthConfig {
    /// The secret of HS256 tokens, at least 32 bytes. Default: none, and HS256 is refused.
    pub hs256_secret: SecretText,
    /// Where the JSON Web Key Set of the issuer is: https, or http on loopback. Default: none, and RS256 and ES256 are
    /// refused.
    pub jwks_url: SecretUrl,
    /// What a token's `iss` must be. Required with either of the above.
    pub issuer: String,
    /// What a token's `aud` must be or contain. Required with either of the above.
    pub audience: String,
    /// How far the issuer's clock may be off, in whole seconds (`leeway_ms`, default 30 s, at most 5 minutes).
    #[serde(rename = "leeway_ms", with = "millis")]
    pub leeway: Duration,
    /// Between two fetches of the key set (`refresh_every_ms`, default 10 minutes).
    #[serde(rename = "refresh_every_ms", with = "millis")]
    pub refresh_every: Duration,
    /// How soon the key set may be fetched again because a token names a key that is not in it, or because the last
    /// fetch failed (`refresh_again_ms`, default 10 s).
    #[serde(rename = "refresh_again_ms", with = "millis")]
    pub refresh_again: Duration,
    /// Longest fetch of the key set (`fetch_timeout_ms`, default 5 s, at most 10 s).
    #[serde(rename = "fetch_timeout_ms", with = "millis")]
    pub fetch_timeout: Duration,
}

impl Default for AuthConfig {
    fn default() -> Self {
        Self {
            hs256_secret: SecretText::default(),
            jwks_url: SecretUrl::default(),
            issuer: String::new(),
            audience: String::new(),
            leeway: Duration::from_secs(30),
            refresh_every: Duration::from_secs(600),
            refresh_again: Duration::from_secs(10),
            fetch_timeout: Duration::from_secs(5),
        }
    }
}

impl AuthConfig {
    /// Whether any token can be accepted.
    #[must_use]
    pub fn is_open(&self) -> bool {
        !self.hs256_secret.is_empty() || !self.jwks_url.is_empty()
    }

    /// Whether the values make sense together.
    ///
    /// # Errors
    /// All contradictions, as one text that names the keys.
    pub fn check(&self) -> Result<(), String> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        let secret = self.hs256_secret.expose().len();
        demand(
            secret == 0 || secret >= SHORTEST_SECRET,
            format!("auth.hs256_secret has {secret} bytes; it needs at least {SHORTEST_SECRET}"),
        );
        if !self.jwks_url.is_empty() {
            let judged = judge(self.jwks_url.expose());
            demand(judged.is_ok(), format!("auth.jwks_url {}", judged.err().unwrap_or_default()));
        }
        for (key, value) in [("issuer", &self.issuer), ("audience", &self.audience)] {
            demand(
                !self.is_open() || !value.is_empty(),
                format!(
                    "auth.{key} must be set, or tokens that were made for somebody else would be accepted"
                ),
            );
        }
        for (key, value, most) in [
            ("leeway_ms", self.leeway, LONGEST_LEEWAY),
            ("fetch_timeout_ms", self.fetch_timeout, LONGEST_FETCH),
        ] {
            let (value_ms, most_ms) = (value.as_millis(), most.as_millis());
            demand(value <= most, format!("auth.{key} ({value_ms}) must be at most {most_ms}"));
        }
        for (key, value) in [
            ("refresh_every_ms", self.refresh_every),
            ("refresh_again_ms", self.refresh_again),
            ("fetch_timeout_ms", self.fetch_timeout),
        ] {
            demand(!value.is_zero(), format!("auth.{key} must not be 0"));
        }
        if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
    }
}

/// Keys that came over an open network could be anybody's.
fn judge(text: &str) -> Result<(), String> {
    let url = Url::parse(text).map_err(|error| format!("is not a URL ({error})"))?;
    let on_loopback = match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    match url.scheme() {
        "https" => Ok(()),
        "http" if on_loopback => Ok(()),
        _ => Err("must be https, or http on loopback".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open() -> AuthConfig {
        AuthConfig {
            hs256_secret: SecretText::from("0123456789abcdef0123456789abcdef".to_owned()),
            issuer: "https://issuer.example".to_owned(),
            audience: "backhaul".to_owned(),
            ..AuthConfig::default()
        }
    }

    #[test]
    fn nothing_is_accepted_unless_something_is_given() {
        assert!(!AuthConfig::default().is_open() && AuthConfig::default().check().is_ok());
        assert!(open().is_open() && open().check().is_ok());
    }

    #[test]
    fn what_is_at_a_limit_is_accepted() {
        let secret = |bytes: usize| SecretText::from("s".repeat(bytes));
        let at = AuthConfig {
            hs256_secret: secret(SHORTEST_SECRET),
            leeway: LONGEST_LEEWAY,
            fetch_timeout: LONGEST_FETCH,
            refresh_every: Duration::from_millis(1),
            refresh_again: Duration::from_millis(1),
            ..open()
        };
        assert_eq!(at.check(), Ok(()));
        let ms = Duration::from_millis(1);
        for past in [
            AuthConfig { hs256_secret: secret(SHORTEST_SECRET - 1), ..at.clone() },
            AuthConfig { leeway: LONGEST_LEEWAY + ms, ..at.clone() },
            AuthConfig { fetch_timeout: LONGEST_FETCH + ms, ..at.clone() },
        ] {
            assert!(past.check().is_err(), "{past:?}");
        }
    }

    #[test]
    fn half_a_configuration_is_refused_at_start() {
        let wrong = [
            (
                AuthConfig { hs256_secret: SecretText::from("short".to_owned()), ..open() },
                "hs256_secret has 5 bytes",
            ),
            (AuthConfig { issuer: String::new(), ..open() }, "auth.issuer must be set"),
            (AuthConfig { audience: String::new(), ..open() }, "auth.audience must be set"),
            (AuthConfig { leeway: Duration::from_secs(3600), ..open() }, "leeway_ms (3600000)"),
            (AuthConfig { fetch_timeout: Duration::from_secs(11), ..open() }, "fetch_timeout_ms (11000)"),
            (AuthConfig { refresh_every: Duration::ZERO, ..open() }, "refresh_every_ms must not be 0"),
        ];
        for (config, words) in wrong {
            let said = config.check().err().unwrap_or_default();
            assert!(said.contains(words) && !said.contains("0123456789"), "{said}");
        }
    }

    #[test]
    fn keys_come_over_https_or_from_this_machine() {
        let judged = |url: &str| AuthConfig { jwks_url: SecretUrl::new(url), ..open() }.check();
        for url in
            ["https://issuer.example/jwks", "http://127.0.0.1:1/jwks", "http://[::1]/", "http://localhost/"]
        {
            assert_eq!(judged(url), Ok(()), "{url}");
        }
        for url in ["http://issuer.example/jwks", "http://127.0.0.1.example/", "file:///etc/keys", "jwks"] {
            assert!(judged(url).is_err_and(|said| said.starts_with("auth.jwks_url")), "{url}");
        }
    }
}
