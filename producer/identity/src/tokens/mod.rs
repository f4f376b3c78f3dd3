//! JSON Web Tokens: whose they are, if they are believed.
//!
//! What a token may be signed with follows from the keys that were configured, never from the token: its header only
//! chooses among those keys. An HS256 token is checked against the shared secret and nothing else, an RS256 or ES256 token
//! against a key of the issuer's set that is of this kind and nothing else. Every other algorithm is refused, `none` too.

mod crypto;
#[cfg(test)]
mod fuzz;
mod issuer;
mod key_set;

use configuration::AuthConfig;
use issuer::Issuer;
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, DecodingKey, Validation, decode, decode_header};
use key_set::Key;
use protocol::ids::MAX_SUBJECT_CHARS;
use protocol::plain::controls_display;
use serde::Deserialize;
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// No issuer needs more; what is longer is not looked at.
const LONGEST_TOKEN: usize = 8 * 1024;

/// Why a token is not believed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// No key is configured.
    #[error("no JSON Web Token is accepted here: neither auth.hs256_secret nor auth.jwks_url is set")]
    Closed,
    /// The token itself. The text is for the caller.
    #[error("{0}")]
    Refused(String),
    /// The issuer's keys could not be fetched yet.
    #[error("the keys that tokens are checked with are not there yet; repeat the request")]
    NoKeys,
}

impl TokenError {
    fn refused(why: impl Into<String>) -> Self {
        Self::Refused(why.into())
    }
}

/// Checks tokens.
#[derive(Debug, Default)]
pub struct Tokens {
    issuer: String,
    audience: String,
    leeway_seconds: u64,
    secret: Option<Key>,
    keys: Option<Issuer>,
}

/// A token that is believed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// Its `sub`: whom it speaks for.
    pub subject: String,
    /// When it is not believed any more: its `exp`, and the leeway.
    pub expires: SystemTime,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: Option<String>,
    // Whether it can be read is the library's to say.
    exp: Option<Value>,
    // Also to refuse a list of issuers, which the checks of the library would take.
    #[serde(rename = "iss")]
    _iss: Option<String>,
}

impl Tokens {
    /// Checks no token: every one is refused.
    #[must_use]
    pub fn closed() -> Self {
        Self::default()
    }

    /// What this configuration asks for. Inside a runtime; the issuer's keys are fetched in the background until this is
    /// dropped.
    ///
    /// # Errors
    /// When the values make no sense together, or the HTTP client cannot be built; in words for the operator.
    pub fn start(config: &AuthConfig) -> Result<Self, String> {
        config.check()?;
        if !config.is_open() {
            tracing::info!(
                "neither auth.hs256_secret nor auth.jwks_url is set: JSON Web Tokens are refused, so the agency historical \
                 sync (/functions/v1) is closed"
            );
            return Ok(Self::closed());
        }
        crypto::install();
        let secret = config.hs256_secret.expose().as_bytes();
        let secret = (!secret.is_empty()).then(|| Key {
            id: None,
            algorithm: Algorithm::HS256,
            key: DecodingKey::from_secret(secret),
        });
        let keys = if config.jwks_url.is_empty() { None } else { Some(Issuer::start(config)?) };
        let (issuer, audience) = (config.issuer.clone(), config.audience.clone());
        Ok(Self { issuer, audience, leeway_seconds: config.leeway.as_secs(), secret, keys })
    }

    /// What a token says, once the signature, `exp`, `nbf`, `aud` and `iss` are right.
    ///
    /// # Errors
    /// [`TokenError`].
    pub async fn read(&self, token: &str) -> Result<Token, TokenError> {
        if self.secret.is_none() && self.keys.is_none() {
            return Err(TokenError::Closed);
        }
        if token.len() > LONGEST_TOKEN {
            return Err(TokenError::refused(format!("the token is longer than {LONGEST_TOKEN} bytes")));
        }
        let header = decode_header(token).map_err(|_unspecific| {
            TokenError::refused("the token is no signed JSON Web Token, or its algorithm is not known")
        })?;
        if header.crit.is_some() {
            return Err(TokenError::refused("the token demands an extension (crit) that is not known here"));
        }
        let asked = header.alg;
        if asked == Algorithm::HS256 {
            return match &self.secret {
                Some(key) => self.check(token, key),
                None => Err(not_accepted(asked)),
            };
        }
        match &self.keys {
            Some(keys) if key_set::ACCEPTED.contains(&asked) => {
                let set = keys.with(header.kid.as_deref(), asked).await.ok_or(TokenError::NoKeys)?;
                let key = set.find(header.kid.as_deref(), asked).ok_or_else(|| {
                    TokenError::refused("the token names no key of its issuer's set; get a fresh one")
                })?;
                self.check(token, key)
            }
            Some(_) | None => Err(not_accepted(asked)),
        }
    }

    fn check(&self, token: &str, key: &Key) -> Result<Token, TokenError> {
        let mut validation = Validation::new(key.algorithm);
        validation.set_required_spec_claims(&["exp", "aud", "iss", "sub"]);
        validation.set_audience(&[&self.audience]);
        validation.set_issuer(&[&self.issuer]);
        validation.validate_nbf = true;
        validation.leeway = self.leeway_seconds;
        let claims =
            decode::<Claims>(token, &key.key, &validation).map_err(|error| explain(error.kind()))?.claims;
        let usable = |subject: &String| {
            !subject.is_empty()
                && subject.chars().count() <= MAX_SUBJECT_CHARS
                && !subject.contains(controls_display)
        };
        let subject = claims
            .sub
            .filter(usable)
            .ok_or_else(|| TokenError::refused("the token's `sub` cannot be a user of ours"))?;
        let ends = claims.exp.as_ref().and_then(Value::as_f64);
        let expires = ends.and_then(|ends| self.end(ends));
        expires
            .map(|expires| Token { subject, expires })
            .ok_or_else(|| TokenError::refused("the token has no usable `exp`"))
    }

    /// `exp`, in seconds since 1970, and the leeway.
    fn end(&self, exp: f64) -> Option<SystemTime> {
        let end =
            Duration::try_from_secs_f64(exp).ok()?.checked_add(Duration::from_secs(self.leeway_seconds))?;
        SystemTime::UNIX_EPOCH.checked_add(end)
    }
}

fn not_accepted(algorithm: Algorithm) -> TokenError {
    TokenError::refused(format!("tokens signed with {algorithm:?} are not accepted here"))
}

/// The library's reason in words that tell the caller what to do, and nobody what the key is.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the library's kinds only some matter, and it may add others"
)]
fn explain(kind: &ErrorKind) -> TokenError {
    TokenError::Refused(match kind {
        ErrorKind::ExpiredSignature => "the token has expired; get a fresh one".to_owned(),
        ErrorKind::ImmatureSignature => "the token is not valid yet (nbf)".to_owned(),
        ErrorKind::InvalidIssuer => "the token is of another issuer".to_owned(),
        ErrorKind::InvalidAudience => "the token was made for another audience".to_owned(),
        ErrorKind::MissingRequiredClaim(claim) | ErrorKind::InvalidClaimFormat(claim) => {
            format!("the token has no usable `{claim}`")
        }
        ErrorKind::InvalidSignature => "the token's signature is wrong".to_owned(),
        _ => "the token cannot be read".to_owned(),
    })
}

#[cfg(test)]
mod tests;
