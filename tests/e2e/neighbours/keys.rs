//! Keys and tokens that are guessed, wrong or used too often cost those who send them, and not those whose keys are good.

use anyhow::Result;
use configuration::Rate;
use engine::Engine;
use identity::api_key::ApiKey;
use reqwest::{Method, Response, StatusCode};
use serde_json::json;
use testkit::api::{Api, new_key, read};
use testkit::fixture::{Account, Fixture};

const SLOW: Rate = Rate { per_second: 1, burst: 5 };
const NONE: Rate = Rate { per_second: 0, burst: 0 };

async fn world(each: Rate, guesser: Rate) -> Result<(Fixture, Account, Api)> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone()).with_limits(each, guesser);
    let api = Api::of_engine(&fixture, account.tenant, engine).await?;
    Ok((fixture, account, api))
}

async fn ask(api: &Api, key: &str) -> Result<Response> {
    Ok(api.jobs_as(key, Method::GET, "").send().await?)
}

/// A key that begins like another one, and is wrong.
fn forged(key: &str) -> String {
    let turned = if key.ends_with('0') { '1' } else { '0' };
    format!("{}{turned}", &key[..key.len() - 1])
}

#[tokio::test]
async fn good_keys_are_answered_while_others_guess() -> Result<()> {
    let (fixture, account, api) = world(NONE, SLOW).await?;
    // None of these begins like a key that there is: nobody is kept from anything.
    for _ in 0..20 {
        assert_eq!(ask(&api, ApiKey::generate().expose()).await?.status(), StatusCode::UNAUTHORIZED);
    }
    // These do.
    let mut refused = 0;
    for _ in 0..20 {
        let status = ask(&api, &forged(&api.key)).await?.status();
        assert!(matches!(status, StatusCode::UNAUTHORIZED | StatusCode::TOO_MANY_REQUESTS), "{status}");
        refused += u32::from(status == StatusCode::TOO_MANY_REQUESTS);
    }
    assert!(refused > 0, "guessing is slow");
    // Keys that this process has not met, made a moment ago.
    for _ in 0..10 {
        let key = new_key(&fixture, account.tenant).await?;
        assert_eq!(ask(&api, &key).await?.status(), StatusCode::OK);
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn tokens_that_are_wrong_are_always_unauthorized() -> Result<()> {
    let (fixture, _, api) = world(SLOW, SLOW).await?;
    for _ in 0..30 {
        let (status, problem) = read(ask(&api, "e30.e30.c2ln").await?).await?;
        assert_eq!((status, &problem["code"]), (StatusCode::UNAUTHORIZED, &json!("unauthorized")));
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn requests_over_a_rate_cost_no_statement() -> Result<()> {
    let (fixture, _, api) = world(SLOW, NONE).await?;
    while ask(&api, &api.key).await?.status() != StatusCode::TOO_MANY_REQUESTS {}
    // Whoever looks a key up now waits until this ends.
    let mut locked = fixture.database.pool.begin().await?;
    sqlx::query("lock table api_keys in access exclusive mode").execute(&mut *locked).await?;
    let mut refused = 0;
    for _ in 0..20 {
        refused += u32::from(ask(&api, &api.key).await?.status() == StatusCode::TOO_MANY_REQUESTS);
        if refused == 5 {
            break;
        }
    }
    assert_eq!(refused, 5);
    locked.rollback().await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn a_request_with_two_credentials_is_refused() -> Result<()> {
    let (fixture, account, api) = world(NONE, NONE).await?;
    let other = new_key(&fixture, account.tenant).await?;
    let (status, problem) = read(api.jobs(Method::GET, "").header("x-api-key", other).send().await?).await?;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    assert!(problem["detail"].as_str().is_some_and(|said| said.contains("several credentials")), "{problem}");
    let (status, _) = read(api.jobs(Method::GET, "").header("x-api-key", &api.key).send().await?).await?;
    assert_eq!(status, StatusCode::OK);
    fixture.finish([]).await
}
