//! Scopes: what of a connection decides which records are listed, identified and dated.
//!
//! What is known of an upstream is known in a scope. What only changes how a list is read (page size, limits, slicing) is
//! not part of it, and neither is what stands for a default: so a default that is added later changes no scope.

use serde_json::{Value, json};
use url::Url;

use super::{SourceError, registry};

/// The version of what a scope is made of. To raise it makes every connection start from nothing.
const VERSION: u32 = 1;

/// What decides which records a connection lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    /// Tells scopes apart: `v1-` and a blake3 hash in hexadecimal.
    pub fingerprint: String,
    /// What it is made of, for showing the difference between two.
    pub canonical: Value,
}

impl Scope {
    /// The scope of settings that were brought into one form: without defaults, and without what decides nothing.
    #[must_use]
    pub fn of(base_url: &Url, settings: &Value) -> Self {
        let upstream =
            format!("{}{}", base_url.host_str().unwrap_or_default(), base_url.path().trim_end_matches('/'));
        Self::hashed(json!({"upstream": upstream, "settings": settings}))
    }

    /// The same settings at another account list other records.
    fn of_account(self, account: i32) -> Self {
        if account <= 1 {
            return self;
        }
        let Self { mut canonical, .. } = self;
        if let Some(members) = canonical.as_object_mut() {
            members.insert("account".to_owned(), json!(account));
        }
        Self::hashed(canonical)
    }

    fn hashed(canonical: Value) -> Self {
        // The members of an object are sorted by their names.
        let fingerprint = format!("v{VERSION}-{}", blake3::hash(canonical.to_string().as_bytes()).to_hex());
        Self { fingerprint, canonical }
    }
}

/// The scope of a connection. Its account at the upstream is counted from 1. Needs no credentials.
pub fn scope(kind: &str, base_url: &Url, settings: &Value, account: i32) -> Result<Scope, SourceError> {
    Ok((registry::kind(kind)?.scope)(base_url, settings)?.of_account(account))
}
