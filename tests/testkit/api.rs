//! The HTTP API in this process, and a caller with a key.

use crate::fixture::Fixture;
use anyhow::Result;
use broker::Publisher;
use configuration::ApiConfig;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::ids::{JobId, TenantId};
use reqwest::{Client, Method, RequestBuilder, Response, StatusCode};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::Value;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// An API on a fixture's database and broker. It stops when this is dropped.
#[derive(Debug)]
pub struct Api {
    /// Where it listens, without a path.
    pub origin: String,
    /// A key of the tenant.
    pub key: String,
    client: Client,
    _stop: DropGuard,
}

impl Api {
    /// Starts one, with a key of this tenant.
    pub async fn start(fixture: &Fixture, tenant: TenantId) -> Result<Self> {
        Self::with_publisher(fixture, tenant, fixture.publisher.clone()).await
    }

    /// As [`Self::start`], publishing with another publisher than the fixture's.
    pub async fn with_publisher(fixture: &Fixture, tenant: TenantId, publisher: Publisher) -> Result<Self> {
        Self::of_engine(fixture, tenant, Engine::new(fixture.store.clone(), publisher)).await
    }

    /// As [`Self::start`], with another engine.
    pub async fn of_engine(fixture: &Fixture, tenant: TenantId, engine: Engine) -> Result<Self> {
        let router =
            api::router(Arc::new(engine), &ApiConfig::default(), Health::new(Metrics::detached()).router());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let origin = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        let key = new_key(fixture, tenant).await?;
        Ok(Self { origin, key, client: Client::new(), _stop: stop.drop_guard() })
    }

    /// A request of the tenant's, to a path below `/api/v1/jobs`.
    pub fn jobs(&self, method: Method, path: &str) -> RequestBuilder {
        self.jobs_as(&self.key, method, path)
    }

    /// The same of somebody else.
    pub fn jobs_as(&self, key: &str, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}/api/v1/jobs{path}", self.origin)).bearer_auth(key)
    }

    /// A request of somebody to follow a job's events as a stream.
    pub fn events_as(&self, key: &str, job: JobId) -> RequestBuilder {
        self.jobs_as(key, Method::GET, &format!("/{job}/events")).header("accept", "text/event-stream")
    }
}

/// A key of a tenant.
pub async fn new_key(fixture: &Fixture, tenant: TenantId) -> Result<String> {
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
    Ok(key.expose().to_owned())
}

/// An answer's status and its JSON, which every answer of the API is: errors as problems.
pub async fn read(response: Response) -> Result<(StatusCode, Value)> {
    let status = response.status();
    let kind = response.headers().get("content-type").and_then(|kind| kind.to_str().ok());
    let expected = if status.is_success() { "application/json" } else { "application/problem+json" };
    anyhow::ensure!(kind == Some(expected), "{status} of type {kind:?}");
    Ok((status, response.json().await?))
}
