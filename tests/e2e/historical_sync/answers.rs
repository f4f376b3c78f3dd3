//! What every answer has in common: other origins can read it, and it is in this contract's form, whatever went wrong.
//! (`Api::call` demands the form of all.)

use super::agency::{Agency, Api, CANCEL, START, STATUS, shared_secret};
use super::signer::Signer;
use anyhow::Result;
use broker::Publisher;
use configuration::AmqpConfig;
use configuration::ApiConfig;
use reqwest::Method;
use serde_json::json;
use std::time::Duration;
use store::{SessionLimits, Store};

#[tokio::test]
async fn a_browser_may_ask_first() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (method, name) in [START, CANCEL, STATUS] {
        let answer = agency.api.call((Method::OPTIONS, name), None, "").await?;
        assert_eq!(answer.status, 204);
        let header = |name: &str| answer.headers[name].to_str().unwrap_or_default().to_owned();
        assert!(header("access-control-allow-methods").contains(method.as_str()));
        assert!(header("access-control-allow-headers").contains("authorization"));
        assert!(header("access-control-allow-headers").contains("content-type"));

        // As a browser asks for a page whose client sends more than the usual.
        let asked = "authorization,baggage,traceparent,tracestate,x-client-info,x-region";
        let url = format!("http://{}/functions/v1/{name}", agency.api.address);
        let response = reqwest::Client::new()
            .request(Method::OPTIONS, url)
            .header("origin", "https://agency.example")
            .header("access-control-request-method", method.as_str())
            .header("access-control-request-headers", asked)
            .send()
            .await?;
        assert_eq!(
            (response.status().as_u16(), response.headers()["access-control-allow-origin"].to_str()?),
            (204, "*")
        );
        assert_eq!(response.headers()["access-control-allow-headers"], asked.replace(',', ", "));
        assert!(response.headers()["vary"].to_str()?.contains("access-control-request-headers"));
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn nothing_else_is_below_the_folder() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for name in
        ["start-historical-sync/x", "start-historical-sync/", "get-sync-status/1", "process-historical-sync"]
    {
        for method in [Method::GET, Method::POST, Method::OPTIONS] {
            let answer = agency.api.call((method, name), Some(&agency.ann), "{}").await?;
            assert_eq!(
                (answer.status, answer.error().contains("there is nothing")),
                (404, true),
                "{answer:?}"
            );
        }
    }
    // The native contract keeps its own form.
    let native = agency.api.native(Method::GET, "/nothing", &agency.ann).send().await?;
    assert_eq!(native.headers()["content-type"], "application/problem+json");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn without_a_database_it_is_500_and_no_more() -> Result<()> {
    sealing::install_tls_provider();
    let limits = SessionLimits { acquire_timeout: Duration::from_millis(200), ..SessionLimits::default() };
    let store = Store::new("postgres://nobody@127.0.0.1:1/none", "test", 1, limits)?;
    let amqp = AmqpConfig { url: "amqp://127.0.0.1:1".to_owned(), ..AmqpConfig::default() };
    let publisher = Publisher::start(amqp, "test", "test");
    let api = Api::start(store, publisher, &shared_secret(), &ApiConfig::default()).await?;
    let token = Signer::secret().token("ann", None)?;
    for function in [START, CANCEL, STATUS] {
        let answer = api.call(function, Some(&token), "{}").await?;
        assert_eq!((answer.status, answer.headers.contains_key("retry-after")), (500, true), "{answer:?}");
        assert!(!answer.error().contains("127.0.0.1") && !answer.error().contains("refused"), "{answer:?}");
    }
    Ok(())
}

#[tokio::test]
async fn what_takes_too_long_is_500_in_the_same_form() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let hasty = ApiConfig {
        publish_wait: Duration::from_millis(100),
        request_timeout: Duration::from_millis(300),
        ..ApiConfig::default()
    };
    let (store, publisher) = (agency.fixture.store.clone(), agency.fixture.publisher.clone());
    let api = Api::start(store, publisher, &shared_secret(), &hasty).await?;
    let mut locked = agency.fixture.database.pool.begin().await?;
    sqlx::query("lock table users").execute(&mut *locked).await?;
    let answer = api.call(STATUS, Some(&agency.ann), "").await?;
    assert_eq!((answer.status, answer.error().contains("too long")), (500, true), "{answer:?}");
    locked.rollback().await?;
    assert_eq!(
        api.call(STATUS, Some(&agency.ann), "").await?.body,
        json!({ "active": false, "recent_job": null })
    );
    agency.fixture.finish([]).await
}
