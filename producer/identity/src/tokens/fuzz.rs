//! Fuzz tests of tokens and key sets. See the crate `fuzz`.

use super::*;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run, text};
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use configuration::SecretText;
use futures::FutureExt;
use key_set::KeySet;
use ring::hmac;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";
const ISSUER: &str = "https://issuer.example";
const HEADERS: &[&str] = &[r#"{"alg":"HS256","typ":"JWT"}"#, r#"{"alg":"ES256","kid":"one","crit":null}"#];
const CLAIMS: &[&str] = &[
    r#"{"sub":"ann","iss":"https://issuer.example","aud":"backhaul","exp":4102444800}"#,
    r#"{"sub":"bob","iss":"https://issuer.example","aud":["other","backhaul"],"exp":4102444800,"nbf":1,"role":"admin"}"#,
];

/// The claims that decide.
#[derive(Deserialize)]
struct Claims {
    sub: Value,
    iss: Value,
    aud: Value,
    exp: Value,
}

fn tokens() -> Tokens {
    Tokens::start(&AuthConfig {
        hs256_secret: SecretText::from(SECRET.to_owned()),
        issuer: ISSUER.to_owned(),
        audience: "backhaul".to_owned(),
        ..AuthConfig::default()
    })
    .unwrap()
}

fn message(header: &[u8], claims: &[u8]) -> String {
    format!("{}.{}", BASE64.encode(header), BASE64.encode(claims))
}

fn signed(message: &str, secret: &[u8]) -> String {
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret), message.as_bytes());
    format!("{message}.{}", BASE64.encode(signature))
}

fn subject(tokens: &Tokens, token: &str) -> Result<String, TokenError> {
    // Against a shared secret there is nothing to wait for.
    tokens.read(token).now_or_never().expect("it waits").map(|token| token.subject)
}

/// What every refusal is: short, and without what the token or the secret says.
fn refused(error: &TokenError) -> Result<(), TestCaseError> {
    let said = error.to_string();
    prop_assert!(said.len() < 200 && !said.contains(SECRET), "{}", said);
    Ok(())
}

/// No token is believed but the ones that were signed: the parts that a signature covers are the same to the letter.
fn only(signed: &[String], token: &str, judged: Result<String, TokenError>) -> Result<(), TestCaseError> {
    match judged {
        Ok(subject) => {
            let covered = |token: &str| token.rsplit_once('.').map(|(message, _)| message.to_owned());
            prop_assert!(
                signed.iter().any(|signed| covered(signed) == covered(token)),
                "{} {}",
                subject,
                token
            );
            prop_assert!(["ann", "bob"].contains(&subject.as_str()), "{}", subject);
            Ok(())
        }
        Err(error) => refused(&error),
    }
}

#[test]
fn forged_tokens() {
    let tokens = tokens();
    let right: Vec<String> = CLAIMS
        .iter()
        .map(|claims| signed(&message(HEADERS[0].as_bytes(), claims.as_bytes()), SECRET.as_bytes()))
        .collect();
    for token in &right {
        assert!(subject(&tokens, token).is_ok(), "{token}");
    }
    let whole: Vec<&str> = right.iter().map(String::as_str).collect();
    let inputs = (0..5_u8, text(&whole), document(HEADERS), document(CLAIMS));
    run("forged tokens", inputs, |(kind, whole, header, claims)| {
        let (_, signature) = right[0].rsplit_once('.').unwrap();
        let token = match kind {
            // Its text; its claims, or all of it, under the signature of another; another secret, and none.
            0 => String::from_utf8_lossy(&whole).into_owned(),
            1 => format!("{}.{signature}", message(HEADERS[0].as_bytes(), &claims)),
            2 => format!("{}.{signature}", message(&header, &claims)),
            3 => signed(&message(HEADERS[0].as_bytes(), &claims), b"another secret, which is not ours"),
            _ => signed(&message(&header, &claims), b""),
        };
        only(&right, &token, subject(&tokens, &token))
    });
}

