//! The API in this process, and its callers.

use anyhow::Result;
use api::Route;
use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD as BASE64;
use configuration::ApiConfig;
use configuration::{AuthConfig, SecretText};
use engine::Engine;
use identity::api_key::ApiKey;
use identity::tokens::Tokens;
use protocol::ids::{ConnectionId, JobId, SchemaId, TenantId};
use reqwest::{Client, Method, StatusCode};
use ring::hmac;
use runtime::health::Health;
use runtime::telemetry::Metrics;
use serde_json::{Value, json};
use std::sync::Arc;
use testkit::fixture::Fixture;
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

const SECRET: &str = "0123456789abcdef0123456789abcdef";

/// A caller of a tenant: with a key, and with a token.
pub(crate) struct Caller {
    key: String,
    token: String,
}

impl Caller {
    pub(crate) async fn new(fixture: &Fixture, tenant: TenantId, subject: &str) -> Result<Self> {
        let key = ApiKey::generate();
        fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
        fixture.store.tenants().put_user(subject, Some(tenant), None).await?;
        let claims = json!({ "sub": subject, "iss": "https://issuer.example", "aud": "backhaul", "exp": 4_102_444_800_u64 });
        let message =
            format!("{}.{}", BASE64.encode(r#"{"alg":"HS256"}"#), BASE64.encode(claims.to_string()));
        let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes()), message.as_bytes());
        Ok(Self { key: key.expose().to_owned(), token: format!("{message}.{}", BASE64.encode(signature)) })
    }

    /// The headers by which the contract of a route knows them: one, or another.
    pub(crate) fn headers(&self, route: &Route) -> Vec<(&'static str, String)> {
        let (key, token) = (format!("Bearer {}", self.key), format!("Bearer {}", self.token));
        match route.path.as_str() {
            path if path.starts_with("/functions/") => vec![("authorization", token)],
            path if path.starts_with("/source-connections") => vec![("x-api-key", self.key.clone())],
            path if path.starts_with("/v1/") => vec![("authorization", key)],
            _ => vec![("authorization", key), ("authorization", token)],
        }
    }
}

/// What the paths name.
#[derive(Clone, Copy)]
pub(crate) struct Named {
    pub(crate) connection: ConnectionId,
    pub(crate) job: JobId,
    pub(crate) schema: SchemaId,
}

impl Named {
    fn path(&self, route: &Route) -> String {
        let id = if route.path.starts_with("/v1/schemas") {
            self.schema.to_string()
        } else if route.path.starts_with("/api/v1/connections") {
            self.connection.to_string()
        } else {
            self.job.to_string()
        };
        let path = route.path.replace("{connection}", &self.connection.to_string());
        let path = path.replace("{job}", &self.job.to_string()).replace("{id}", &id);
        assert!(!path.contains('{'), "{path}: a parameter that this test does not know");
        path
    }
}

/// The API, for as long as this is there.
pub(crate) struct Api {
    address: String,
    client: Client,
    _stop: DropGuard,
}

impl Api {
    pub(crate) async fn start(fixture: &Fixture) -> Result<Self> {
        let auth = AuthConfig {
            hs256_secret: SecretText::from(SECRET.to_owned()),
            issuer: "https://issuer.example".to_owned(),
            audience: "backhaul".to_owned(),
            ..AuthConfig::default()
        };
        let tokens = Tokens::start(&auth).map_err(anyhow::Error::msg)?;
        let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone())
            .with_tokens(tokens)
            .with_keyring(fixture.keyring()?);
        let health = Health::new(Metrics::detached()).router();
        let router = api::router(Arc::new(engine), &ApiConfig::default(), health);
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}", listener.local_addr()?);
        let stop = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        Ok(Self { address, client: Client::new(), _stop: stop.drop_guard() })
    }

    pub(crate) async fn call(
        &self,
        route: &Route,
        named: &Named,
        (header, credential): &(&'static str, String),
        body: &Value,
    ) -> Result<(StatusCode, String)> {
        let url = format!("{}{}", self.address, named.path(route));
        let mut request = self.client.request(route.method.clone(), url).header(*header, credential);
        if route.method == Method::POST {
            request = request.json(body);
        }
        let response = request.send().await?;
        Ok((response.status(), response.text().await?))
    }
}
