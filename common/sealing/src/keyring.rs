//! Sealing and opening: XChaCha20-Poly1305, a random nonce each time, bound to the connection and where it sends them.

use super::{Key, KeyId};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use protocol::ids::ConnectionId;
use serde_json::Value;
use std::fmt;
use url::Url;
use zeroize::Zeroizing;

const NONCE_BYTES: usize = 24;
/// Begins the associated data, so that nothing else that is ever sealed with the same key opens as credentials.
const PURPOSE: &[u8] = b"backhaul credentials of connection ";

/// Sealed credentials, as they are stored. Authentic and unreadable without the key.
#[derive(Clone, PartialEq, Eq)]
pub struct Sealed {
    /// The key that opens them.
    pub key: KeyId,
    /// Random, 24 bytes: with so many, chance alone never repeats one.
    pub nonce: [u8; NONCE_BYTES],
    /// The JSON text, encrypted, and its authentication tag.
    pub ciphertext: Vec<u8>,
}

impl Sealed {
    /// What three columns hold; `None` when their lengths are not those of sealed credentials.
    #[must_use]
    pub fn from_columns(key: &[u8], nonce: &[u8], ciphertext: Vec<u8>) -> Option<Self> {
        Some(Self { key: KeyId::from_bytes(key)?, nonce: nonce.try_into().ok()?, ciphertext })
    }
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealed({} bytes with key {})", self.ciphertext.len(), self.key)
    }
}

/// Why credentials could not be sealed.
#[derive(Debug, thiserror::Error)]
pub enum CannotSeal {
    /// There is no key.
    #[error(
        "credentials are stored sealed, and no key is configured: make one with `backhaul admin generate-key`, and give it \
         to this command and to every consumer as BACKHAUL__CREDENTIALS__KEY, or `key` or `key_file` under [credentials]"
    )]
    NoKey,
    /// The cipher refused: more than it can encrypt.
    #[error("the credentials could not be sealed")]
    Refused,
}

/// Why sealed credentials could not be opened. Names the key, never the content.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum CannotOpen {
    /// No configured key has this identifier.
    #[error(
        "they are sealed with key {key}, and this process knows {known}: add that key to credentials.old_keys, or give the \
         credentials again (`backhaul admin connection put`)"
    )]
    UnknownKey {
        /// The one that is needed.
        key: KeyId,
        /// The ones that are configured, in words.
        known: String,
    },
    /// The key is right, and the bytes are not what it sealed for this connection.
    #[error(
        "what is stored was changed, or belongs to another connection, address or `auth`: key {key} does not open it; give \
         the credentials again (`backhaul admin connection put`)"
    )]
    Tampered {
        /// The key it claims.
        key: KeyId,
    },
}

/// The keys of a process: one seals, all of them open.
#[derive(Clone, Debug, Default)]
pub struct Keyring {
    current: Option<Key>,
    old: Vec<Key>,
}

impl Keyring {
    /// Seals with `current`, opens with all.
    #[must_use]
    pub const fn new(current: Option<Key>, old: Vec<Key>) -> Self {
        Self { current, old }
    }

    /// The key that seals.
    #[must_use]
    pub fn current(&self) -> Option<KeyId> {
        self.current.as_ref().map(Key::id)
    }

