//! API keys: 32 random bytes that are shown once. Only their hash is stored.

use std::fmt;

/// What every key begins with, so that a key in a log or a repository is recognised as one.
const MARK: &str = "bh_";
/// How much of a key is kept in clear, so that a person can tell keys apart: the mark and 32 bits.
const PREFIX_CHARS: usize = MARK.len() + 8;

/// A new key. `Debug` shows its prefix only.
#[derive(Clone)]
pub struct ApiKey(String);

impl ApiKey {
    /// A key that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        Self(format!("{MARK}{}", blake3::Hash::from_bytes(rand::random::<[u8; 32]>()).to_hex()))
    }

    /// The key itself, to be shown to its owner once.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// The part that may be stored and listed.
    #[must_use]
    pub fn prefix(&self) -> &str {
        self.0.get(..PREFIX_CHARS).unwrap_or_default()
    }

    /// What is stored instead of the key.
    #[must_use]
    pub fn hash(&self) -> [u8; 32] {
        hash(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.prefix())
    }
}

/// The hash under which a presented key would be stored. A fast hash is enough: the keys are random, not chosen.
#[must_use]
pub fn hash(presented: &str) -> [u8; 32] {
    *blake3::hash(presented.as_bytes()).as_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_random_and_hidden() {
        let (one, other) = (ApiKey::generate(), ApiKey::generate());
        assert_ne!(one.expose(), other.expose());
        assert_eq!(one.expose().len(), 3 + 64);
        assert!(one.expose().starts_with(one.prefix()));
        assert_eq!(one.hash(), hash(one.expose()));
        assert!(!format!("{one:?}").contains(one.expose()));
    }
}
