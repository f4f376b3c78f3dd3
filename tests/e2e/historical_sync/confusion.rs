//! Tokens that try to choose how they are checked.

use super::agency::{Agency, STATUS, shared_secret};
use super::issuer::Issuer;
use super::signer::{Signer, claims, header, unsigned};
use anyhow::Result;
use configuration::AuthConfig;
use serde_json::json;

#[tokio::test]
async fn a_token_never_chooses_how_it_is_checked() -> Result<()> {
    let (rsa, ec) = (Signer::rsa(0)?, Signer::ec()?);
    // Both are in the set under one name, and so is a secret, which has no business there.
    let planted = Signer::Hs256(b"a secret in a public key set, of 40 bytes".to_vec());
    let issuer = Issuer::of([rsa.jwk("k"), ec.jwk("k"), planted.jwk("k")]).await?;
    let only_keys = issuer.believed();
    let both = AuthConfig { jwks_url: only_keys.jwks_url.clone(), ..shared_secret() };

    let (thief, thief_ec) = (Signer::rsa(1)?, Signer::ec()?);
    let right = claims("ann")?;
    let named = |algorithm| header(algorithm, Some("k"));
    let mut tokens = vec![
        ("none", format!("{}.", unsigned(&named("none"), &right))),
        ("None", format!("{}.", unsigned(&named("None"), &right))),
        ("no signature", format!("{}.", unsigned(&named("RS256"), &right))),
        ("the secret in the set", planted.sign(&named("HS256"), &right)?),
        ("RS256 of another key", thief.sign(&named("RS256"), &right)?),
        ("ES256 of another key", thief_ec.sign(&named("ES256"), &right)?),
        ("the RSA key as ES256", rsa.sign(&named("ES256"), &right)?),
        ("the elliptic key as RS256", ec.sign(&named("RS256"), &right)?),
        ("RS384", rsa.sign(&named("RS384"), &right)?),
        ("PS256", rsa.sign(&named("PS256"), &right)?),
        ("ES384", ec.sign(&named("ES384"), &right)?),
        ("HS512", Signer::secret().sign(&named("HS512"), &right)?),
        ("the shared secret as RS256", Signer::secret().sign(&named("RS256"), &right)?),
    ];
    for public in rsa.public().into_iter().chain(ec.public()) {
        tokens.push(("the public key as a secret", Signer::Hs256(public).sign(&named("HS256"), &right)?));
    }
    // A key that the token brings along, or says where to find.
    let mut brings = named("RS256");
    brings["jwk"] = thief.jwk("k");
    tokens.push(("its own key", thief.sign(&brings, &right)?));
    let mine = Issuer::of([thief.jwk("k")]).await?;
    let mut points = named("RS256");
    points["jku"] = json!(mine.url());
    points["x5u"] = json!(mine.url());
    tokens.push(("its own key set", thief.sign(&points, &right)?));

    for config in [only_keys, both] {
        let agency = Agency::believing(0, &config).await?;
        for (what, token) in &tokens {
            let answer = agency.api.call(STATUS, Some(token), "").await?;
            assert_eq!(answer.status, 401, "{what}: {answer:?}");
        }
        for good in [rsa.token("ann", Some("k"))?, ec.token("ann", Some("k"))?] {
            assert_eq!(agency.api.call(STATUS, Some(&good), "").await?.status, 200);
        }
        agency.fixture.finish([]).await?;
    }
    assert_eq!(mine.asked(), 0, "no address in a token is asked");
    Ok(())
}
