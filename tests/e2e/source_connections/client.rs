//! A tenant with an API key, and the API in this process.

use anyhow::{Context, Result, ensure};
use configuration::ApiConfig;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::ids::{ConnectionId, JobId, TenantId};
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use sealing::Keyring;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use testkit::fixture::{Consumer, Fixture};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// An answer, which has been found to be as every answer of this contract is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    pub(crate) fn detail(&self) -> &str {
        self.body["detail"].as_str().unwrap_or_default()
    }

    pub(crate) fn id(&self) -> Result<Uuid> {
        Ok(self.body["id"].as_str().with_context(|| format!("no id: {self:?}"))?.parse()?)
    }

    /// Where and in which words a request is wrong: `[["body", "name"], "missing"]`.
    pub(crate) fn wrong(&self) -> Result<Value> {
        let list = self.body["detail"].as_array().with_context(|| format!("no list: {self:?}"))?;
        for entry in list {
            ensure!(entry["msg"].is_string() && entry.as_object().is_some_and(|it| it.len() == 3), "{entry}");
        }
        Ok(list.iter().map(|entry| json!([entry["loc"], entry["type"]])).collect())
    }
}

pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) tenant: TenantId,
    pub(crate) key: ApiKey,
    api: Api,
}

/// The API, for as long as this is there.
struct Api {
    address: SocketAddr,
    client: Client,
    shutdown: CancellationToken,
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

impl World {
    pub(crate) async fn with_calls(calls: u64) -> Result<Self> {
        let fixture = Fixture::with_calls(calls).await?;
        let keyring = fixture.keyring()?;
        Self::sealing(fixture, keyring).await
    }

    /// Whose API seals credentials with these keys.
    pub(crate) async fn sealing(fixture: Fixture, keyring: Keyring) -> Result<Self> {
        let tenant = fixture.store.tenants().create("acme", 16).await?.id;
        let key = Self::key_of(&fixture, tenant).await?;
        let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone()).with_keyring(keyring);
        let health = Health::new(Metrics::detached()).router();
        let router = api::router(Arc::new(engine), &ApiConfig::default(), health);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, shutdown.clone()));
        Ok(Self { fixture, tenant, key, api: Api { address, client: Client::new(), shutdown } })
    }

    pub(crate) async fn key_of(fixture: &Fixture, tenant: TenantId) -> Result<ApiKey> {
        let key = ApiKey::generate();
        fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
        Ok(key)
    }

    /// Calls with a key, and demands what holds for every answer.
    pub(crate) async fn call_as(
        &self,
        key: Option<&str>,
        method: Method,
        path: &str,
        body: &str,
    ) -> Result<Answer> {
        let url = format!("http://{}/source-connections{path}", self.api.address);
        let mut request = self.api.client.request(method, url).body(body.to_owned());
        if let Some(key) = key {
            request = request.header("x-api-key", key);
        }
        let response = request.send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        ensure!(headers["content-type"] == "application/json", "{status}: {headers:?}");
        ensure!(headers.contains_key("x-request-id"), "{headers:?}");
        let text = response.text().await?;
        ensure!(!text.contains(self.fixture.upstream.key("acme")), "credentials in an answer: {text}");
        let answer = Answer { status, headers, body: serde_json::from_str(&text)? };
        ensure!(
            (status >= 400) == answer.body.get("detail").is_some(),
            "an error, and only one, has a detail: {answer:?}"
        );
        Ok(answer)
    }

    pub(crate) async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Answer> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.call_as(Some(self.key.expose()), method, path, &body).await
    }

    pub(crate) async fn get(&self, path: &str) -> Result<Answer> {
        self.call(Method::GET, path, &Value::Null).await
    }

    pub(crate) async fn post(&self, path: &str) -> Result<Answer> {
        self.call(Method::POST, path, &Value::Null).await
    }

    /// A connection to the upstream's calls of acme, as it is asked for.
    pub(crate) fn draft(&self, settings: &Value) -> Value {
        let mut merged = json!({ "page_size": 10 });
        for (name, value) in settings.as_object().into_iter().flatten() {
            merged[name] = value.clone();
        }
        json!({
            "name": "calls", "source": "ultravox", "base_url": self.fixture.upstream.base_url(),
            "credentials": { "api_key": self.fixture.upstream.key("acme") }, "settings": merged,
        })
    }

    /// Makes it.
    pub(crate) async fn connection(&self, settings: &Value) -> Result<ConnectionId> {
        let answer = self.call(Method::POST, "", &self.draft(settings)).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(ConnectionId(answer.id()?))
    }

    /// Runs it, and demands that the job is accepted.
    pub(crate) async fn run(&self, connection: ConnectionId, query: &str) -> Result<JobId> {
        let answer = self.post(&format!("/{connection}/run{query}")).await?;
        ensure!(answer.status == 200 && answer.body["status"] == "PENDING", "{answer:?}");
        Ok(JobId(answer.id()?))
    }

    /// The job as it is shown.
    pub(crate) async fn job(&self, connection: ConnectionId, job: JobId) -> Result<Value> {
        let answer = self.get(&format!("/{connection}/jobs/{job}")).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    pub(crate) async fn cancel(&self, connection: ConnectionId, job: JobId) -> Result<Answer> {
        self.post(&format!("/{connection}/jobs/{job}/cancel")).await
    }

    /// Ends the world.
    pub(crate) async fn finish(self, consumers: impl IntoIterator<Item = Consumer>) -> Result<()> {
        self.fixture.finish(consumers).await
    }
}