#[test]
fn signed_claims() {
    let tokens = tokens();
    run("signed claims", document(CLAIMS), |claims| {
        let token = signed(&message(HEADERS[0].as_bytes(), &claims), SECRET.as_bytes());
        let subject = match subject(&tokens, &token) {
            Ok(subject) => subject,
            Err(error) => return refused(&error),
        };
        // Read by another reader, they say the same. Claims that nobody asks for need not be readable.
        let claims: Claims =
            serde_json::from_slice(&claims).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(claims.sub.as_str(), Some(subject.as_str()));
        prop_assert!((1..=MAX_SUBJECT_CHARS).contains(&subject.chars().count()), "{}", subject);
        prop_assert!(!subject.contains(protocol::plain::controls_display), "{:?}", subject);
        prop_assert_eq!(claims.iss.as_str(), Some(ISSUER));
        let aud = &claims.aud;
        let ours =
            aud == "backhaul" || aud.as_array().is_some_and(|all| all.iter().any(|one| one == "backhaul"));
        prop_assert!(ours, "{}", aud);
        prop_assert!(claims.exp.as_f64().is_some_and(|exp| exp > 1_700_000_000.0), "{}", claims.exp);
        Ok(())
    });
}

#[test]
fn tokens_of_an_issuer() {
    let tokens = tokens();
    let random = SystemRandom::new();
    let pkcs8 = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &random).unwrap();
    let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, pkcs8.as_ref(), &random).unwrap();
    let point = pair.public_key().as_ref();
    let set = json!({"keys": [{"kty": "EC", "crv": "P-256", "kid": "one",
        "x": BASE64.encode(&point[1..33]), "y": BASE64.encode(&point[33..])}]});
    let set = KeySet::read(set.to_string().as_bytes()).unwrap();
    let key = set.find(Some("one"), Algorithm::ES256).unwrap();
    let covered = message(HEADERS[1].as_bytes(), CLAIMS[0].as_bytes());
    let signature = BASE64.encode(pair.sign(&random, covered.as_bytes()).unwrap());
    let right = [format!("{covered}.{signature}")];
    assert_eq!(tokens.check(&right[0], key).map(|token| token.subject).as_deref(), Ok("ann"));
    let inputs = (0..4_u8, text(&[&right[0]]), document(HEADERS), document(CLAIMS), text(&[&signature]));
    run("forged tokens of an issuer", inputs, |(kind, whole, header, claims, signature)| {
        let token = match kind {
            0 => String::from_utf8_lossy(&whole).into_owned(),
            1 => format!("{covered}.{}", String::from_utf8_lossy(&signature)),
            2 => format!("{}.{}", message(&header, &claims), right[0].rsplit_once('.').unwrap().1),
            // Its public key as a shared secret.
            _ => signed(&message(&header, &claims), point),
        };
        only(&right, &token, tokens.check(&token, key).map(|token| token.subject))
    });
}

#[test]
fn key_sets() {
    let valid = [
        r#"{"keys":[{"kty":"EC","crv":"P-256","kid":"e","x":"AA","y":"AA","use":"sig"},
            {"kty":"RSA","kid":"r","n":"AQAB","e":"AQAB","alg":"RS256","key_ops":["verify"]}]}"#,
        r#"{"keys":[{"kty":"oct","k":"c2VjcmV0","alg":"HS256"},{"kty":"OKP","crv":"Ed25519","x":"AA"}]}"#,
    ];
    run("key sets", document(&valid), |set| {
        match KeySet::read(&set) {
            // A set is public, so nothing in it may check a shared secret.
            Ok(set) => prop_assert!(set.find(None, Algorithm::HS256).is_none() && set.len() <= 100),
            Err(error) => prop_assert!(!error.is_empty() && error.chars().count() < 1000, "{}", error.len()),
        }
        Ok(())
    });
}
