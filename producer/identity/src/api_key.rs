//! API keys: 32 random bytes that are shown once. Only their hash is stored.

use std::fmt;

/// What every key begins with, so that a key in a log or a repository is recognised as one.
const MARK: &str = "bh_";
/// The rest of it: 32 bytes in hexadecimal.
const RANDOM_CHARS: usize = 64;
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
        digest(&self.0)
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ApiKey({}…)", self.prefix())
    }
}

/// A key that somebody presents, if it looks like one. `Debug` shows its prefix only.
#[derive(Clone, Copy)]
pub struct Presented<'a>(&'a str);

impl<'a> Presented<'a> {
    /// `None` for what no [`ApiKey`] looks like.
    #[must_use]
    pub fn read(presented: &'a str) -> Option<Self> {
        let random = presented.strip_prefix(MARK)?;
        let hex = random.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        (random.len() == RANDOM_CHARS && hex).then_some(Self(presented))
    }

    /// The part that is stored in clear.
    #[must_use]
    pub fn prefix(self) -> &'a str {
        self.0.get(..PREFIX_CHARS).unwrap_or_default()
    }

    /// What is stored instead of the key.
    #[must_use]
    pub fn hash(self) -> [u8; 32] {
        digest(self.0)
    }
}

impl fmt::Debug for Presented<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Presented({}…)", self.prefix())
    }
}

/// A fast hash is enough: the keys are random, not chosen.
fn digest(key: &str) -> [u8; 32] {
    *blake3::hash(key.as_bytes()).as_bytes()
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
        let presented = Presented::read(one.expose()).unwrap();
        assert_eq!((presented.hash(), presented.prefix()), (one.hash(), one.prefix()));
        assert!(!format!("{one:?}").contains(one.expose()));
    }

    #[test]
    fn what_cannot_be_a_key_is_not_read_as_one() {
        let key = ApiKey::generate();
        let key = key.expose();
        for text in
            ["", "bh_", "bh_1", "a.b.c", &key[1..], &key[..66], &format!("{key}0"), &key.to_uppercase()]
        {
            assert!(Presented::read(text).is_none(), "{text}");
        }
    }
}