    /// Every key that opens, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = KeyId> + '_ {
        self.keys().map(Key::id)
    }

    fn keys(&self) -> impl Iterator<Item = &Key> {
        self.current.iter().chain(&self.old)
    }

    /// Seals credentials for one connection and where it sends them; `None` for an empty object or null, which are no
    /// secret and need no key.
    ///
    /// # Errors
    /// When no key is configured.
    pub fn seal(&self, bound: &Bound<'_>, credentials: &Value) -> Result<Option<Sealed>, CannotSeal> {
        if credentials.is_null() || credentials.as_object().is_some_and(serde_json::Map::is_empty) {
            return Ok(None);
        }
        self.seal_text(bound, Zeroizing::new(credentials.to_string()).as_bytes()).map(Some)
    }

    /// Opens what [`Self::seal`] made for this connection and address. Nothing stored is an empty object.
    ///
    /// # Errors
    /// When no configured key opens it.
    pub fn open(&self, bound: &Bound<'_>, sealed: Option<&Sealed>) -> Result<Value, CannotOpen> {
        let Some(sealed) = sealed else { return Ok(Value::Object(serde_json::Map::new())) };
        let text = self.open_text(bound, sealed)?;
        // The tag fits, so we wrote it, and we write JSON only.
        serde_json::from_slice(&text).map_err(|_never| CannotOpen::Tampered { key: sealed.key })
    }

    /// The same credentials under the current key, with a fresh nonce.
    ///
    /// # Errors
    /// When they cannot be opened; a missing current key counts as one that is not known.
    pub fn reseal(&self, bound: &Bound<'_>, sealed: &Sealed) -> Result<Sealed, CannotOpen> {
        let text = self.open_text(bound, sealed)?;
        self.seal_text(bound, &text).map_err(|_no_key| self.unknown(sealed.key))
    }

    fn seal_text(&self, bound: &Bound<'_>, text: &[u8]) -> Result<Sealed, CannotSeal> {
        let key = self.current.as_ref().ok_or(CannotSeal::NoKey)?;
        let nonce: [u8; NONCE_BYTES] = rand::random();
        let associated = bound.associated();
        let payload = Payload { msg: text, aad: &associated };
        let ciphertext =
            cipher(key).encrypt(&XNonce::from(nonce), payload).map_err(|_unspecific| CannotSeal::Refused)?;
        Ok(Sealed { key: key.id(), nonce, ciphertext })
    }

    fn open_text(&self, bound: &Bound<'_>, sealed: &Sealed) -> Result<Zeroizing<Vec<u8>>, CannotOpen> {
        let key = self.keys().find(|key| key.id() == sealed.key).ok_or_else(|| self.unknown(sealed.key))?;
        let associated = bound.associated();
        let payload = Payload { msg: &sealed.ciphertext, aad: &associated };
        cipher(key)
            .decrypt(&XNonce::from(sealed.nonce), payload)
            .map(Zeroizing::new)
            .map_err(|_unspecific| CannotOpen::Tampered { key: sealed.key })
    }

    fn unknown(&self, key: KeyId) -> CannotOpen {
        let ids: Vec<String> = self.ids().map(|id| id.to_string()).collect();
        let known = if ids.is_empty() { "no key".to_owned() } else { format!("only {}", ids.join(", ")) };
        CannotOpen::UnknownKey { key, known }
    }
}

fn cipher(key: &Key) -> XChaCha20Poly1305 {
    XChaCha20Poly1305::new(key.bytes().into())
}

/// To what credentials are bound: they open for this connection only, and only while it sends them where it did when they
/// were sealed. Whoever can write the database, and not seal, cannot have them sent elsewhere.
#[derive(Clone, Copy, Debug)]
pub struct Bound<'a> {
    /// The connection.
    pub connection: ConnectionId,
    /// The upstream's address, of which scheme, host and port count.
    pub base_url: &'a str,
    /// The connection's settings, of which `auth` counts: how the credentials are sent.
    pub settings: &'a Value,
}

