//! The native HTTP contract, over HTTP, on the real database and broker.

use anyhow::{Context, Result};
use broker::Publisher;
use configuration::AmqpConfig;
use configuration::ApiConfig;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::ids::{JobId, LeaseToken, TenantId, WorkerId};
use protocol::job::JobStatus;
use protocol::slice::Slicing;
use reqwest::{Client, Method, Response, StatusCode};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use store::slices::{Claim, ClaimRequest, Suspicion};
use testkit::fixture::Fixture;
use testkit::plan::plan;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const LEASE: Duration = Duration::from_secs(20);

/// The API in this process, and a caller with a key.
struct Api {
    address: String,
    key: String,
    client: Client,
    shutdown: CancellationToken,
}

impl Api {
    async fn start(fixture: &Fixture, tenant: TenantId) -> Result<Self> {
        Self::with_publisher(fixture, tenant, fixture.publisher.clone()).await
    }

    async fn with_publisher(fixture: &Fixture, tenant: TenantId, publisher: Publisher) -> Result<Self> {
        let engine = Arc::new(Engine::new(fixture.store.clone(), publisher));
        let health = Health::new(Metrics::detached()).router();
        let router = api::router(engine, &ApiConfig::default(), health);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/api/v1/jobs", listener.local_addr()?);
        let shutdown = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, shutdown.clone()));
        let key = new_key(fixture, tenant).await?;
        Ok(Self { address, key, client: Client::new(), shutdown })
    }

    fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("{}{path}", self.address)).bearer_auth(&self.key)
    }

    async fn get(&self, path: &str) -> Result<(StatusCode, Value)> {
        read(self.request(Method::GET, path).send().await?).await
    }

    async fn post(&self, path: &str, body: &Value) -> Result<(StatusCode, Value)> {
        read(self.request(Method::POST, path).json(body).send().await?).await
    }

    async fn as_caller(&self, key: &str, path: &str) -> Result<(StatusCode, Value)> {
        read(self.client.get(format!("{}{path}", self.address)).bearer_auth(key).send().await?).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

async fn new_key(fixture: &Fixture, tenant: TenantId) -> Result<String> {
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
    Ok(key.expose().to_owned())
}

async fn read(response: Response) -> Result<(StatusCode, Value)> {
    let status = response.status();
    let kind =
        response.headers().get("content-type").context("every answer has a type")?.to_str()?.to_owned();
    let expected = if status.is_success() { "application/json" } else { "application/problem+json" };
    assert_eq!(kind, expected);
    Ok((status, response.json().await?))
}

fn id_of(job: &Value) -> Result<JobId> {
    Ok(job["id"].as_str().context("a job has an id")?.parse()?)
}

#[tokio::test]
async fn a_job_is_started_watched_and_listed() -> Result<()> {
    let fixture = Fixture::with_calls(35).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let consumer = fixture.consumer().await?;

    let body = json!({ "connection_id": account.connection, "name": "first" });
    let response = api.request(Method::POST, "").json(&body).send().await?;
    let location = response.headers()["location"].to_str()?.to_owned();
    let (status, job) = read(response).await?;
    assert_eq!((status, &job["status"]), (StatusCode::ACCEPTED, &json!("pending")));
    let first = id_of(&job)?;
    assert_eq!(location, format!("/api/v1/jobs/{first}"));

    fixture.until_over(first, JobStatus::Completed).await?;
    let response = api.request(Method::GET, &format!("/{first}")).send().await?;
    let tag = response.headers()["etag"].clone();
    let (_, job) = read(response).await?;
    assert_eq!(job["status"], "completed");
    assert_eq!(job["percent"], 100);
    assert_eq!(job["counters"]["processed"], 35);
    assert_eq!(job["counters"]["imported"], 35);
    assert_eq!(
        job["slices"],
        json!({"total": 1, "queued": 0, "ready": 0, "leased": 0, "waiting": 0, "done": 1})
    );
    let again = api.request(Method::GET, &format!("/{first}")).header("if-none-match", &tag).send().await?;
    assert_eq!((again.status(), &again.headers()["etag"]), (StatusCode::NOT_MODIFIED, &tag));

    let (_, job) = api.post("", &json!({ "connection_id": account.connection })).await?;
    let second = id_of(&job)?;
    fixture.until_over(second, JobStatus::Completed).await?;
    let (_, newest) = api.get("?limit=1").await?;
    assert_eq!((id_of(&newest["data"][0])?, &newest["pagination"]["has_more"]), (second, &json!(true)));
    let next = newest["pagination"]["next_cursor"].as_str().context("there is more")?;
    let (_, rest) = api.get(&format!("?limit=1&status=completed&cursor={next}")).await?;
    assert_eq!(id_of(&rest["data"][0])?, first);
    assert_eq!(rest["pagination"], json!({"limit": 1, "has_more": false, "next_cursor": null}));
    let (_, none) = api.get("?status=failed").await?;
    assert_eq!(none["data"], json!([]));
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_second_start_is_refused_with_the_active_job() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;

    let body = json!({ "connection_id": account.connection });
    let (status, job) = api.post("", &body).await?;
    assert_eq!(status, StatusCode::ACCEPTED);
    let active = id_of(&job)?;
    let (status, refused) = api.post("", &body).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &json!("job_active")));
    assert_eq!(refused["job_id"], json!(active));

    let refusals = [
        (json!({ "connection_id": JobId::random() }), 404, "connection_not_found"),
        (json!({}), 422, "invalid"),
        (json!({ "connection_id": account.connection, "date_from": "2999-01-01T00:00:00Z" }), 422, "invalid"),
        (json!({ "connection_id": account.connection, "document_ids": [] }), 422, "invalid"),
    ];
    for (body, status, code) in refusals {
        let (got, problem) = api.post("", &body).await?;
        assert_eq!((got.as_u16(), &problem["code"]), (status, &json!(code)), "{body}");
    }
    api.post(&format!("/{active}/cancel"), &json!({})).await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn a_command_id_is_applied_once_and_per_tenant() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let body = json!({ "connection_id": account.connection, "command_id": "nightly" });
    let (_, first) = api.post("", &body).await?;
    let (status, repeat) = api.post("", &body).await?;
    assert_eq!((status, id_of(&repeat)?), (StatusCode::ACCEPTED, id_of(&first)?));

    let other = fixture.store.tenants().create("other", 16).await?.id;
    let key = new_key(&fixture, other).await?;
    let theirs = api.client.post(&api.address).bearer_auth(&key).json(&body).send().await?;
    let (status, problem) = read(theirs).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("connection_not_found")));
    fixture.finish([]).await
}

