//! Keys: 32 random bytes, written as base64, and known by an identifier that gives nothing away.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Serialize, Serializer};
use std::fmt;
use zeroize::Zeroizing;

const KEY_BYTES: usize = 32;
const ID_BYTES: usize = 8;
/// What identifiers are derived for: a hash for another purpose is another hash.
const ID_CONTEXT: &str = "backhaul 2026 identifier of a credentials key";

/// A key of credentials. Never shown, and wiped from memory when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Zeroizing<[u8; KEY_BYTES]>);

/// Which key it was: the first eight bytes of a hash of the key, in hexadecimal. Safe to store and to show.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[cfg_attr(feature = "sqlx", sqlx(transparent))]
pub struct KeyId([u8; ID_BYTES]);

/// A text that is no key. No message repeats it.
#[derive(Debug, thiserror::Error)]
#[error(
    "{name} {problem}; a key is 32 random bytes in base64 (44 characters): make one with `backhaul admin generate-key`"
)]
pub struct KeyError {
    /// The key of the configuration, or the file.
    pub(super) name: String,
    /// What is wrong with it.
    pub(super) problem: String,
}

impl KeyError {
    /// What is wrong with the key of this name.
    #[must_use]
    pub fn new(name: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { name: name.into(), problem: problem.into() }
    }
}

impl Key {
    /// A key that nobody can guess.
    #[must_use]
    pub fn generate() -> Self {
        Self(Zeroizing::new(rand::random()))
    }

    /// Reads a key. `name` says in an error where the text came from.
    ///
    /// # Errors
    /// When the text is not 32 bytes in base64, or all its bytes are equal: a placeholder somebody forgot.
    pub fn parse(name: &str, text: &str) -> Result<Self, KeyError> {
        let text = text.trim();
        if text.is_empty() {
            return Err(KeyError::new(name, "is empty"));
        }
        let decoded = STANDARD.decode(text).map_err(|_quotes_it| KeyError::new(name, "is not base64"))?;
        let decoded = Zeroizing::new(decoded);
        let bytes: [u8; KEY_BYTES] = decoded
            .as_slice()
            .try_into()
            .map_err(|_length| KeyError::new(name, format!("has {} bytes", decoded.len())))?;
        if bytes.iter().all(|byte| *byte == bytes[0]) {
            return Err(KeyError::new(name, "is not random: all its bytes are equal"));
        }
        Ok(Self(Zeroizing::new(bytes)))
    }

    /// The key in base64, for its owner.
    #[must_use]
    pub fn expose(&self) -> Zeroizing<String> {
        Zeroizing::new(STANDARD.encode(*self.0))
    }

    /// What it is known by.
    #[must_use]
    pub fn id(&self) -> KeyId {
        let mut id = [0; ID_BYTES];
        blake3::Hasher::new_derive_key(ID_CONTEXT).update(&*self.0).finalize_xof().fill(&mut id);
        KeyId(id)
    }

    pub(super) fn bytes(&self) -> &[u8; KEY_BYTES] {
        &self.0
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.id())
    }
}

impl KeyId {
    /// As it is stored.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Reads what was stored; `None` when that is not eight bytes.
    #[must_use]
    pub fn from_bytes(stored: &[u8]) -> Option<Self> {
        stored.try_into().ok().map(Self)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for KeyId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_read_back_and_hidden() {
        let key = Key::generate();
        let text = key.expose();
        assert_eq!((text.len(), Key::parse("x", &format!(" {}\n", *text)).unwrap()), (44, key.clone()));
        assert_eq!(key.id().to_string().len(), 16);
        assert_ne!(key.id(), Key::generate().id());
        assert_eq!(KeyId::from_bytes(key.id().as_bytes()), Some(key.id()));
        assert!(!format!("{key:?}").contains(&*text));
    }

    #[test]
    fn the_identifier_never_changes() {
        // Stored in databases: another derivation would make every row unreadable.
        let key = Key::parse("x", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").unwrap();
        assert_eq!(key.id().to_string(), "a1b133406c7a6933");
    }

    #[test]
    fn what_is_no_key_is_named_and_not_repeated() {
        for (text, problem) in [
            ("", "is empty"),
            ("s3cret!", "is not base64"),
            ("czNjcmV0", "has 6 bytes"),
            ("AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=", "is not random"),
        ] {
            let error = Key::parse("credentials.key", text).unwrap_err().to_string();
            assert!(error.starts_with("credentials.key ") && error.contains(problem), "{error}");
            assert!(text.is_empty() || !error.contains(text), "{error}");
        }
    }
}
