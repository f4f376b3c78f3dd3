//! Bounded HTTP: one GET at a time, with a limit on everything that an upstream can make grow.
//!
//! Limited are: the time of the whole exchange (its budget), the bytes of a body, the bytes of all bodies of the
//! process, the number of redirects and where they lead, and which addresses may be connected to. What an answer's
//! status means is decided in `status`; what its body means is the source's business.

mod address;
mod body;
mod config;
mod status;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::error::quote;
use super::{FetchError, Reservation};
pub use config::{FetchConfig, FetchConfigError};

/// How many redirects are followed, all on the connection's own scheme, host and port.
const MAX_REDIRECTS: usize = 3;

/// The process's one HTTP client.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    config: FetchConfig,
    /// One permit for each page that may outgrow its small share at the same time.
    large_pages: Arc<Semaphore>,
}

/// One GET.
#[derive(Clone, Debug)]
pub struct Get<'a> {
    /// What to get.
    pub url: Url,
    /// The header that carries the credentials.
    pub auth: Option<&'a (HeaderName, HeaderValue)>,
    /// How long the whole exchange may take.
    pub budget: Duration,
}

/// The whole body of an answer with status 200.
#[derive(Debug)]
pub struct Body {
    /// The bytes, decompressed.
    pub bytes: Vec<u8>,
    /// Where the answer came from, redirects followed.
    pub url: Url,
    /// The answer's content type, for error messages.
    pub content_type: String,
    /// The body's share of the process's byte budget.
    pub reservation: Reservation,
}

impl Fetcher {
    /// Builds the client. `slots` is how many pages this process fetches at a time.
    pub fn new(config: FetchConfig, slots: usize) -> Result<Self, FetchConfigError> {
        config.check(slots).map_err(FetchConfigError::Limit)?;
        common::telemetry::install_tls_provider();
        let client = Client::builder()
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .redirect(redirect::Policy::custom(judge_redirect))
            .dns_resolver(address::Resolver { allow_private: config.allow_private_addresses })
            // A proxy from the environment would resolve names itself, past the check of addresses.
            .no_proxy()
            // The URL of a page may not travel to where a redirect leads.
            .referer(false)
            // One connection per page in flight. Over HTTP/2 a page that waits for the byte budget would hold the
            // flow-control window of the page that it waits for; and an aborted page would not close its connection.
            .http1_only()
            .pool_max_idle_per_host(slots)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        let large_pages = Arc::new(Semaphore::new(config.large_pages(slots)));
        Ok(Self { client, config, large_pages })
    }

    /// The limits in force.
    #[must_use]
    pub const fn config(&self) -> &FetchConfig {
        &self.config
    }

    /// Gets one body. Dropping the future closes the connection.
    pub async fn get(&self, get: Get<'_>) -> Result<Body, FetchError> {
        if !self.config.allow_private_addresses {
            address::check_literal(&get.url).map_err(|refused| FetchError::permanent(refused.to_string()))?;
        }
        let budget = get.budget;
        let deadline = Instant::now() + budget;
        match tokio::time::timeout_at(deadline, self.exchange(get, deadline)).await {
            Ok(answered) => answered,
            Err(_elapsed) => Err(FetchError::transient(format!("no complete answer within {budget:?}"))),
        }
    }

    async fn exchange(&self, get: Get<'_>, deadline: Instant) -> Result<Body, FetchError> {
        let mut request = self.client.get(get.url).header(ACCEPT, "application/json");
        if let Some((name, value)) = get.auth {
            request = request.header(name, value);
        }
        let response = request.send().await.map_err(|error| explain("no answer from the upstream", error))?;
        if response.status() != StatusCode::OK {
            return Err(status::refusal(response, deadline).await);
        }
        let url = response.url().clone();
        let content_type = content_type(&response);
        let (bytes, reservation) = body::read(response, &self.config, &self.large_pages, deadline).await?;
        Ok(Body { bytes, url, content_type, reservation })
    }
}

/// A redirect that is not followed. A credential of the connection's own header would go along with it.
#[derive(Debug, thiserror::Error)]
enum RedirectRefused {
    #[error("redirect to another host ({0}): set the connection's base URL to where the upstream really is")]
    Elsewhere(String),
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
}

fn judge_redirect(attempt: redirect::Attempt<'_>) -> redirect::Action {
    // The first of the previous URLs is the one that was asked for.
    let here = attempt.previous().first().is_some_and(|first| same_origin(first, attempt.url()));
    if !here {
        let elsewhere = quote(&attempt.url().origin().ascii_serialization());
        attempt.error(RedirectRefused::Elsewhere(elsewhere))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RedirectRefused::TooMany)
    } else {
        attempt.follow()
    }
}

/// Whether two URLs have the same scheme, host and port.
pub(super) fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

fn content_type(response: &Response) -> String {
    let value = response.headers().get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map_or_else(|| "not given".to_owned(), |value| quote(&value))
}

/// Sorts an error of the client. Our own refusals are permanent; what the network did may pass.
fn explain(what: &str, error: reqwest::Error) -> FetchError {
    // The query may hold what should not be in an error.
    let error = error.without_url();
    let mut words: Vec<String> = Vec::new();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<RedirectRefused>() || error.is::<address::AddressRefused>() {
            return FetchError::permanent(error.to_string());
        }
        let word = error.to_string();
        if words.last() != Some(&word) {
            words.push(word);
        }
        cause = error.source();
    }
    FetchError::transient(format!("{what}: {}", words.join(": ")))
}
