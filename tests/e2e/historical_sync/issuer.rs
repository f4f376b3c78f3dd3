//! An issuer of tokens: serves its key set over HTTP, or does something else.

use super::signer::{AUDIENCE, ISSUER};
use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use configuration::{AuthConfig, SecretUrl};
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What it answers with.
#[derive(Clone)]
pub(crate) enum Serves {
    Keys(Vec<Value>),
    Status(StatusCode),
    RedirectTo(String),
    /// So many bytes of a set that is none.
    Bytes(usize),
    /// Nothing, ever.
    Silence,
}

struct Shared {
    serves: watch::Sender<Serves>,
    asked: watch::Sender<usize>,
}

pub(crate) struct Issuer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _stop: DropGuard,
}

impl Issuer {
    pub(crate) async fn start(serves: Serves) -> Result<Self> {
        let shared = Arc::new(Shared { serves: watch::Sender::new(serves), asked: watch::Sender::new(0) });
        let router = Router::new().route("/jwks", get(answer)).with_state(Arc::clone(&shared));
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let stop = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        Ok(Self { address, shared, _stop: stop.drop_guard() })
    }

    pub(crate) async fn of(keys: impl IntoIterator<Item = Value>) -> Result<Self> {
        Self::start(Serves::Keys(keys.into_iter().collect())).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/jwks", self.address)
    }

    /// Its keys are believed. The set is fetched again for an unknown key at once, and by age never within a test.
    pub(crate) fn believed(&self) -> AuthConfig {
        AuthConfig {
            jwks_url: SecretUrl::new(self.url()),
            issuer: ISSUER.to_owned(),
            audience: AUDIENCE.to_owned(),
            refresh_again: Duration::from_nanos(1),
            ..AuthConfig::default()
        }
    }

    /// Answers so from now on.
    pub(crate) fn serve(&self, serves: Serves) {
        self.shared.serves.send_replace(serves);
    }

    pub(crate) fn serve_keys(&self, keys: impl IntoIterator<Item = Value>) {
        self.serve(Serves::Keys(keys.into_iter().collect()));
    }

    /// How often it was asked.
    pub(crate) fn asked(&self) -> usize {
        *self.shared.asked.borrow()
    }

    /// Waits until it was asked so often.
    pub(crate) async fn until_asked(&self, times: usize) -> Result<()> {
        let mut asked = self.shared.asked.subscribe();
        let waited = tokio::time::timeout(Duration::from_secs(60), asked.wait_for(|asked| *asked >= times));
        waited.await??;
        Ok(())
    }
}

async fn answer(State(shared): State<Arc<Shared>>) -> Response {
    shared.asked.send_modify(|asked| *asked += 1);
    let serves = shared.serves.borrow().clone();
    match serves {
        Serves::Keys(keys) => axum::Json(json!({ "keys": keys })).into_response(),
        Serves::Status(status) => status.into_response(),
        Serves::RedirectTo(url) => (StatusCode::FOUND, [(header::LOCATION, url)]).into_response(),
        Serves::Bytes(number) => " ".repeat(number).into_response(),
        Serves::Silence => std::future::pending().await,
    }
}
