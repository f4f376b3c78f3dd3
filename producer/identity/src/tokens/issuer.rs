//! The issuer's key set, kept up to date: by age in the background, and once in a while for a token whose key is not in
//! it, since issuers change their keys. A fetch that fails changes nothing.

use super::key_set::KeySet;
use configuration::AuthConfig;
use jsonwebtoken::Algorithm;
use reqwest::{Client, StatusCode, redirect};
use std::error::Error;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, watch};
use tokio::time::Instant;
use tokio_util::sync::{CancellationToken, DropGuard};

/// The largest set that is read, in bytes; a key has about 500.
const MOST_BYTES: usize = 256 * 1024;

/// Keeps the set.
#[derive(Debug)]
pub(super) struct Issuer {
    shared: Arc<Shared>,
    /// Ends the background.
    _stop: DropGuard,
}

#[derive(Debug)]
struct Shared {
    client: Client,
    url: String,
    /// The same, fit to be shown.
    shown: String,
    again: Duration,
    set: watch::Sender<Option<Arc<KeySet>>>,
    /// Whoever fetches holds it, so that there is one fetch at a time.
    last: Mutex<Last>,
}

#[derive(Debug, Default)]
struct Last {
    tried: Option<Instant>,
    failed: bool,
}

impl Issuer {
    /// Begins to fetch.
    pub(super) fn start(config: &AuthConfig) -> Result<Self, String> {
        sealing::install_tls_provider();
        let client = Client::builder()
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .timeout(config.fetch_timeout)
            // Whoever may redirect may replace the keys: the address that was configured answers itself, or nobody does.
            .redirect(redirect::Policy::none())
            .no_proxy()
            .pool_max_idle_per_host(0)
            .build()
            .map_err(|error| format!("the key set cannot be fetched: {error}"))?;
        let shared = Arc::new(Shared {
            client,
            url: config.jwks_url.expose().to_owned(),
            shown: config.jwks_url.to_string(),
            again: config.refresh_again,
            set: watch::Sender::default(),
            last: Mutex::default(),
        });
        let stop = CancellationToken::new();
        let background = refresh_for_ever(Arc::clone(&shared), config.refresh_every);
        tokio::spawn(stop.clone().run_until_cancelled_owned(background));
        Ok(Self { shared, _stop: stop.drop_guard() })
    }

    /// The set, fetched once more if it lacks this key and that has not been tried just now. None if there never was one.
    pub(super) async fn with(&self, id: Option<&str>, algorithm: Algorithm) -> Option<Arc<KeySet>> {
        let seen = self.shared.current();
        if seen.as_ref().is_some_and(|set| set.find(id, algorithm).is_some()) {
            return seen;
        }
        let mut last = self.shared.last.lock().await;
        let renewed = match (&seen, &self.shared.current()) {
            (Some(seen), Some(current)) => !Arc::ptr_eq(seen, current),
            (None, current) => current.is_some(),
            (Some(_), None) => false,
        };
        let tried = last.tried.is_some_and(|at| at.elapsed() < self.shared.again);
        if !renewed && !tried {
            self.shared.refresh(&mut last).await;
        }
        self.shared.current()
    }
}

async fn refresh_for_ever(shared: Arc<Shared>, every: Duration) {
    loop {
        let mut last = shared.last.lock().await;
        let fetched = shared.refresh(&mut last).await;
        drop(last);
        tokio::time::sleep(if fetched { every } else { shared.again.min(every) }).await;
    }
}

impl Shared {
    fn current(&self) -> Option<Arc<KeySet>> {
        self.set.borrow().clone()
    }

    async fn refresh(&self, last: &mut Last) -> bool {
        last.tried = Some(Instant::now());
        let url = &self.shown;
        match self.fetch().await {
            Ok(set) => {
                if set.len() == 0 {
                    tracing::warn!(
                        url,
                        "the issuer's key set has no RS256 or ES256 key: no such token is accepted"
                    );
                } else if last.failed || self.current().is_none() {
                    tracing::info!(url, keys = set.len(), "the issuer's key set is here");
                }
                last.failed = false;
                self.set.send_replace(Some(Arc::new(set)));
            }
            // Said once per outage.
            Err(why) if last.failed => {
                tracing::debug!(url, why, "the issuer's key set still cannot be fetched");
            }
            Err(why) => {
                last.failed = true;
                tracing::warn!(
                    url,
                    why,
                    "the issuer's key set cannot be fetched; the one that is here, if any, stays"
                );
            }
        }
        !last.failed
    }

    async fn fetch(&self) -> Result<KeySet, String> {
        let mut response = self.client.get(&self.url).send().await.map_err(in_words)?;
        match response.status() {
            StatusCode::OK => {}
            status if status.is_redirection() => {
                return Err(format!(
                    "{status}: redirects are not followed; set auth.jwks_url to where it leads"
                ));
            }
            status => return Err(status.to_string()),
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(in_words)? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MOST_BYTES {
                return Err(format!("it has more than {MOST_BYTES} bytes"));
            }
        }
        KeySet::read(&bytes)
    }
}

/// An error of the client and its causes, without the address, which may hold a password.
fn in_words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        words = format!("{words}: {error}");
        cause = error.source();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use configuration::SecretUrl;
    use tokio::net::TcpListener;

    async fn fetched(bytes: usize) -> Result<usize, String> {
        let set = r#"{"keys":[{"kty":"RSA","kid":"a","n":"AQAB","e":"AQAB"}]}"#;
        let set = format!("{set}{}", " ".repeat(bytes - set.len()));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let jwks_url = SecretUrl::new(format!("http://{}/", listener.local_addr().unwrap()));
        let serving =
            tokio::spawn(async { axum::serve(listener, Router::new().fallback(async || set)).await });
        let issuer = Issuer::start(&AuthConfig { jwks_url, ..AuthConfig::default() }).unwrap();
        let fetched = issuer.shared.fetch().await;
        serving.abort();
        fetched.map(|set| set.len())
    }

    #[tokio::test]
    async fn a_set_has_no_more_bytes_than_its_limit() {
        assert_eq!(fetched(MOST_BYTES).await, Ok(1));
        assert_eq!(fetched(MOST_BYTES + 1).await, Err("it has more than 262144 bytes".to_owned()));
    }
}
