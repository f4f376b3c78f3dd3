//! 401 and 403: who may call at all.

use super::agency::{Agency, Api, CANCEL, START, STATUS, shared_secret};
use super::signer::{Signer, claims, header, now};
use anyhow::Result;
use common::config::AuthConfig;
use common::store::users::Role;
use producer::config::ApiConfig;
use producer::engine::{Engine, Rate};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_token_that_is_not_right_is_refused_everywhere() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let with = |name: &str, value: Value| {
        let mut claims = claims("ann")?;
        claims[name] = value;
        Signer::secret().sign(&header("HS256", None), &claims)
    };
    let key = producer::api_key::ApiKey::generate();
    agency.fixture.store.create_api_key(agency.account.tenant, "ci", &key.hash(), key.prefix()).await?;
    let cases = [
        (None, "needs the header"),
        (Some(key.expose().to_owned()), "no signed JSON Web Token"),
        (Some("a.b.c".to_owned()), "no signed JSON Web Token"),
        (Some(Signer::Hs256(vec![b'x'; 32]).token("ann", None)?), "signature is wrong"),
        (Some(with("exp", json!(now()? - 3600))?), "has expired"),
        (Some(with("exp", Value::Null)?), "`exp`"),
        (Some(with("nbf", json!(now()? + 3600))?), "not valid yet"),
        (Some(with("iss", json!("https://other.example"))?), "another issuer"),
        (Some(with("aud", json!("other"))?), "another audience"),
        (Some(with("aud", Value::Null)?), "`aud`"),
        (Some(with("sub", Value::Null)?), "`sub`"),
        (Some(with("sub", json!("nobody"))?), "unknown here"),
    ];
    for function in [START, CANCEL, STATUS] {
        for (token, words) in &cases {
            let answer = agency.api.call(function.clone(), token.as_deref(), "{").await?;
            assert_eq!(answer.status, 401, "{function:?} {words}: {answer:?}");
            assert!(answer.error().contains(words), "{words}: {answer:?}");
            assert_eq!(answer.headers["www-authenticate"], "Bearer realm=\"backhaul\"");
        }
    }
    assert_eq!(agency.status().await?["recent_job"], Value::Null, "nothing was started");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let slow = Rate { per_second: 1, burst: 2 };
    let (store, publisher) = (agency.fixture.store.clone(), agency.fixture.publisher.clone());
    let engine = Engine::new(store, publisher).with_limits(slow, slow);
    let api = Api::serving(engine, &shared_secret(), &ApiConfig::default()).await?;
    let refused = loop {
        let answer = api.call(STATUS, Some(&agency.ann), "").await?;
        if answer.status != 200 {
            break answer;
        }
    };
    assert_eq!(refused.status, 429, "{refused:?}");
    for name in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
        assert!(refused.headers.contains_key(name), "{name}: {refused:?}");
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_disabled_user_is_nobody_until_enabled_again() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    assert!(agency.fixture.store.disable_user("ann").await?);
    assert!(!agency.fixture.store.disable_user("nobody").await?);
    for function in [START, CANCEL, STATUS] {
        let answer = agency.call(function, &json!({})).await?;
        assert_eq!((answer.status, answer.error().contains("disabled")), (401, true), "{answer:?}");
    }
    agency.fixture.store.put_user("ann", Some(agency.account.tenant), None).await?;
    assert_eq!(agency.status().await?["active"], false);
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_user_without_an_agency_is_refused_before_its_body_is_read() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let stray = agency.user("stray", None, Role::Admin).await?;
    for function in [START, CANCEL, STATUS] {
        let answer = agency.api.call(function, Some(&stray), "{").await?;
        assert_eq!((answer.status, answer.error().contains("no agency")), (403, true), "{answer:?}");
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_viewer_reads_and_changes_nothing() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    let viewer = agency.user("vera", Some(agency.account.tenant), Role::Viewer).await?;
    for function in [START, CANCEL] {
        for body in [json!({ "job_id": job }).to_string(), "{".to_owned()] {
            let answer = agency.api.call(function.clone(), Some(&viewer), &body).await?;
            assert_eq!((answer.status, answer.error().contains("viewer")), (403, true), "{answer:?}");
        }
    }
    let seen = agency.api.call(STATUS, Some(&viewer), "").await?;
    assert_eq!((seen.status, &seen.body["job"]["status"]), (200, &json!("pending")), "{seen:?}");
    agency.call(CANCEL, &json!({ "job_id": job })).await?;
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn the_method_comes_first() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (method, (_, name), allowed) in [
        (Method::GET, START, "POST"),
        (Method::PUT, START, "POST"),
        (Method::GET, CANCEL, "POST"),
        (Method::DELETE, CANCEL, "POST"),
        (Method::POST, STATUS, "GET"),
    ] {
        let answer = agency.api.call((method, name), None, "{").await?;
        assert_eq!(answer.status, 405, "{answer:?}");
        let allow = answer.headers["allow"].to_str()?;
        assert!(allow.contains(allowed) && allow.contains("OPTIONS"), "{allow}");
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn with_nothing_configured_the_contract_is_closed() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let (store, publisher) = (agency.fixture.store.clone(), agency.fixture.publisher.clone());
    let closed = Api::start(store, publisher, &AuthConfig::default(), &ApiConfig::default()).await?;
    for function in [START, CANCEL, STATUS] {
        let answer = closed.call(function, Some(&agency.ann), "{}").await?;
        assert_eq!((answer.status, answer.error().contains("no JSON Web Token is accepted")), (401, true));
    }
    assert!(producer::auth::Tokens::start(&AuthConfig { issuer: String::new(), ..shared_secret() }).is_err());
    agency.fixture.finish([]).await
}
