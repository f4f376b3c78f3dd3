//! Bounded HTTP: one GET at a time, with a limit on everything that an upstream can make grow.
//!
//! Limited are: the time of the whole exchange (its budget), the bytes of a body, the bytes of all bodies of the
//! process, the number of redirects and where they lead, and which addresses may be connected to. What an answer's
//! status means is decided in `status`; what its body means is the source's business.

mod address;
mod body;
mod config;
mod encoding;
mod exchange;
#[cfg(test)]
mod fuzz;
mod limits;
mod shares;
mod status;

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use protocol::ids::TenantId;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue,
    TRANSFER_ENCODING,
};
use reqwest::{Client, Response, StatusCode, redirect};
use tokio::time::Instant;
use url::Url;

use super::FetchError;
use super::error::quote;
pub use body::Allowance;
pub use config::{FetchConfig, FetchConfigError};
use exchange::Noted;
pub use exchange::{Exchange, Exchanges, Ration};
pub use limits::RestRules;
pub(crate) use shares::Share;
use shares::{Owner, Shares};

/// How many redirects are followed, all on the connection's own scheme, host and port.
const MAX_REDIRECTS: usize = 3;

/// The process's one HTTP client. Clones share everything.
#[derive(Clone, Debug)]
pub struct Fetcher {
    client: Client,
    config: Arc<FetchConfig>,
    /// One for each page that may outgrow its small share at the same time.
    large_pages: Shares,
    /// Whose pages are fetched.
    owner: Owner,
    /// Where requests are noted, and how many there may be, if anybody wants to see them.
    watched: Option<(Exchanges, Ration)>,
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
    /// How the upstream asks to be left alone.
    pub rest: &'a RestRules,
}

impl Get<'_> {
    /// Without credentials, and with what the standards say about limits.
    #[must_use]
    pub fn new(url: Url, budget: Duration) -> Self {
        static STANDARD: RestRules = RestRules::DEFAULT;
        Self { url, auth: None, budget, rest: &STANDARD }
    }
}

/// The whole body of an answer: of one with status 200, or the empty one of 204.
#[derive(Debug)]
pub struct Body {
    /// The answer's status.
    pub status: StatusCode,
    /// The bytes, decoded.
    pub bytes: Vec<u8>,
    /// Whether the answer said where its body ends. Else the end of the connection is its end, and may be a cut.
    pub is_framed: bool,
    /// Where the answer came from, redirects followed.
    pub url: Url,
    /// The answer's content type, for error messages.
    pub content_type: String,
    /// The answer's headers.
    pub headers: HeaderMap,
}

/// What came of a GET.
#[derive(Debug)]
pub enum Answered {
    /// The upstream has answered what it was asked.
    Body(Body),
    /// It refuses, for now or for good.
    Refused {
        /// With which status.
        status: StatusCode,
        /// What that means.
        error: FetchError,
    },
}

impl Fetcher {
    /// Builds the client. `slots` is how many pages this process fetches at a time.
    pub fn new(config: FetchConfig, slots: usize) -> Result<Self, FetchConfigError> {
        Self::build(config, slots, None)
    }

    /// One that asks no more than its ration, and what it asks of upstreams. With it go the answers, so it is for a few
    /// requests.
    pub fn watched(
        config: FetchConfig,
        slots: usize,
        ration: Ration,
    ) -> Result<(Self, Exchanges), FetchConfigError> {
        let exchanges = Exchanges::default();
        Ok((Self::build(config, slots, Some((exchanges.clone(), ration)))?, exchanges))
    }

