//! Pause, unpause and resume over HTTP, and over the command line.

use anyhow::{Context, Result};
use configuration::ApiConfig;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobStatus;
use reqwest::{Client, Response, StatusCode};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::fixture::Fixture;
use testkit::process::Program;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The API in this process, and a caller with a key.
struct Api {
    address: String,
    key: String,
    _stop: DropGuard,
}

impl Api {
    async fn start(fixture: &Fixture, tenant: TenantId) -> Result<Self> {
        let engine = Arc::new(Engine::new(fixture.store.clone(), fixture.publisher.clone()));
        let health = Health::new(Metrics::detached()).router();
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/api/v1/jobs", listener.local_addr()?);
        let stop = CancellationToken::new();
        let router = api::router(engine, &ApiConfig::default(), health);
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        Ok(Self { address, key: key(fixture, tenant).await?, _stop: stop.drop_guard() })
    }

    async fn post(&self, job: JobId, action: &str) -> Result<Response> {
        self.post_as(&self.key, job, action).await
    }

    async fn post_as(&self, key: &str, job: JobId, action: &str) -> Result<Response> {
        let path = format!("{}/{job}/{action}", self.address);
        Ok(Client::new().post(path).bearer_auth(key).send().await?)
    }
}

async fn key(fixture: &Fixture, tenant: TenantId) -> Result<String> {
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
    Ok(key.expose().to_owned())
}

async fn read(response: Response) -> Result<(StatusCode, Value)> {
    Ok((response.status(), response.json().await?))
}

#[tokio::test]
async fn over_http() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    for _repeat in 0..2 {
        let (status, body) = read(api.post(job, "pause").await?).await?;
        assert_eq!(
            (status, &body["paused"], &body["status"]),
            (StatusCode::ACCEPTED, &json!(true), &json!("running"))
        );
    }
    for _repeat in 0..2 {
        let (status, body) = read(api.post(job, "unpause").await?).await?;
        assert_eq!((status, &body["paused"]), (StatusCode::ACCEPTED, &json!(false)));
    }
    let (status, body) = read(api.post(job, "resume").await?).await?;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("not_resumable")));
    assert_eq!((&body["job_id"], &body["job_status"]), (&json!(job), &json!("running")));

    fixture.publish_cancel(job, "enough").await?;
    fixture.until_cancelled(job, "enough").await?;
    for action in ["pause", "unpause"] {
        let (status, body) = read(api.post(job, action).await?).await?;
        assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("not_pausable")));
        assert_eq!(body["job_status"], "cancelled");
    }
    let response = api.post(job, "resume").await?;
    let location = response.headers()["location"].to_str()?.to_owned();
    let (status, body) = read(response).await?;
    assert_eq!((status, &body["resumed_from"]), (StatusCode::ACCEPTED, &json!(job)));
    let resumed: JobId = body["id"].as_str().context("a job has an id")?.parse()?;
    assert_eq!(location, format!("/api/v1/jobs/{resumed}"));
    assert_eq!((&body["counters"]["inserted"], &body["pages_settled"]), (&json!(10), &json!(1)));
    let (status, body) = read(api.post(job, "resume").await?).await?;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("job_active")));
    assert_eq!(body["job_id"], json!(resumed));

    fixture.upstream.release();
    fixture.until_over(resumed, JobStatus::Completed).await?;
    let (status, body) = read(api.post(job, "resume").await?).await?;
    assert_eq!((status, &body["code"]), (StatusCode::CONFLICT, &json!("not_resumable")));
    assert_eq!((&body["job_status"], &body["resumed_by"]), (&json!("cancelled"), &json!(resumed)));

    let other = fixture.store.tenants().create("other", 16).await?.id;
    let theirs = key(&fixture, other).await?;
    for action in ["pause", "unpause", "resume"] {
        let (status, body) = read(api.post_as(&theirs, job, action).await?).await?;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("job_not_found")));
        assert_eq!(api.post_as("bh_wrong", job, action).await?.status(), StatusCode::UNAUTHORIZED);
    }
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

/// Exit code, and what was said on stdout and stderr.
async fn backhaul(fixture: &Fixture, arguments: &[&str]) -> Result<(Option<i32>, String, String)> {
    let mut program = Program::built("backhaul")?;
    for (name, value) in fixture.environment() {
        program = program.env(&name, value);
    }
    let output = arguments.iter().fold(program, |program, argument| program.arg(argument)).output().await?;
    Ok((output.status.code(), String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?))
}

#[tokio::test]
async fn over_the_command_line() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let id = job.to_string();

    let (code, said, _) = backhaul(&fixture, &["pause", &id]).await?;
    assert!(code == Some(0) && said.contains("is paused"), "{said}");
    for action in [["status", &id].as_slice(), &["list"]] {
        let (_, said, _) = backhaul(&fixture, action).await?;
        assert!(said.contains("running, paused"), "{said}");
    }
    let (code, said, _) = backhaul(&fixture, &["unpause", &id, "--json"]).await?;
    assert_eq!((code, &serde_json::from_str::<Value>(&said)?["paused"]), (Some(0), &json!(false)));
    let (code, _, said) = backhaul(&fixture, &["resume", &id]).await?;
    assert!(code == Some(1) && said.contains("it is running"), "{said}");

    fixture.publish_cancel(job, "enough").await?;
    fixture.until_cancelled(job, "enough").await?;
    fixture.upstream.release();
    let (code, _, said) = backhaul(&fixture, &["pause", &id]).await?;
    assert!(code == Some(1) && said.contains("it is cancelled"), "{said}");
    let (code, said, complaint) = backhaul(&fixture, &["resume", &id, "--wait", "--json"]).await?;
    let resumed: Value = serde_json::from_str(&said).with_context(|| complaint)?;
    assert_eq!(
        (code, &resumed["status"], &resumed["resumed_from"]),
        (Some(0), &json!("completed"), &json!(job))
    );
    let (_, said, _) = backhaul(&fixture, &["status", resumed["id"].as_str().context("an id")?]).await?;
    assert!(said.contains(&format!("job {id}")) && said.contains("25 inserted"), "{said}");

    let delete = ["admin", "connection", "delete", "acme", "--tenant", "acme"];
    let (code, _, said) = backhaul(&fixture, &delete).await?;
    assert!(code == Some(2) && said.contains("--yes"), "{said}");
    let confirmed = [delete.as_slice(), &["--yes"]].concat();
    let (code, said, _) = backhaul(&fixture, &confirmed).await?;
    assert!(code == Some(0) && said.contains("acme/acme is deleted"), "{said}");
    let (code, _, said) = backhaul(&fixture, &confirmed).await?;
    assert!(code == Some(1) && said.contains("has no connection"), "{said}");
    fixture.until_sql("select not exists (select from jobs) and not exists (select from records)").await?;
    fixture.finish([consumer]).await
}
