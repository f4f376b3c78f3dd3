//! Tokens of an issuer's keys: the set is fetched, kept, and followed when it changes.

use super::agency::{Agency, Answer, STATUS};
use super::issuer::{Issuer, Serves};
use super::signer::Signer;
use anyhow::Result;
use axum::http::StatusCode;
use configuration::AuthConfig;
use std::time::{Duration, Instant};

async fn ask(agency: &Agency, token: &str) -> Result<Answer> {
    agency.api.call(STATUS, Some(token), "").await
}

#[tokio::test]
async fn rsa_and_elliptic_keys_are_believed() -> Result<()> {
    let (rsa, ec) = (Signer::rsa(0)?, Signer::ec()?);
    let mut padded = rsa.jwk("padded");
    padded["alg"] = "RS256".into();
    let issuer = Issuer::of([rsa.jwk("r"), padded, ec.jwk("e")]).await?;
    let agency = Agency::believing(0, &issuer.believed()).await?;
    for token in [
        rsa.token("ann", Some("r"))?,
        rsa.token("ann", Some("padded"))?,
        ec.token("ann", Some("e"))?,
        // The only one of its kind needs no name.
        ec.token("ann", None)?,
    ] {
        assert_eq!(ask(&agency, &token).await?.status, 200, "{token}");
    }
    // One of two does.
    assert_eq!(ask(&agency, &rsa.token("ann", None)?).await?.status, 401);
    // Neither is believed with the secret alone, nor the secret with these.
    assert_eq!(ask(&agency, &agency.ann).await?.status, 401);
    let with_secret = Agency::with_calls(0).await?;
    assert_eq!(ask(&with_secret, &rsa.token("ann", Some("r"))?).await?.status, 401);
    with_secret.fixture.finish([]).await?;
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn the_secret_and_the_keys_may_both_be_believed() -> Result<()> {
    let ec = Signer::ec()?;
    let issuer = Issuer::of([ec.jwk("e")]).await?;
    let both = AuthConfig { jwks_url: issuer.believed().jwks_url, ..super::agency::shared_secret() };
    let agency = Agency::believing(0, &both).await?;
    assert_eq!(ask(&agency, &agency.ann).await?.status, 200);
    assert_eq!(ask(&agency, &ec.token("ann", Some("e"))?).await?.status, 200);
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_rotation_is_followed_at_the_first_new_token() -> Result<()> {
    let (old, new) = (Signer::rsa(0)?, Signer::rsa(1)?);
    let issuer = Issuer::of([old.jwk("2025")]).await?;
    let agency = Agency::believing(0, &issuer.believed()).await?;
    let (of_old, of_new) = (old.token("ann", Some("2025"))?, new.token("ann", Some("2026"))?);
    assert_eq!(ask(&agency, &of_old).await?.status, 200);
    assert_eq!(ask(&agency, &of_new).await?.status, 401);

    issuer.serve_keys([old.jwk("2025"), new.jwk("2026")]);
    assert_eq!(ask(&agency, &of_new).await?.status, 200);
    assert_eq!(ask(&agency, &of_old).await?.status, 200, "both, while both are in the set");

    issuer.serve_keys([new.jwk("2026")]);
    assert_eq!(ask(&agency, &new.token("ann", Some("2027"))?).await?.status, 401, "brings the newest set");
    assert_eq!(ask(&agency, &of_old).await?.status, 401, "what was withdrawn is believed no more");
    assert_eq!(ask(&agency, &of_new).await?.status, 200);
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn unknown_keys_do_not_make_it_ask_at_will() -> Result<()> {
    let key = Signer::ec()?;
    let issuer = Issuer::of([key.jwk("e")]).await?;
    let seldom = AuthConfig { refresh_again: Duration::from_secs(600), ..issuer.believed() };
    let agency = Agency::believing(0, &seldom).await?;
    assert_eq!(ask(&agency, &key.token("ann", Some("e"))?).await?.status, 200);
    for number in 0..20 {
        let answer = ask(&agency, &key.token("ann", Some(&format!("guess-{number}")))?).await?;
        assert_eq!(
            (answer.status, answer.error().contains("no key of its issuer")),
            (401, true),
            "{answer:?}"
        );
    }
    assert_eq!(issuer.asked(), 1);
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_set_grows_old_and_is_fetched_again() -> Result<()> {
    let (old, new) = (Signer::ec()?, Signer::ec()?);
    let issuer = Issuer::of([old.jwk("old")]).await?;
    let often = AuthConfig {
        refresh_every: Duration::from_millis(20),
        refresh_again: Duration::from_secs(600),
        ..issuer.believed()
    };
    let agency = Agency::believing(0, &often).await?;
    issuer.until_asked(1).await?;
    issuer.serve_keys([new.jwk("new")]);
    // The first fetch that begins from now on may overlap with the change; the one after the next begins after its end.
    issuer.until_asked(issuer.asked() + 2).await?;
    assert_eq!(ask(&agency, &old.token("ann", Some("old"))?).await?.status, 401);
    assert_eq!(ask(&agency, &new.token("ann", Some("new"))?).await?.status, 200);
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_set_stays_while_the_issuer_is_away() -> Result<()> {
    let (known, other) = (Signer::ec()?, Signer::ec()?);
    let elsewhere = Issuer::of([other.jwk("other")]).await?;
    let issuer = Issuer::of([known.jwk("known")]).await?;
    let config = AuthConfig { fetch_timeout: Duration::from_millis(500), ..issuer.believed() };
    let agency = Agency::believing(0, &config).await?;
    let (good, strange) = (known.token("ann", Some("known"))?, other.token("ann", Some("other"))?);
    assert_eq!(ask(&agency, &good).await?.status, 200);
    for fault in [
        Serves::Status(StatusCode::INTERNAL_SERVER_ERROR),
        Serves::Status(StatusCode::NOT_FOUND),
        Serves::RedirectTo(elsewhere.url()),
        Serves::Bytes(10),
        Serves::Bytes(1024 * 1024),
        Serves::Silence,
    ] {
        issuer.serve(fault);
        let (asked, began) = (issuer.asked(), Instant::now());
        assert_eq!(ask(&agency, &strange).await?.status, 401);
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        assert_eq!(issuer.asked(), asked + 1);
        assert_eq!(ask(&agency, &good).await?.status, 200);
    }
    assert_eq!(elsewhere.asked(), 0, "no redirect is followed");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn before_the_first_set_it_is_our_fault() -> Result<()> {
    let key = Signer::ec()?;
    let issuer = Issuer::start(Serves::Status(StatusCode::SERVICE_UNAVAILABLE)).await?;
    let agency = Agency::believing(0, &issuer.believed()).await?;
    let token = key.token("ann", Some("e"))?;
    let answer = ask(&agency, &token).await?;
    assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (500, true), "{answer:?}");
    issuer.serve_keys([key.jwk("e")]);
    assert_eq!(ask(&agency, &token).await?.status, 200);
    agency.fixture.finish([]).await
}