    fn build(
        config: FetchConfig,
        slots: usize,
        watched: Option<(Exchanges, Ration)>,
    ) -> Result<Self, FetchConfigError> {
        let ration = watched.as_ref().map(|(_, ration)| ration.clone());
        config.check(slots).map_err(FetchConfigError::Limit)?;
        sealing::install_tls_provider();
        let client = Client::builder()
            .user_agent(concat!("backhaul/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(config.connect_timeout)
            .tls_certs_merge(config::trusted(config.ca_file.as_deref())?)
            .redirect(redirect::Policy::custom(move |attempt| judge_redirect(attempt, ration.as_ref())))
            .dns_resolver(address::Resolver { allow_private: config.allow_private_addresses })
            // A proxy from the environment would resolve names itself, past the check of addresses.
            .no_proxy()
            // The URL of a page may not travel to where a redirect leads.
            .referer(false)
            // One connection per page in flight. Over HTTP/2 a page that waits for the byte budget would hold the
            // flow-control window of the page that it waits for; and an aborted page would not close its connection.
            .http1_only()
            // Control characters in a cookie must cost nothing. What is left out has no meaning that could be relied on.
            .http1_ignore_invalid_headers_in_responses(true)
            .pool_max_idle_per_host(slots)
            .pool_idle_timeout(Duration::from_secs(30))
            .build()?;
        let large_pages = Shares::new(config.large_pages(slots));
        Ok(Self { client, config: Arc::new(config), large_pages, owner: None, watched })
    }

    /// The same client for the pages of a tenant, who take turns with those of others for the byte budget.
    #[must_use]
    pub fn of_tenant(&self, tenant: TenantId) -> Self {
        Self { owner: Some(tenant), ..self.clone() }
    }

    /// The limits in force.
    #[must_use]
    pub fn config(&self) -> &FetchConfig {
        &self.config
    }

    /// What the bodies of one page may take of the process's byte budget.
    #[must_use]
    pub fn allowance(&self, budget: Duration) -> Allowance {
        Allowance::new(&self.config, &self.large_pages, self.owner, budget)
    }

    /// Gets one body, which counts as part of a page. Dropping the future closes the connection.
    pub async fn get(&self, get: Get<'_>, allowance: &Allowance) -> Result<Body, FetchError> {
        match self.ask(get, allowance).await? {
            Answered::Body(body) => Ok(body),
            Answered::Refused { error, .. } => Err(error),
        }
    }

    /// The same, where a refusal may mean something else than an error.
    pub async fn ask(&self, get: Get<'_>, allowance: &Allowance) -> Result<Answered, FetchError> {
        tokio::select! {
            answered = self.exchange(get, allowance) => answered,
            needed = allowance.is_needed() => Err(needed),
        }
    }

    async fn exchange(&self, get: Get<'_>, allowance: &Allowance) -> Result<Answered, FetchError> {
        let (response, deadline, mut noted) = self.answer(&get).await?;
        let status = response.status();
        match status {
            StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION | StatusCode::NO_CONTENT => {
                let body = read(response, allowance, get.budget, deadline).await?;
                if let Some(noted) = &mut noted {
                    noted.read(&body.bytes);
                }
                Ok(Answered::Body(body))
            }
            _ => {
                let error = status::refusal(response, get.rest, deadline).await;
                Ok(Answered::Refused { status, error })
            }
        }
    }

    /// The head of the answer, and when its body must have come.
    async fn answer(&self, get: &Get<'_>) -> Result<(Response, Instant, Option<Noted>), FetchError> {
        if !self.config.allow_private_addresses {
            address::check_literal(&get.url).map_err(|refused| FetchError::permanent(refused.to_string()))?;
        }
        let deadline = Instant::now() + get.budget;
        if self.watched.as_ref().is_some_and(|(_, ration)| !ration.take()) {
            return Err(FetchError::permanent(RationSpent.to_string()));
        }
        let mut noted = self.watched.as_ref().map(|(exchanges, _)| exchanges.begin(&get.url));
        let mut request = self
            .client
            .get(get.url.clone())
            .header(ACCEPT, "application/json")
            .header(ACCEPT_ENCODING, encoding::ACCEPTED)
            // Pages from a cache may be of different times, and then records are missing between them.
            .header(CACHE_CONTROL, "no-cache");
        if let Some((name, value)) = get.auth {
            request = request.header(name, value);
        }
        match tokio::time::timeout_at(deadline, request.send()).await {
            Ok(Ok(response)) => {
                if let Some(noted) = &mut noted {
                    noted.answered(response.status(), response.url(), response.headers());
                }
                Ok((response, deadline, noted))
            }
            Ok(Err(error)) => Err(explain("no answer from the upstream", error)),
            Err(_elapsed) => Err(too_late(get.budget)),
        }
    }
}

async fn read(
    mut response: Response,
    allowance: &Allowance,
    budget: Duration,
    deadline: Instant,
) -> Result<Body, FetchError> {
    let (status, url) = (response.status(), response.url().clone());
    let headers = std::mem::take(response.headers_mut());
    let layers = encoding::Layers::of(&headers);
    let mut content_type = content_type(&headers);
    if let Some(unknown) = &layers.unknown {
        content_type = format!("{content_type}, encoded as {unknown}");
    }
    let is_framed = headers.contains_key(CONTENT_LENGTH) || headers.contains_key(TRANSFER_ENCODING);
    let reading = async { encoding::decode(body::read(response, allowance).await?, layers, allowance).await };
    match tokio::time::timeout_at(deadline, reading).await {
        Ok(bytes) => Ok(Body { status, bytes: bytes?, is_framed, url, content_type, headers }),
        Err(_elapsed) => Err(allowance.without_room().unwrap_or_else(|| too_late(budget))),
    }
}

fn too_late(budget: Duration) -> FetchError {
    FetchError::transient(format!("no complete answer within {budget:?}"))
}

/// No more requests may be sent.
#[derive(Debug, thiserror::Error)]
#[error("no more requests may be sent")]
struct RationSpent;

/// A redirect that is not followed. A credential of the connection's own header would go along with it.
#[derive(Debug, thiserror::Error)]
enum RedirectRefused {
    #[error("redirect to another host ({0}): set the connection's base URL to where the upstream really is")]
    Elsewhere(String),
    #[error("more than {MAX_REDIRECTS} redirects")]
    TooMany,
}

fn judge_redirect(attempt: redirect::Attempt<'_>, ration: Option<&Ration>) -> redirect::Action {
    // The first of the previous URLs is the one that was asked for.
    let here = attempt.previous().first().is_some_and(|first| same_origin(first, attempt.url()));
    if !here {
        let elsewhere = quote(&attempt.url().origin().ascii_serialization());
        attempt.error(RedirectRefused::Elsewhere(elsewhere))
    } else if attempt.previous().len() > MAX_REDIRECTS {
        attempt.error(RedirectRefused::TooMany)
    } else if ration.is_some_and(|ration| !ration.take()) {
        attempt.error(RationSpent)
    } else {
        attempt.follow()
    }
}

/// Whether two URLs have the same scheme, host and port.
fn same_origin(one: &Url, other: &Url) -> bool {
    one.scheme() == other.scheme()
        && one.host() == other.host()
        && one.port_or_known_default() == other.port_or_known_default()
}

fn content_type(headers: &HeaderMap) -> String {
    let value = headers.get(CONTENT_TYPE).map(|value| String::from_utf8_lossy(value.as_bytes()));
    value.map_or_else(|| "not given".to_owned(), |value| quote(&value))
}

/// Sorts an error of the client. Our own refusals are permanent; what the network did may pass.
fn explain(what: &str, error: reqwest::Error) -> FetchError {
    // The query may hold what should not be in an error.
    let error = error.without_url();
    let mut words: Vec<String> = Vec::new();
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if error.is::<RedirectRefused>() || error.is::<RationSpent>() || error.is::<address::AddressRefused>()
        {
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
