//! Tokens of the shared secret. Those of an issuer's keys are tested with an issuer, end to end.

use super::*;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use configuration::SecretText;
use ring::hmac;
use serde_json::{Value, json};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

fn tokens() -> Tokens {
    Tokens::start(&AuthConfig {
        hs256_secret: SecretText::from(SECRET.to_owned()),
        issuer: "https://issuer.example".to_owned(),
        audience: "backhaul".to_owned(),
        ..AuthConfig::default()
    })
    .unwrap()
}

fn signed(header: &Value, claims: &Value, secret: &str) -> String {
    let message = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes());
    format!("{message}.{}", BASE64.encode(hmac::sign(&key, message.as_bytes())))
}

fn header() -> Value {
    json!({ "alg": "HS256", "typ": "JWT" })
}

/// Claims that are right, but for one.
fn claims(name: &str, value: Value) -> Value {
    let now = chrono::Utc::now().timestamp();
    let mut claims =
        json!({ "sub": "ann", "iss": "https://issuer.example", "aud": "backhaul", "exp": now + 600 });
    claims[name] = value;
    claims
}

async fn subject(token: &str) -> Result<String, TokenError> {
    tokens().read(token).await.map(|token| token.subject)
}

async fn refusal(token: &str) -> String {
    tokens().read(token).await.unwrap_err().to_string()
}

#[tokio::test]
async fn a_right_token_tells_whose_it_is() {
    let now = chrono::Utc::now().timestamp();
    for right in [
        claims("nbf", json!(now - 5)),
        claims("nbf", json!(now + 5)),
        claims("exp", json!(now - 5)),
        claims("aud", json!(["other", "backhaul"])),
        claims("role", json!("admin")),
    ] {
        let token = signed(&header(), &right, SECRET);
        assert_eq!(subject(&token).await.as_deref(), Ok("ann"), "{right}");
    }
}

#[tokio::test]
async fn every_claim_is_checked() {
    let now = chrono::Utc::now().timestamp();
    let cases = [
        (claims("exp", json!(now - 60)), "has expired"),
        (claims("exp", Value::Null), "no usable `exp`"),
        (claims("exp", json!("soon")), "no usable `exp`"),
        (claims("nbf", json!(now + 60)), "not valid yet"),
        (claims("nbf", json!("soon")), "no usable `nbf`"),
        (claims("iss", json!("https://other.example")), "another issuer"),
        (claims("iss", json!(["https://issuer.example"])), "cannot be read"),
        (claims("iss", Value::Null), "no usable `iss`"),
        (claims("aud", json!("other")), "another audience"),
        (claims("aud", json!([])), "another audience"),
        (claims("aud", Value::Null), "no usable `aud`"),
        (claims("sub", Value::Null), "no usable `sub`"),
        (claims("sub", json!(7)), "cannot be read"),
        (claims("sub", json!("")), "cannot be a user"),
        (claims("sub", json!("a\u{0}b")), "cannot be a user"),
        (claims("sub", json!("x".repeat(201))), "cannot be a user"),
        (json!([]), "cannot be read"),
    ];
    for (claims, words) in cases {
        let said = refusal(&signed(&header(), &claims, SECRET)).await;
        assert!(said.contains(words), "{claims}: {said}");
    }
}

#[tokio::test]
async fn only_the_configured_algorithm_counts() {
    let right = claims("x", json!(1));
    let cases = [
        (json!({ "alg": "none" }), "no signed JSON Web Token"),
        (json!({ "alg": "hs256" }), "no signed JSON Web Token"),
        (json!({ "typ": "JWT" }), "no signed JSON Web Token"),
        (json!({ "alg": "HS384" }), "HS384 are not accepted"),
        (json!({ "alg": "RS256" }), "RS256 are not accepted"),
        (json!({ "alg": "HS256", "crit": ["b64"], "b64": false }), "extension"),
    ];
    for (header, words) in cases {
        let said = refusal(&signed(&header, &right, SECRET)).await;
        assert!(said.contains(words), "{header}: {said}");
    }
    let unsigned = format!(
        "{}.{}.",
        BASE64.encode(json!({ "alg": "none" }).to_string()),
        BASE64.encode(right.to_string())
    );
    assert!(refusal(&unsigned).await.contains("no signed"));
}

#[tokio::test]
async fn a_wrong_or_cut_signature_is_refused() {
    let right = signed(&header(), &claims("x", json!(1)), SECRET);
    assert!(
        refusal(&signed(&header(), &claims("x", json!(1)), &SECRET.replace('0', "1")))
            .await
            .contains("signature")
    );
    let (message, signature) = right.rsplit_once('.').unwrap();
    // 40 digits are 30 whole bytes.
    for cut in ["", "AA", &signature[..40]] {
        assert!(refusal(&format!("{message}.{cut}")).await.contains("signature"), "{cut}");
    }
    for garbage in ["", ".", "..", "a.b.c", "bh_0123", &right[1..], &format!("{right}.x")] {
        assert!(tokens().read(garbage).await.is_err(), "{garbage}");
    }
    assert!(refusal(&"x".repeat(LONGEST_TOKEN + 1)).await.contains("longer than"));
}

#[tokio::test]
async fn a_token_and_its_subject_may_be_as_long_as_their_limit() {
    let longest = "é".repeat(MAX_SUBJECT_CHARS);
    let token = signed(&header(), &claims("sub", json!(longest)), SECRET);
    assert_eq!(subject(&token).await, Ok(longest));
    // Base64 has no text of every length, so the header is padded too.
    let token = (0..4)
        .flat_map(|pad| (5_900..6_100).map(move |more| (pad, more)))
        .map(|(pad, more)| {
            let header = json!({ "alg": "HS256", "kid": "k".repeat(pad) });
            signed(&header, &claims("x", json!("x".repeat(more))), SECRET)
        })
        .find(|token| token.len() == LONGEST_TOKEN)
        .expect("some padding fits");
    assert_eq!(subject(&token).await.as_deref(), Ok("ann"));
}

#[tokio::test]
async fn with_nothing_configured_every_token_is_refused() {
    let closed = Tokens::start(&AuthConfig::default()).unwrap();
    let token = signed(&header(), &claims("x", json!(1)), "");
    assert_eq!(closed.read(&token).await, Err(TokenError::Closed));
}
