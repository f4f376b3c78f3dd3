//! Makes tokens, as an issuer does, and as somebody does who would like to be one.

use anyhow::{Context, Result};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD as BASE64};
use ring::rand::SystemRandom;
use ring::rsa::PublicKeyComponents;
use ring::signature::{
    ECDSA_P256_SHA256_FIXED_SIGNING as P256, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair,
};
use ring::{hmac, signature};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};

/// What tokens are made for, unless a test says otherwise.
pub(crate) const ISSUER: &str = "https://issuer.example";
pub(crate) const AUDIENCE: &str = "backhaul";
pub(crate) const SECRET: &str = "a secret that only the issuer and the API know";

/// Two RSA keys that are good for nothing else: making one takes too long for a test, and ring does not make any.
const RSA: [&[u8]; 2] = [include_bytes!("keys/rsa-one.pk8.der"), include_bytes!("keys/rsa-other.pk8.der")];

/// A key that signs.
pub(crate) enum Signer {
    Hs256(Vec<u8>),
    Rs256(Box<RsaKeyPair>),
    Es256(Box<EcdsaKeyPair>),
}

impl Signer {
    /// The shared secret.
    pub(crate) fn secret() -> Self {
        Self::Hs256(SECRET.as_bytes().to_vec())
    }

    /// One of two RSA keys.
    pub(crate) fn rsa(which: usize) -> Result<Self> {
        let key = RsaKeyPair::from_pkcs8(RSA[which]).ok().context("the RSA key cannot be read")?;
        Ok(Self::Rs256(Box::new(key)))
    }

    /// A fresh key on P-256.
    pub(crate) fn ec() -> Result<Self> {
        let random = SystemRandom::new();
        let key = EcdsaKeyPair::generate_pkcs8(&P256, &random).ok().context("no key was made")?;
        let key =
            EcdsaKeyPair::from_pkcs8(&P256, key.as_ref(), &random).ok().context("the key cannot be read")?;
        Ok(Self::Es256(Box::new(key)))
    }

    /// The algorithm that a token's header should name.
    pub(crate) const fn algorithm(&self) -> &'static str {
        match self {
            Self::Hs256(_) => "HS256",
            Self::Rs256(_) => "RS256",
            Self::Es256(_) => "ES256",
        }
    }

    /// The public key as a key set has it.
    pub(crate) fn jwk(&self, kid: &str) -> Value {
        match self {
            Self::Hs256(secret) => json!({ "kty": "oct", "kid": kid, "k": BASE64.encode(secret) }),
            Self::Rs256(key) => {
                let PublicKeyComponents::<Vec<u8>> { n, e } = key.public().into();
                json!({ "kty": "RSA", "use": "sig", "kid": kid, "n": BASE64.encode(n), "e": BASE64.encode(e) })
            }
            Self::Es256(key) => {
                let (x, y) = key.public_key().as_ref()[1..].split_at(32);
                json!({ "kty": "EC", "crv": "P-256", "kid": kid, "x": BASE64.encode(x), "y": BASE64.encode(y) })
            }
        }
    }

    /// The public key as everybody may have it: in PEM, and its bytes.
    pub(crate) fn public(&self) -> [Vec<u8>; 2] {
        let der = match self {
            Self::Hs256(secret) => secret.clone(),
            Self::Rs256(key) => key.public_key().as_ref().to_vec(),
            Self::Es256(key) => key.public_key().as_ref().to_vec(),
        };
        let pem = format!(
            "-----BEGIN RSA PUBLIC KEY-----\n{}\n-----END RSA PUBLIC KEY-----\n",
            BASE64_STANDARD.encode(&der)
        );
        [pem.into_bytes(), der]
    }

    /// A token with this header and these claims, whatever they say.
    pub(crate) fn sign(&self, header: &Value, claims: &Value) -> Result<String> {
        let message = unsigned(header, claims);
        let signature = match self {
            Self::Hs256(secret) => {
                hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes()).as_ref().to_vec()
            }
            Self::Rs256(key) => {
                let mut signature = vec![0; key.public().modulus_len()];
                let padding: &dyn signature::RsaEncoding = &RSA_PKCS1_SHA256;
                key.sign(padding, &SystemRandom::new(), message.as_bytes(), &mut signature)
                    .ok()
                    .context("the token is not signed")?;
                signature
            }
            Self::Es256(key) => {
                let signature = key.sign(&SystemRandom::new(), message.as_bytes()).ok();
                signature.context("the token is not signed")?.as_ref().to_vec()
            }
        };
        Ok(format!("{message}.{}", BASE64.encode(signature)))
    }

    /// A right token of this user, naming this key.
    pub(crate) fn token(&self, subject: &str, kid: Option<&str>) -> Result<String> {
        self.sign(&header(self.algorithm(), kid), &claims(subject)?)
    }
}

/// A token without its signature.
pub(crate) fn unsigned(header: &Value, claims: &Value) -> String {
    format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()))
}

pub(crate) fn header(algorithm: &str, kid: Option<&str>) -> Value {
    match kid {
        Some(kid) => json!({ "alg": algorithm, "typ": "JWT", "kid": kid }),
        None => json!({ "alg": algorithm, "typ": "JWT" }),
    }
}

/// Right claims.
pub(crate) fn claims(subject: &str) -> Result<Value> {
    Ok(json!({ "sub": subject, "iss": ISSUER, "aud": AUDIENCE, "exp": now()? + 600 }))
}

/// Seconds since 1970.
pub(crate) fn now() -> Result<i64> {
    Ok(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs())?)
}
