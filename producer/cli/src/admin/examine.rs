//! `connection test`: one page, as a job would fetch it, and then what the upstream's habits are.

use super::connection::{object, of_tenant};
use super::examined;
use crate::arguments::{base_url, source as known_source, time};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::Output;
use async_trait::async_trait;
use chrono::{DateTime, Utc};
use clap::Args;
use configuration::{FetchConfig, PagesConfig};
use protocol::slice::Span;
use serde::Serialize;
use serde_json::{Value, json};
use sources::Endpoint;
use sources::examine::{Asked, Examination, ExamineRequest, Examiner, Outcome, Verdict};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use store::connections::ConnectionView;
use store::limits::Admission;
use store::{Store, StoreError};
use tokio_util::sync::CancellationToken;
use url::Url;

/// What is to be tried.
#[derive(Debug, Args)]
pub(crate) struct TestConnection {
    /// A stored connection's name or identifier; what else is given changes it for this test alone
    #[arg(required_unless_present_all = ["source", "base_url"], requires = "tenant")]
    connection: Option<String>,
    /// The tenant's name or identifier
    #[arg(long, requires = "connection")]
    tenant: Option<String>,
    /// The kind of source
    #[arg(long, value_parser = known_source())]
    source: Option<String>,
    /// The upstream's address, http or https
    #[arg(long, value_name = "URL", value_parser = base_url)]
    base_url: Option<Url>,
    /// The upstream's credentials: a JSON object, @FILE, or @- for stdin [default: as stored, or none]
    #[arg(long, value_name = "JSON", env = "BACKHAUL_CREDENTIALS", hide_env_values = true)]
    credentials: Option<String>,
    /// Settings of the source: a JSON object, @FILE, or @- for stdin [default: as stored, or none]
    #[arg(long, value_name = "JSON")]
    settings: Option<String>,
    /// Start of the span, a date or an RFC 3339 time [default: no lower bound]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// End of the span, exclusive [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<DateTime<Utc>>,
    /// The page to fetch, as the page before it says `next` [default: the first one]
    #[arg(long)]
    cursor: Option<String>,
    /// How many records to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    show: usize,
    /// Changes to the settings for this test alone, as a JSON merge patch, @FILE, or @- for stdin: such as what a test proposes
    #[arg(long, value_name = "JSON")]
    patch: Option<String>,
    /// Fetch one page only, and learn nothing else of the upstream
    #[arg(long)]
    quick: bool,
}

pub(super) async fn run(context: &Context, given: TestConnection) -> Result<(), Failure> {
    let (stored, endpoint) = endpoint(context, &given).await?;
    let pages: PagesConfig = context.loaded().section("pages")?;
    let limits: FetchConfig = context.loaded().section("fetch")?;
    // Nothing is decided by it: a preview may use this machine's clock.
    let now = Utc::now();
    let span = Span { from: given.from, to: given.to.unwrap_or(now) };
    if span.from.is_some_and(|from| from >= span.to) {
        return Err(Failure::Usage("--from must be before --to (now, if absent)".to_owned()));
    }
    let scope = match &stored {
        Some((store, stored)) => lost_scope(store, stored, &endpoint).await?,
        None => None,
    };
    let request = ExamineRequest {
        span,
        cursor: given.cursor.as_deref(),
        budget: pages.budget,
        show: given.show,
        quick: given.quick,
        now,
    };
    let watcher = Watcher::new(context.output, stored);
    let seen = sources::examine::examine(&endpoint, request, limits, &watcher).await;
    let seen = seen.map_err(|error| Failure::Usage(error.to_string()))?;
    if context.output.is_json() {
        context.output.json(&Told { examination: &seen, scope: scope.as_ref() })?;
    } else {
        context.output.line(examined::text(&seen, scope.as_ref()))?;
    }
    match &seen.outcome {
        Outcome::Page(page) if page.verdict() != Verdict::AllFailed => Ok(()),
        Outcome::Page(_) | Outcome::Error(_) => Err(Failure::Shown),
    }
}

/// What is told to scripts.
#[derive(Debug, Serialize)]
struct Told<'a> {
    #[serde(flatten)]
    examination: &'a Examination,
    scope: Option<&'a LostScope>,
}

/// What is known of the stored connection, and would not be known with the settings that are tried.
#[derive(Debug, Serialize)]
pub(super) struct LostScope {
    /// Up to when it is known.
    pub(super) known_to: DateTime<Utc>,
}

