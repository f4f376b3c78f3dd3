//! An agency with a designated connection and users, and the API in this process.

use super::signer::{AUDIENCE, ISSUER, SECRET, Signer};
use anyhow::{Context, Result, ensure};
use broker::Publisher;
use configuration::ApiConfig;
use configuration::{AuthConfig, SecretText};
use engine::Engine;
use identity::tokens::Tokens;
use protocol::ids::{ConnectionId, JobId, LeaseToken, TenantId, WorkerId};
use protocol::role::Role;
use protocol::slice::Slicing;
use reqwest::header::HeaderMap;
use reqwest::{Client, Method};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use store::Store;
use store::connections::NewConnection;
use store::slices::{Claim, ClaimRequest, Suspicion};
use testkit::fixture::{Account, Fixture};
use testkit::plan::plan;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

pub(crate) const START: (Method, &str) = (Method::POST, "start-historical-sync");
pub(crate) const CANCEL: (Method, &str) = (Method::POST, "cancel-historical-sync");
pub(crate) const STATUS: (Method, &str) = (Method::GET, "get-sync-status");

/// An answer, which has been found to be as every answer of this contract is.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Answer {
    /// What the error says.
    pub(crate) fn error(&self) -> &str {
        self.body["error"].as_str().unwrap_or_default()
    }

    /// The job that a start or a conflict names.
    pub(crate) fn job(&self) -> Result<JobId> {
        Ok(self.body["job_id"].as_str().with_context(|| format!("no job_id: {self:?}"))?.parse()?)
    }
}

/// The API.
pub(crate) struct Api {
    pub(crate) address: SocketAddr,
    client: Client,
    shutdown: CancellationToken,
}

impl Api {
    pub(crate) async fn start(
        store: Store,
        publisher: Publisher,
        auth: &AuthConfig,
        config: &ApiConfig,
    ) -> Result<Self> {
        Self::serving(Engine::new(store, publisher), auth, config).await
    }

    pub(crate) async fn serving(engine: Engine, auth: &AuthConfig, config: &ApiConfig) -> Result<Self> {
        let tokens = Tokens::start(auth).map_err(anyhow::Error::msg)?;
        let engine = Arc::new(engine.with_tokens(tokens));
        let router = api::router(engine, config, Health::new(Metrics::detached()).router());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, shutdown.clone()));
        Ok(Self { address, client: Client::new(), shutdown })
    }

    /// At another process.
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, client: Client::new(), shutdown: CancellationToken::new() }
    }

    /// Calls a function, and demands what holds for every answer.
    pub(crate) async fn call(
        &self,
        function: (Method, &str),
        token: Option<&str>,
        body: &str,
    ) -> Result<Answer> {
        let (method, name) = function;
        let head = method == Method::HEAD;
        let mut request = self.client.request(method, format!("http://{}/functions/v1/{name}", self.address));
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        let response = request.body(body.to_owned()).send().await?;
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        ensure!(headers["access-control-allow-origin"] == "*", "not readable across origins: {headers:?}");
        ensure!(headers.contains_key("access-control-allow-methods"), "{headers:?}");
        ensure!(headers.contains_key("access-control-allow-headers"), "{headers:?}");
        ensure!(headers.contains_key("x-request-id"), "{headers:?}");
        for name in headers.keys() {
            ensure!(headers.get_all(name).iter().count() == 1, "{name} stands twice: {headers:?}");
        }
        if status == 204 {
            return Ok(Answer { status, headers, body: Value::Null });
        }
        ensure!(headers["content-type"] == "application/json", "{status}: {headers:?}");
        if head {
            return Ok(Answer { status, headers, body: Value::Null });
        }
        let answer = Answer { status, headers, body: response.json().await? };
        ensure!(
            (answer.status >= 400) != answer.error().is_empty(),
            "an error, and only one, says why: {answer:?}"
        );
        Ok(answer)
    }

    pub(crate) fn native(&self, method: Method, path: &str, token: &str) -> reqwest::RequestBuilder {
        self.client.request(method, format!("http://{}/api/v1{path}", self.address)).bearer_auth(token)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        self.shutdown.cancel();
    }
}

/// Tokens of the shared secret are believed.
pub(crate) fn shared_secret() -> AuthConfig {
    AuthConfig {
        hs256_secret: SecretText::from(SECRET.to_owned()),
        issuer: ISSUER.to_owned(),
        audience: AUDIENCE.to_owned(),
        ..AuthConfig::default()
    }
}

/// The agency `acme`, its user `ann`, and the API.
pub(crate) struct Agency {
    pub(crate) fixture: Fixture,
    pub(crate) account: Account,
    pub(crate) api: Api,
    pub(crate) ann: String,
}

impl Agency {
    pub(crate) async fn with_calls(calls: u64) -> Result<Self> {
        Self::believing(calls, &shared_secret()).await
    }

    pub(crate) async fn believing(calls: u64, auth: &AuthConfig) -> Result<Self> {
        let fixture = Fixture::with_calls(calls).await?;
        let account = fixture.account("acme", json!({})).await?;
        fixture.store.connections().designate_for_historical_sync(account.tenant, account.connection).await?;
        fixture.store.tenants().put_user("ann", Some(account.tenant), None).await?;
        let config = ApiConfig::default();
        let api = Api::start(fixture.store.clone(), fixture.publisher.clone(), auth, &config).await?;
        Ok(Self { fixture, account, api, ann: Signer::secret().token("ann", None)? })
    }

    /// Another user, and its token.
    pub(crate) async fn user(&self, subject: &str, tenant: Option<TenantId>, role: Role) -> Result<String> {
        self.fixture.store.tenants().put_user(subject, tenant, Some(role)).await?;
        Signer::secret().token(subject, None)
    }

    /// Another agency with a designated connection, and the token of its user.
    pub(crate) async fn other(&self) -> Result<(TenantId, ConnectionId, String)> {
        let tenant = self.fixture.store.tenants().create("other", 16).await?.id;
        let connection = calls_of(&self.fixture, tenant, "theirs").await?;
        self.fixture.store.connections().designate_for_historical_sync(tenant, connection).await?;
        Ok((tenant, connection, self.user("bob", Some(tenant), Role::Admin).await?))
    }

    /// Calls as ann.
    pub(crate) async fn call(&self, function: (Method, &str), body: &Value) -> Result<Answer> {
        self.api.call(function, Some(&self.ann), &body.to_string()).await
    }

    /// Starts as ann, and demands that it is accepted.
    pub(crate) async fn start(&self) -> Result<JobId> {
        let answer = self.call(START, &json!({})).await?;
        ensure!(answer.status == 200, "{answer:?}");
        answer.job()
    }

    /// What ann sees.
    pub(crate) async fn status(&self) -> Result<Value> {
        let answer = self.api.call(STATUS, Some(&self.ann), "").await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer.body)
    }

    /// Holds a page of the job, as a worker would, so that a cancel of it does not end.
    pub(crate) async fn hold_page(&self, job: JobId) -> Result<()> {
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
            lease: Duration::from_secs(20),
            suspicion: Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 },
        };
        let claimed = store.slices().claim(&claim).await?;
        ensure!(matches!(claimed, Claim::Claimed(_)), "{claimed:?}");
        Ok(())
    }
}

/// A connection to the calls that the upstream has for acme.
pub(crate) async fn calls_of(fixture: &Fixture, tenant: TenantId, name: &str) -> Result<ConnectionId> {
    let new = NewConnection {
        tenant,
        name: name.to_owned(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({ "page_size": 10 }),
    };
    fixture.put_connection(&new, &json!({ "api_key": fixture.upstream.key("acme") })).await
}
