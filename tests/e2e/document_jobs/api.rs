//! A tenant with a connection, and the API in this process.

use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use configuration::ApiConfig;
use configuration::Rate;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::ids::{ConnectionId, JobId, LeaseToken, TenantId, WorkerId};
use protocol::slice::Slicing;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method, Response};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::slices::{Claim, ClaimRequest, Lease, Suspicion};
use testkit::fixture::{Account, Fixture};
use testkit::plan::plan;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// An answer; an error's envelope has been looked at.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
    /// As it was sent.
    pub(crate) text: String,
}

impl Answer {
    /// The code and the message of an error.
    pub(crate) fn error(&self) -> (u16, &str, &str) {
        let text = |field: &str| self.body[field].as_str().unwrap_or_default();
        (self.status, text("code"), text("message"))
    }

    /// Demands an error with this status and code, whose message has these words.
    pub(crate) fn is(&self, status: u16, code: &str, words: &str) -> Result<()> {
        let (got, its_code, message) = self.error();
        ensure!(
            (got, its_code) == (status, code) && message.contains(words),
            "not {status} {code} {words:?}: {self:?}"
        );
        Ok(())
    }

    pub(crate) fn id(&self) -> Result<JobId> {
        Ok(self.body["id"].as_str().with_context(|| format!("no id: {self:?}"))?.parse()?)
    }
}

/// The API, and callers of it.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    pub(crate) key: String,
    client: Client,
    shutdown: CancellationToken,
}

impl Api {
    pub(crate) async fn start(fixture: &Fixture, tenant: TenantId, config: &ApiConfig) -> Result<Self> {
        let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone());
        Self::of(engine, fixture, tenant, config).await
    }

    /// With a limit to the requests of each caller.
    pub(crate) async fn limited(fixture: &Fixture, tenant: TenantId, each: Rate) -> Result<Self> {
        let unknown = Rate { per_second: 1000, burst: 1000 };
        let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone()).with_limits(each, unknown);
        Self::of(engine, fixture, tenant, &ApiConfig::default()).await
    }

    async fn of(engine: Engine, fixture: &Fixture, tenant: TenantId, config: &ApiConfig) -> Result<Self> {
        let router = api::router(Arc::new(engine), config, Health::new(Metrics::detached()).router());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, shutdown.clone()));
        Ok(Self { address, key: new_key(fixture, tenant).await?, client: Client::new(), shutdown })
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        read(path, self.request(Method::GET, path).bearer_auth(&self.key).send().await?).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Result<Answer> {
        read(path, self.request(Method::POST, path).bearer_auth(&self.key).json(body).send().await?).await
    }

    pub(crate) async fn post_text(&self, path: &str, body: &str) -> Result<Answer> {
        let request = self.request(Method::POST, path).bearer_auth(&self.key).body(body.to_owned());
        read(path, request.send().await?).await
    }

    /// Starts a job under a key.
    pub(crate) async fn post_keyed(&self, key: &str, body: &Value) -> Result<Answer> {
        let request = self.request(Method::POST, "/v1/jobs").bearer_auth(&self.key);
        read("/v1/jobs", request.header("idempotency-key", key).json(body).send().await?).await
    }

    /// As another caller, or as none.
    pub(crate) async fn call_as(&self, key: Option<&str>, method: Method, path: &str) -> Result<Answer> {
        let mut request = self.request(method, path);
        if let Some(key) = key {
            request = request.bearer_auth(key);
        }
        read(path, request.send().await?).await
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

pub(crate) async fn new_key(fixture: &Fixture, tenant: TenantId) -> Result<String> {
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
    Ok(key.expose().to_owned())
}

/// Reads an answer, and demands what holds for every answer.
pub(crate) async fn read(path: &str, response: Response) -> Result<Answer> {
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.text().await?;
    for name in headers.keys() {
        ensure!(headers.get_all(name).iter().count() == 1, "{name} stands twice: {headers:?}");
    }
    ensure!(headers["content-type"] == "application/json", "{status}: {headers:?} {text}");
    let id = headers.get("x-request-id").context("every answer has an identifier")?.to_str()?.to_owned();
    let answer = Answer { status, headers, body: serde_json::from_str(&text)?, text };
    if status < 400 {
        return Ok(answer);
    }
    let body = answer.body.as_object().context("an envelope")?;
    let fields: BTreeSet<&str> = body.keys().map(String::as_str).filter(|field| *field != "job_id").collect();
    let expected = ["statusCode", "code", "error", "message", "retryable", "request_id", "timestamp", "path"];
    ensure!(fields == BTreeSet::from(expected), "not the envelope: {answer:?}");
    let path = path.split('?').next();
    ensure!(
        body["statusCode"] == status && body["request_id"] == id && body["path"].as_str() == path,
        "{answer:?}"
    );
    let at: DateTime<Utc> = body["timestamp"].as_str().context("a time")?.parse()?;
    ensure!((Utc::now() - at).num_seconds().abs() < 60, "{answer:?}");
    let codes = [
        "validation_error",
        "unauthorized",
        "not_found",
        "method_not_allowed",
        "conflict",
        "rate_limited",
        "internal_error",
    ];
    ensure!(codes.contains(&body["code"].as_str().unwrap_or_default()), "{answer:?}");
    ensure!(body["retryable"].is_boolean() && body["error"].is_string(), "{answer:?}");
    Ok(answer)
}

/// The tenant `acme`, with a connection and the API.
pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) account: Account,
    pub(crate) api: Api,
}

