//! 401 and 403: who may call at all.

use super::agency::{Agency, Api, CANCEL, START, STATUS, shared_secret};
use super::signer::{Signer, claims, header, now};
use anyhow::{Context, Result};
use configuration::ApiConfig;
use configuration::AuthConfig;
use configuration::Rate;
use engine::Engine;
use protocol::role::Role;
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
    let key = identity::api_key::ApiKey::generate();
    agency
        .fixture
        .store
        .tenants()
        .create_api_key(agency.account.tenant, "ci", &key.hash(), key.prefix())
        .await?;
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

/// The token itself was accepted; it is its user who is not.
#[tokio::test]
async fn a_good_token_of_nobody_is_no_bad_token() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let token = Signer::secret().token("nobody", None)?;
    for function in [START, CANCEL, STATUS] {
        let answer = agency.api.call(function, Some(&token), "{").await?;
        assert_eq!((answer.status, answer.error().contains("unknown here")), (403, true), "{answer:?}");
        assert!(!answer.headers.contains_key("www-authenticate"), "{answer:?}");
    }
    let native = agency.api.native(Method::GET, "/jobs", &token).send().await?;
    assert_eq!(native.status(), 403);
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
        assert_eq!(refused.headers.get_all(name).iter().count(), 1, "{name}: {refused:?}");
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_disabled_user_is_nobody_until_enabled_again() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    assert!(agency.fixture.store.tenants().disable_user("ann").await?);
    assert!(!agency.fixture.store.tenants().disable_user("nobody").await?);
    for function in [START, CANCEL, STATUS] {
        let answer = agency.call(function, &json!({})).await?;
        assert_eq!((answer.status, answer.error().contains("disabled")), (403, true), "{answer:?}");
    }
    agency.fixture.store.tenants().put_user("ann", Some(agency.account.tenant), None).await?;
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

/// Every user of the agency may, that is what this contract says; the native one keeps a viewer from it.
#[tokio::test]
async fn a_viewer_starts_looks_and_cancels() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (role, subject) in [(Role::Viewer, "vera"), (Role::Member, "mel"), (Role::Admin, "ada")] {
        let token = agency.user(subject, Some(agency.account.tenant), role).await?;
        let started = agency.api.call(START, Some(&token), "").await?;
        assert_eq!(started.status, 200, "{role:?}: {started:?}");
        let job = started.job()?;
        let seen = agency.api.call(STATUS, Some(&token), "").await?;
        assert_eq!((seen.status, &seen.body["job"]["id"]), (200, &json!(job)), "{role:?}: {seen:?}");
        let body = json!({ "job_id": job }).to_string();
        let cancelled = agency.api.call(CANCEL, Some(&token), &body).await?;
        assert_eq!(
            (cancelled.status, &cancelled.body["status"]),
            (200, &json!("cancelled")),
            "{cancelled:?}"
        );
        let view = agency.fixture.store.jobs().get(job, None).await?.context("it is there")?;
        assert_eq!(view.cancel_requested_by.as_deref(), Some(subject));
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn the_method_comes_first() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (right, name) in [START, CANCEL, STATUS] {
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "BREW"] {
            let method = Method::from_bytes(method.as_bytes())?;
            if method == right {
                continue;
            }
            let answer = agency.api.call((method.clone(), name), None, "{").await?;
            assert_eq!(answer.status, 405, "{method} {name}: {answer:?}");
            let mut allow: Vec<_> = answer.headers["allow"].to_str()?.split(',').map(str::trim).collect();
            allow.sort_unstable();
            let mut expected = [right.as_str(), "OPTIONS"];
            expected.sort_unstable();
            assert_eq!(allow, expected, "{method} {name}");
        }
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
    assert!(
        identity::tokens::Tokens::start(&AuthConfig { issuer: String::new(), ..shared_secret() }).is_err()
    );
    agency.fixture.finish([]).await
}