impl Bound<'_> {
    /// What the tag covers beside the text.
    fn associated(&self) -> Vec<u8> {
        let origin = match Url::parse(self.base_url) {
            Ok(url) => url.origin().ascii_serialization(),
            Err(_unusable) => self.base_url.to_owned(),
        };
        let auth = self.settings.get("auth").unwrap_or(&Value::Null).to_string();
        [PURPOSE, self.connection.0.as_bytes(), origin.as_bytes(), b"\0", auth.as_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(connection: ConnectionId) -> Bound<'static> {
        Bound { connection, base_url: "https://api.example.org/v1", settings: &Value::Null }
    }

    fn sealed_with(keyring: &Keyring, connection: ConnectionId) -> Sealed {
        keyring.seal(&at(connection), &json!({"api_key": "s3cret-value"})).unwrap().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_its_connection_only() {
        let (keyring, connection) = (Keyring::new(Some(Key::generate()), Vec::new()), ConnectionId::random());
        let sealed = sealed_with(&keyring, connection);
        assert_eq!(keyring.open(&at(connection), Some(&sealed)).unwrap(), json!({"api_key": "s3cret-value"}));
        assert!(!sealed.ciphertext.windows(6).any(|window| window == b"s3cret"));
        assert_ne!(sealed, sealed_with(&keyring, connection), "a nonce is never used twice");
        let elsewhere = keyring.open(&at(ConnectionId::random()), Some(&sealed));
        assert_eq!(elsewhere, Err(CannotOpen::Tampered { key: sealed.key }));
    }

    #[test]
    fn what_is_sealed_opens_only_while_it_is_sent_to_the_same_place_in_the_same_way() {
        let (keyring, connection) = (Keyring::new(Some(Key::generate()), Vec::new()), ConnectionId::random());
        let settings = json!({ "auth": { "header": "x-key" }, "page_size": 10 });
        let bound = Bound { connection, base_url: "https://api.example.org/v1", settings: &settings };
        let sealed = keyring.seal(&bound, &json!({"api_key": "s3cret-value"})).unwrap().unwrap();
        let elsewhere = json!({ "auth": { "header": "x-other" }, "page_size": 10 });
        let other_pages = json!({ "page_size": 50, "auth": { "header": "x-key" } });
        for same in [
            Bound { settings: &other_pages, ..bound },
            Bound { base_url: "https://api.example.org:443/v2", ..bound },
        ] {
            assert!(keyring.open(&same, Some(&sealed)).is_ok(), "{same:?}");
        }
        for other in [
            Bound { base_url: "http://api.example.org/v1", ..bound },
            Bound { base_url: "https://api.example.com/v1", ..bound },
            Bound { base_url: "https://api.example.org:8443/v1", ..bound },
            Bound { base_url: "", ..bound },
            Bound { settings: &elsewhere, ..bound },
            Bound { settings: &Value::Null, ..bound },
        ] {
            let opened = keyring.open(&other, Some(&sealed));
            assert_eq!(opened, Err(CannotOpen::Tampered { key: sealed.key }), "{other:?}");
        }
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let (keyring, connection) = (Keyring::new(Some(Key::generate()), Vec::new()), ConnectionId::random());
        let sealed = sealed_with(&keyring, connection);
        for byte in 0..sealed.ciphertext.len() {
            let mut changed = sealed.clone();
            changed.ciphertext[byte] ^= 1;
            assert!(keyring.open(&at(connection), Some(&changed)).is_err(), "byte {byte}");
        }
        let cut = Sealed { ciphertext: sealed.ciphertext[..7].to_vec(), ..sealed.clone() };
        assert!(keyring.open(&at(connection), Some(&cut)).is_err());
        let nonce = Sealed { nonce: [0; NONCE_BYTES], ..sealed };
        assert!(keyring.open(&at(connection), Some(&nonce)).is_err());
    }

    #[test]
    fn no_credentials_need_no_key_and_others_do() {
        let (none, connection) = (Keyring::default(), ConnectionId::random());
        assert!(none.seal(&at(connection), &json!({})).unwrap().is_none());
        assert_eq!(none.open(&at(connection), None).unwrap(), json!({}));
        let refused = none.seal(&at(connection), &json!({"api_key": "s3cret"})).unwrap_err().to_string();
        assert!(refused.contains("generate-key") && !refused.contains("s3cret"), "{refused}");
    }

    #[test]
    fn an_old_key_opens_and_the_current_one_seals() {
        let (old, new, connection) = (Key::generate(), Key::generate(), ConnectionId::random());
        let before = sealed_with(&Keyring::new(Some(old.clone()), Vec::new()), connection);
        let rotating = Keyring::new(Some(new.clone()), vec![old.clone()]);
        let after = rotating.reseal(&at(connection), &before).unwrap();
        assert_eq!((before.key, after.key), (old.id(), new.id()));
        assert!(rotating.open(&at(connection), Some(&before)).is_ok());
        let rotated = Keyring::new(Some(new.clone()), Vec::new());
        assert!(rotated.open(&at(connection), Some(&after)).is_ok());
        let said = rotated.open(&at(connection), Some(&before)).unwrap_err().to_string();
        assert!(said.contains(&old.id().to_string()) && said.contains(&new.id().to_string()), "{said}");
    }
}