impl World {
    /// Pages of ten, of lists and of ids alike.
    pub(crate) async fn with_calls(calls: u64) -> Result<Self> {
        Self::with_settings(calls, json!({ "item_page_size": 10 })).await
    }

    pub(crate) async fn with_settings(calls: u64, settings: Value) -> Result<Self> {
        let fixture = Fixture::with_calls(calls).await?;
        let account = fixture.account("acme", settings).await?;
        let api = Api::start(&fixture, account.tenant, &ApiConfig::default()).await?;
        Ok(Self { fixture, account, api })
    }

    /// Another tenant, with a key and a connection.
    pub(crate) async fn other(&self) -> Result<(TenantId, ConnectionId, String)> {
        let tenant = self.fixture.store.tenants().create("other", 16).await?.id;
        let connection = self.connection(tenant, "theirs").await?;
        Ok((tenant, connection, new_key(&self.fixture, tenant).await?))
    }

    /// A further connection to the calls that the upstream has for acme.
    pub(crate) async fn connection(&self, tenant: TenantId, name: &str) -> Result<ConnectionId> {
        let new = store::connections::NewConnection {
            tenant,
            name: name.to_owned(),
            source: "ultravox".to_owned(),
            base_url: self.fixture.upstream.base_url(),
            settings: json!({ "page_size": 10, "item_page_size": 10 }),
        };
        self.fixture.put_connection(&new, &json!({ "api_key": self.fixture.upstream.key("acme") })).await
    }

    /// Starts a job with these fields beside the connection, and demands that it is accepted.
    pub(crate) async fn start(&self, fields: Value) -> Result<JobId> {
        self.start_on(self.account.connection, fields).await
    }

    pub(crate) async fn start_on(&self, connection: ConnectionId, mut fields: Value) -> Result<JobId> {
        fields["connection_id"] = json!(connection);
        let answer = self.api.post("/v1/jobs", &fields).await?;
        ensure!(answer.status == 201, "{answer:?}");
        answer.id()
    }

    pub(crate) async fn job(&self, job: JobId) -> Result<Value> {
        let answer = self.api.get(&format!("/v1/jobs/{job}")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    pub(crate) async fn cancel(&self, job: JobId) -> Result<Answer> {
        self.api.post_text(&format!("/v1/jobs/{job}/cancel"), "").await
    }

    /// All rows of a job that is over, read in pages of so many.
    pub(crate) async fn rows(&self, job: JobId, limit: usize) -> Result<Vec<Value>> {
        let mut rows = Vec::new();
        let mut path = format!("/v1/jobs/{job}/results?limit={limit}");
        loop {
            let answer = self.api.get(&path).await?;
            ensure!(answer.status == 200, "{answer:?}");
            let page = answer.body["data"].as_array().context("rows")?;
            rows.extend(page.iter().cloned());
            let (more, next) = (&answer.body["pagination"]["has_more"], &answer.body["links"]["next"]);
            ensure!(
                more.as_bool() == Some(next.is_string()),
                "over, so there is a next page if there is more: {answer:?}"
            );
            ensure!(!next.is_string() || page.len() == limit, "a page before the last is full: {answer:?}");
            let Some(next) = next.as_str() else {
                ensure!(answer.body["total_rows"] == rows.len(), "{} rows: {answer:?}", rows.len());
                return Ok(rows);
            };
            path = next.to_owned();
        }
    }

    /// Ids of the upstream's calls, by ordinal.
    pub(crate) fn ids(&self, ordinals: impl IntoIterator<Item = u64>) -> Vec<String> {
        ordinals.into_iter().map(|ordinal| self.fixture.upstream.id("acme", ordinal)).collect()
    }

    /// A schema of what every call has.
    pub(crate) async fn schema(&self, fields: Value) -> Result<String> {
        let answer = self.api.post("/v1/schemas", &json!({ "name": "calls", "fields": fields })).await?;
        ensure!(answer.status == 201, "{answer:?}");
        Ok(answer.body["id"].as_str().context("an id")?.to_owned())
    }

    /// Holds a page of the job, as a worker would that does not answer.
    pub(crate) async fn hold_page(&self, job: JobId) -> Result<Lease> {
        let store = &self.fixture.store;
        let plannable = store.jobs().plannable(job).await?.context("pending")?;
        ensure!(store.jobs().plan(&plannable, &plan(&plannable, None::<Slicing>)?).await?, "not planned");
        let ring = store
            .slices()
            .refill(self.account.tenant, Duration::ZERO)
            .await?
            .pop()
            .context("a slice is rung")?;
        let claim = ClaimRequest {
            ring,
            redelivered: false,
            worker: WorkerId::random(),
            token: LeaseToken::random(),
            lease: Duration::from_secs(300),
            suspicion: Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 },
        };
        let claimed = store.slices().claim(&claim).await?;
        let Claim::Claimed(claimed) = claimed else { anyhow::bail!("not claimed: {claimed:?}") };
        Ok(claimed.0)
    }
}

/// What rows are of, in their order.
pub(crate) fn documents(rows: &[Value]) -> Vec<String> {
    rows.iter().map(|row| row["document_id"].as_str().unwrap_or_default().to_owned()).collect()
}

/// Demands that no row is there twice, and returns what they are of, sorted.
pub(crate) fn each_once(rows: &[Value]) -> Result<Vec<String>> {
    let ids: BTreeSet<_> = rows.iter().map(|row| row["id"].to_string()).collect();
    ensure!(ids.len() == rows.len(), "{} rows have {} ids", rows.len(), ids.len());
    let mut documents = documents(rows);
    documents.sort();
    Ok(documents)
}

pub(crate) fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}