#[tokio::test]
async fn a_cancel_is_repeatable_until_the_job_is_over() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let (_, job) = api.post("", &json!({ "connection_id": account.connection })).await?;
    let job = id_of(&job)?;
    // No consumer runs: this test holds the page itself, so that the job stays cancelling.
    let plannable = fixture.store.jobs().plannable(job).await?.context("pending")?;
    assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None::<Slicing>)?).await?);
    let ring = fixture
        .store
        .slices()
        .refill(account.tenant, Duration::ZERO)
        .await?
        .pop()
        .context("a slice is rung")?;
    let token = LeaseToken::random();
    let suspicion = Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 };
    let claim =
        ClaimRequest { ring, redelivered: false, worker: WorkerId::random(), token, lease: LEASE, suspicion };
    let claimed = fixture.store.slices().claim(&claim).await?;
    assert!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");

    let (status, cancelling) =
        api.post(&format!("/{job}/cancel"), &json!({ "reason": "wrong dates" })).await?;
    assert_eq!((status, &cancelling["status"]), (StatusCode::ACCEPTED, &json!("cancelling")));
    assert_eq!(cancelling["cancel_reason"], "wrong dates");
    let empty = api.request(Method::POST, &format!("/{job}/cancel")).send().await?;
    let (status, repeat) = read(empty).await?;
    assert_eq!((status, &repeat["cancel_reason"]), (StatusCode::ACCEPTED, &json!("wrong dates")));

    assert!(fixture.store.jobs().force_cancel(job).await?.is_some());
    let (status, late) = api.post(&format!("/{job}/cancel"), &json!({})).await?;
    assert_eq!((status, &late["code"]), (StatusCode::CONFLICT, &json!("not_cancellable")));
    assert_eq!(late["job_status"], "cancelled");
    fixture.finish([]).await
}

