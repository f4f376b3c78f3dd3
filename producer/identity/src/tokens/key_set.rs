//! The issuer's keys as its JSON Web Key Set has them (RFC 7517). Pure: bytes in, keys out.

use jsonwebtoken::jwk::{AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, KeyOperations, PublicKeyUse};
use jsonwebtoken::{Algorithm, DecodingKey};
use protocol::short::short;
use serde::Deserialize;
use serde_json::Value;

/// What keys of a set may be used with. Never HS256: a set is public.
pub(super) const ACCEPTED: [Algorithm; 2] = [Algorithm::RS256, Algorithm::ES256];

/// More keys than any issuer has at a time.
const MOST_KEYS: usize = 100;

/// A key, and the one algorithm that it may be used with.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) id: Option<String>,
    pub(super) algorithm: Algorithm,
    pub(super) key: DecodingKey,
}

/// The usable keys of an issuer.
#[derive(Debug)]
pub(super) struct KeySet(Vec<Key>);

#[derive(Deserialize)]
struct Document {
    keys: Vec<Value>,
}

impl KeySet {
    /// Reads a set. Keys of other kinds and for other purposes are left out.
    pub(super) fn read(bytes: &[u8]) -> Result<Self, String> {
        let document: Document = serde_json::from_slice(bytes)
            .map_err(|error| short(format_args!("it is no JSON Web Key Set: {error}")))?;
        Ok(Self(document.keys.into_iter().take(MOST_KEYS).filter_map(usable).collect()))
    }

    /// The key that a token's header means. A token without a key's name means the only key of its algorithm.
    pub(super) fn find(&self, id: Option<&str>, algorithm: Algorithm) -> Option<&Key> {
        let mut fitting = self
            .0
            .iter()
            .filter(|key| key.algorithm == algorithm && (id.is_none() || key.id.as_deref() == id));
        let first = fitting.next()?;
        (id.is_some() || fitting.next().is_none()).then_some(first)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }
}

fn usable(value: Value) -> Option<Key> {
    let jwk: Jwk = serde_json::from_value(value).ok()?;
    let (algorithm, named) = if let AlgorithmParameters::RSA(_) = jwk.algorithm {
        (Algorithm::RS256, KeyAlgorithm::RS256)
    } else if let AlgorithmParameters::EllipticCurve(ec) = &jwk.algorithm
        && ec.curve == EllipticCurve::P256
    {
        (Algorithm::ES256, KeyAlgorithm::ES256)
    } else {
        return None;
    };
    let common = &jwk.common;
    let for_this = common.key_algorithm.is_none_or(|given| given == named)
        && common.public_key_use.as_ref().is_none_or(|given| *given == PublicKeyUse::Signature)
        && common.key_operations.as_ref().is_none_or(|given| given.contains(&KeyOperations::Verify));
    if !for_this {
        return None;
    }
    let key = DecodingKey::from_jwk(&jwk).ok()?;
    Some(Key { id: jwk.common.key_id, algorithm, key })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn read(keys: &Value) -> KeySet {
        KeySet::read(json!({ "keys": keys }).to_string().as_bytes()).unwrap()
    }

    #[test]
    fn only_keys_that_check_signatures_are_taken() {
        let rsa = json!({ "kty": "RSA", "kid": "r", "n": "AQAB", "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "e", "x": "AA", "y": "AA" });
        assert_eq!(read(&json!([rsa, ec])).len(), 2);
        let with = |key: &Value, field: &str, value: Value| {
            let mut key = key.clone();
            key[field] = value;
            key
        };
        for left_out in [
            with(&rsa, "use", json!("enc")),
            with(&rsa, "alg", json!("RS512")),
            with(&rsa, "alg", json!("HS256")),
            with(&rsa, "key_ops", json!(["encrypt"])),
            with(&ec, "crv", json!("P-384")),
            with(&ec, "alg", json!("RS256")),
            json!({ "kty": "oct", "kid": "o", "k": "c2VjcmV0", "alg": "HS256" }),
            json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }),
            json!({ "kty": "new", "kid": "n" }),
            json!("key"),
        ] {
            assert_eq!(read(&json!([left_out])).len(), 0, "{left_out}");
        }
        for kept in [with(&rsa, "use", json!("sig")), with(&rsa, "alg", json!("RS256")), rsa] {
            assert_eq!(read(&json!([kept, "and what is no key"])).len(), 1, "{kept}");
        }
    }

    #[test]
    fn a_set_has_no_more_keys_than_its_limit() {
        let keys = |count: usize| {
            let key = |id: usize| json!({ "kty": "RSA", "kid": id.to_string(), "n": "AQAB", "e": "AQAB" });
            read(&(0..count).map(key).collect())
        };
        assert_eq!(keys(MOST_KEYS).len(), MOST_KEYS);
        assert_eq!(keys(MOST_KEYS + 1).len(), MOST_KEYS);
    }

    #[test]
    fn a_token_means_one_key_or_none() {
        let rsa = |id: &str| json!({ "kty": "RSA", "kid": id, "n": "AQAB", "e": "AQAB" });
        let ec = json!({ "kty": "EC", "crv": "P-256", "kid": "a", "x": "AA", "y": "AA" });
        let set = read(&json!([rsa("a"), rsa("b"), ec]));
        let found = |id, algorithm| set.find(id, algorithm).and_then(|key| key.id.as_deref());
        assert_eq!(found(Some("b"), Algorithm::RS256), Some("b"));
        assert_eq!(found(None, Algorithm::ES256), Some("a"), "the only one of its kind");
        assert_eq!(found(None, Algorithm::RS256), None, "one of two");
        assert_eq!(found(Some("b"), Algorithm::ES256), None, "of another kind");
        assert_eq!(found(Some("c"), Algorithm::RS256), None);
    }

    #[test]
    fn what_is_no_set_is_an_error() {
        for wrong in ["", "[]", "{}", "{\"keys\": {}}", "<html>"] {
            assert!(KeySet::read(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
