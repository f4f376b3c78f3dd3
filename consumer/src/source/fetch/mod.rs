//! Bounded HTTP: one GET at a time, with a limit on everything that an upstream can make grow.
//!
//! Limited are: the time of the whole exchange (its budget), the bytes of a body, the bytes of all bodies of the
//! process, the number of redirects and where they lead, and which addresses may be connected to. What an answer's
//! status means is decided in `status`; what its body means is the source's business.

mod address;
mod body;
mod config;
mod exchange;
#[cfg(test)]
mod fuzz;
mod status;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderName, HeaderValue, LINK};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use url::Url;

use super::FetchError;
use super::error::quote;
pub use body::Allowance;
pub use config::{FetchConfig, FetchConfigError};
pub use exchange::{Exchange, Exchanges};

/// How many redirects are followed, all on the connection's own scheme, host and port.
const MAX_REDIRECTS: usize = 3;

/// The process's one HTTP client.
#[derive(Debug)]
pub struct Fetcher {
    client: Client,
    config: FetchConfig,
    /// One permit for each page that may outgrow its small share at the same time.
    large_pages: Arc<Semaphore>,
    /// Where requests are noted, if anybody wants to see them.
    watched: Option<Exchanges>,
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
    /// The values of its `Link` headers, in order.
    pub links: Vec<String>,
}

/// What came of asking for one record.
#[derive(Debug)]
pub enum Found {
    /// An answer with status 200.
    Body(Body),
    /// The upstream does not have it, or takes its id for none: 400, 404, 410, 422.
    Not {
        /// The status.
        status: StatusCode,
        /// The same in words.
        why: String,
    },
}

impl Fetcher {
    /// Builds the client. `slots` is how many pages this process fetches at a time.
    pub fn new(config: FetchConfig, slots: usize) -> Result<Self, FetchConfigError> {
        config.check(slots).map_err(FetchConfigError::Limit)?;
        common::telemetry::install_tls_provider();
        let client = Client::builder()
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .tls_certs_merge(config::trusted(config.ca_file.as_deref())?)
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
        Ok(Self { client, config, large_pages, watched: None })
    }

    /// The same, and what it asks of upstreams.
    pub fn watched(config: FetchConfig, slots: usize) -> Result<(Self, Exchanges), FetchConfigError> {
        let exchanges = Exchanges::default();
        Ok((Self { watched: Some(exchanges.clone()), ..Self::new(config, slots)? }, exchanges))
    }

    /// The limits in force.
    #[must_use]
    pub const fn config(&self) -> &FetchConfig {
        &self.config
    }

    /// What the bodies of one page may take of the process's byte budget.
    #[must_use]
    pub fn allowance(&self, budget: Duration) -> Allowance {
        Allowance::new(&self.config, &self.large_pages, Instant::now() + budget)
    }

    /// Gets one body, which counts as part of a page. Dropping the future closes the connection.
    pub async fn get(&self, get: Get<'_>, allowance: &Allowance) -> Result<Body, FetchError> {
        let (response, deadline) = self.answer(&get).await?;
        if response.status() != StatusCode::OK {
            return Err(status::refusal(response, deadline).await);
        }
        read(response, allowance, get.budget, deadline).await
    }

    /// Gets one body of several, where an answer may say that there is none.
    pub async fn find(&self, get: Get<'_>, allowance: &Allowance) -> Result<Found, FetchError> {
        let (response, deadline) = self.answer(&get).await?;
        match response.status() {
            StatusCode::OK => Ok(Found::Body(read(response, allowance, get.budget, deadline).await?)),
            status @ (StatusCode::BAD_REQUEST
            | StatusCode::NOT_FOUND
            | StatusCode::GONE
            | StatusCode::UNPROCESSABLE_ENTITY) => Ok(Found::Not { status, why: status::cause(status) }),
            _ => Err(status::refusal(response, deadline).await),
        }
    }

    /// The head of the answer, and when its body must have come.
    async fn answer(&self, get: &Get<'_>) -> Result<(Response, Instant), FetchError> {
        if !self.config.allow_private_addresses {
            address::check_literal(&get.url).map_err(|refused| FetchError::permanent(refused.to_string()))?;
        }
        let deadline = Instant::now() + get.budget;
        let mut noted = self.watched.as_ref().map(|exchanges| exchanges.begin(&get.url));
        let mut request = self.client.get(get.url.clone()).header(ACCEPT, "application/json");
        if let Some((name, value)) = get.auth {
            request = request.header(name, value);
        }
        match tokio::time::timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => {
                if let Some(noted) = &mut noted {
                    noted.answered(response.status(), response.url());
                }
                Ok((response, deadline))
            }
            Ok(Err(error)) => Err(explain("no answer from the upstream", error)),
            Err(_elapsed) => Err(too_late(get.budget)),
        }
    }
}

async fn read(
    response: Response,
    allowance: &Allowance,
    budget: Duration,
    deadline: Instant,
) -> Result<Body, FetchError> {
    let (url, content_type) = (response.url().clone(), content_type(&response));
    let links = response.headers().get_all(LINK).iter();
    let links = links.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned()).collect();
    match tokio::time::timeout_at(deadline, body::read(response, allowance)).await {
        Ok(bytes) => Ok(Body { bytes: bytes?, url, content_type, links }),
        Err(_elapsed) => Err(too_late(budget)),
    }
}

fn too_late(budget: Duration) -> FetchError {
    FetchError::transient(format!("no complete answer within {budget:?}"))
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