#[tokio::test]
async fn another_tenants_job_is_not_there() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let (_, job) = api.post("", &json!({ "connection_id": account.connection })).await?;
    let job = id_of(&job)?;

    let other = fixture.store.tenants().create("other", 16).await?.id;
    let key = new_key(&fixture, other).await?;
    let (status, problem) = api.as_caller(&key, &format!("/{job}")).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::NOT_FOUND, &json!("job_not_found")));
    let (_, list) = api.as_caller(&key, "").await?;
    assert_eq!(list["data"], json!([]));
    let cancel = api.client.post(format!("{}/{job}/cancel", api.address)).bearer_auth(&key).send().await?;
    assert_eq!(read(cancel).await?.0, StatusCode::NOT_FOUND);

    let (status, _) = api.get("/not-a-uuid").await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let id = fixture.store.tenants().api_keys(other).await?.pop().context("a key was made")?.id;
    assert!(fixture.store.tenants().revoke_api_key(id).await?);
    assert_eq!(api.as_caller(&key, "").await?.0, StatusCode::UNAUTHORIZED);
    assert_eq!(api.get(&format!("/{job}")).await?.1["status"], "pending");
    fixture.finish([]).await
}

#[tokio::test]
async fn without_a_broker_a_start_is_accepted_and_swept() -> Result<()> {
    let fixture = Fixture::with_calls(12).await?;
    let account = fixture.account("acme", json!({})).await?;
    let nowhere = AmqpConfig {
        url: "amqp://127.0.0.1:1".to_owned(),
        publish_timeout: Duration::from_millis(100),
        ..AmqpConfig::default()
    };
    let publisher = Publisher::start(nowhere, "nowhere", "test");
    let api = Api::with_publisher(&fixture, account.tenant, publisher).await?;
    let (status, job) = api.post("", &json!({ "connection_id": account.connection })).await?;
    assert_eq!((status, &job["status"]), (StatusCode::ACCEPTED, &json!("pending")));

    let consumer = fixture.consumer().await?;
    fixture.until_over(id_of(&job)?, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_conflict_is_settled_as_asked() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let start =
        |on_conflict: &str| json!({ "connection_id": account.connection, "on_conflict": on_conflict });
    let (_, first) = api.post("", &start("reject")).await?;
    let first = id_of(&first)?;

    let response = api.request(Method::POST, "").json(&start("use_existing")).send().await?;
    assert_eq!(response.headers()["location"], format!("/api/v1/jobs/{first}"));
    let (status, same) = read(response).await?;
    assert_eq!((status, id_of(&same)?), (StatusCode::ACCEPTED, first));

    // With a command_id, a repeat is answered with the job of the first, whatever has become of it.
    let mut supersede = start("supersede");
    supersede["command_id"] = json!("crm-1");
    let (status, second) = api.post("", &supersede).await?;
    let second = id_of(&second)?;
    assert_eq!((status, second != first), (StatusCode::ACCEPTED, true));
    let (_, old) = api.get(&format!("/{first}")).await?;
    assert_eq!(old["status"], "cancelled");
    assert_eq!(old["cancel_reason"], format!("superseded by job {second}"));
    let (_, repeat) = api.post("", &supersede).await?;
    assert_eq!((id_of(&repeat)?, &repeat["status"]), (second, &json!("pending")));

    let (status, refused) = api.post("", &start("fight")).await?;
    assert_eq!((status, &refused["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")));
    assert!(
        refused["detail"].as_str().is_some_and(|detail| detail.starts_with("on_conflict: ")),
        "{refused}"
    );
    fixture.finish([]).await
}

#[tokio::test]
async fn the_message_contract_is_served() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let address = api.address.replace("/api/v1/jobs", "/asyncapi.json");
    let (status, document) = read(api.client.get(address).send().await?).await?;
    assert_eq!((status, &document["asyncapi"]), (StatusCode::OK, &json!("3.0.0")));
    assert_eq!(document, protocol::contract::asyncapi());
    fixture.finish([]).await
}