async fn lost_scope(
    store: &Store,
    stored: &ConnectionView,
    tried: &Endpoint,
) -> Result<Option<LostScope>, Failure> {
    // Settings that are of no use have no scope: they are refused when they are opened.
    let Ok(scope) = sources::scope(&tried.kind, &tried.base_url, &tried.settings, stored.account) else {
        return Ok(None);
    };
    let known =
        store.connections().known(stored.id).await?.filter(|known| known.fingerprint != scope.fingerprint);
    Ok(known.map(|known| LostScope { known_to: known.known_to }))
}

/// Longer than this nobody waits for a request.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// Shows requests as they end, keeps to the limits of a stored connection, and ends early when it is interrupted.
struct Watcher {
    output: Output,
    stored: Option<(Store, ConnectionView)>,
    interrupted: CancellationToken,
    shown: AtomicU32,
}

impl Watcher {
    fn new(output: Output, stored: Option<(Store, ConnectionView)>) -> Self {
        let interrupted = CancellationToken::new();
        let signal = interrupted.clone();
        tokio::spawn(async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                signal.cancel();
            }
        });
        Self { output, stored, interrupted, shown: AtomicU32::new(0) }
    }
}

#[async_trait]
impl Examiner for Watcher {
    async fn turn(&self) -> Result<(), String> {
        let Some((store, connection)) = &self.stored else { return Ok(()) };
        let told = |error: StoreError| {
            format!("the database does not tell whether the upstream may be asked: {error}")
        };
        if let Some(left) = store.connections().rest_left(connection.id).await.map_err(told)? {
            return Err(format!("the upstream asked to be left alone, for {} s more", left.as_secs() + 1));
        }
        if connection.requests_per_second.is_none() {
            return Ok(());
        }
        loop {
            match store.connections().admit_request(connection.id, LONGEST_WAIT).await.map_err(told)? {
                Admission::After(wait) => {
                    tokio::time::sleep(wait).await;
                    return Ok(());
                }
                Admission::NotBefore(wait) if wait > LONGEST_WAIT => {
                    return Err("the connection's limit of requests per second is used up for now".to_owned());
                }
                Admission::NotBefore(wait) => tokio::time::sleep(wait).await,
            }
        }
    }

    fn asked(&self, asked: &Asked) {
        let number = self.shown.fetch_add(1, Ordering::Relaxed) + 1;
        if !self.output.is_json() {
            // With stdout closed the end says so.
            drop(self.output.line(examined::request(number, asked)));
        }
    }

    async fn interrupted(&self) {
        self.interrupted.cancelled().await;
    }
}

/// The stored connection, if one is meant, and what is tried: it with what was given instead.
async fn endpoint(
    context: &Context,
    given: &TestConnection,
) -> Result<(Option<(Store, ConnectionView)>, Endpoint), Failure> {
    let credentials = given.credentials.as_deref().map(|given| object("credentials", given)).transpose()?;
    let settings = given.settings.as_deref().map(|given| object("settings", given)).transpose()?;
    let patch = given.patch.as_deref().map(|given| object("patch", given)).transpose()?;
    let patched = |settings: Value| match &patch {
        Some(patch) => sources::examine::merge(&settings, patch),
        None => settings,
    };
    let (Some(connection), Some(tenant)) = (&given.connection, &given.tenant) else {
        let (Some(kind), Some(base_url)) = (given.source.clone(), given.base_url.clone()) else {
            let text = "name a stored connection and its --tenant, or give --source and --base-url";
            return Err(Failure::Usage(text.to_owned()));
        };
        let credentials = credentials.unwrap_or_else(|| json!({}));
        let settings = patched(settings.unwrap_or_else(|| json!({})));
        return Ok((None, Endpoint { kind, base_url, credentials, settings }));
    };
    let store = context.store()?;
    let tenant = context.tenant(&store, tenant).await?;
    let stored = of_tenant(&store, &tenant, connection).await?;
    let credentials = match credentials {
        Some(credentials) => credentials,
        None => {
            let sealed = store.connections().sealed_credentials(stored.id).await?;
            let opened = context.keyring()?.open(&stored.bound(), sealed.as_ref());
            opened.map_err(|error| Failure::Refused(error.to_string()))?
        }
    };
    let base_url = match &given.base_url {
        Some(base_url) => base_url.clone(),
        None => Url::parse(&stored.base_url).map_err(|error| {
            Failure::Refused(format!("the stored address {:?} is no URL: {error}", stored.base_url))
        })?,
    };
    let kind = given.source.clone().unwrap_or_else(|| stored.source.clone());
    let settings = patched(settings.unwrap_or_else(|| stored.settings.clone()));
    Ok((Some((store, stored)), Endpoint { kind, base_url, credentials, settings }))
}
