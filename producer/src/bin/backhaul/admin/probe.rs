//! `connection test`: one page, as a job would fetch it.

use super::connection::{object, of_tenant};
use crate::arguments::{base_url, source, time};
use crate::context::Context;
use crate::failure::Failure;
use crate::output::table;
use crate::show::number;
use chrono::{DateTime, Utc};
use clap::Args;
use common::config::{FetchConfig, PagesConfig};
use common::slice::Span;
use consumer::source::Endpoint;
use consumer::source::probe::{Fate, Outcome, PageSeen, Probe, ProbeRequest, probe};
use serde_json::json;
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
    #[arg(long, value_parser = source())]
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
    /// Beginning of the span, a date or an RFC 3339 time [default: no lower bound]
    #[arg(long, value_name = "TIME", value_parser = time)]
    from: Option<DateTime<Utc>>,
    /// End of the span, not part of it [default: now]
    #[arg(long, value_name = "TIME", value_parser = time)]
    to: Option<DateTime<Utc>>,
    /// The page to fetch, as the page before it says `next` [default: the first one]
    #[arg(long)]
    cursor: Option<String>,
    /// How many records to show
    #[arg(long, value_name = "N", default_value_t = 5)]
    show: usize,
}

pub(super) async fn run(context: &Context, given: TestConnection) -> Result<(), Failure> {
    let endpoint = endpoint(context, &given).await?;
    let pages: PagesConfig = context.loaded().section("pages")?;
    let limits: FetchConfig = context.loaded().section("fetch")?;
    // Nothing is decided by it: a preview may use this machine's clock.
    let span = Span { from: given.from, to: given.to.unwrap_or_else(Utc::now) };
    if span.from.is_some_and(|from| from >= span.to) {
        return Err(Failure::Usage("--from must be before --to (now, if absent)".to_owned()));
    }
    let request =
        ProbeRequest { span, cursor: given.cursor.as_deref(), budget: pages.budget, show: given.show };
    let seen = probe(&endpoint, request, limits).await.map_err(|error| Failure::Usage(error.to_string()))?;
    context.output.either(&seen, || text(&seen))?;
    match seen.outcome {
        Outcome::Page(_) => Ok(()),
        Outcome::Error(_) => Err(Failure::Shown),
    }
}

/// The stored connection, if one is meant, with what was given instead.
async fn endpoint(context: &Context, given: &TestConnection) -> Result<Endpoint, Failure> {
    let credentials = given.credentials.as_deref().map(|given| object("credentials", given)).transpose()?;
    let settings = given.settings.as_deref().map(|given| object("settings", given)).transpose()?;
    let (Some(connection), Some(tenant)) = (&given.connection, &given.tenant) else {
        let (Some(kind), Some(base_url)) = (given.source.clone(), given.base_url.clone()) else {
            let text = "name a stored connection and its --tenant, or give --source and --base-url";
            return Err(Failure::Usage(text.to_owned()));
        };
        let credentials = credentials.unwrap_or_else(|| json!({}));
        return Ok(Endpoint { kind, base_url, credentials, settings: settings.unwrap_or_else(|| json!({})) });
    };
    let store = context.store()?;
    let tenant = context.tenant(&store, tenant).await?;
    let stored = of_tenant(&store, &tenant, connection).await?;
    let credentials = match credentials {
        Some(credentials) => credentials,
        None => {
            let sealed = store.sealed_credentials(stored.id).await?;
            let opened = context.keyring()?.open(stored.id, sealed.as_ref());
            opened.map_err(|error| Failure::Refused(error.to_string()))?
        }
    };
    let base_url = match &given.base_url {
        Some(base_url) => base_url.clone(),
        None => Url::parse(&stored.base_url).map_err(|error| {
            Failure::Refused(format!("the stored address {:?} is no URL: {error}", stored.base_url))
        })?,
    };
    Ok(Endpoint {
        kind: given.source.clone().unwrap_or(stored.source),
        base_url,
        credentials,
        settings: settings.unwrap_or(stored.settings),
    })
}

fn text(seen: &Probe) -> String {
    let mut lines = Vec::new();
    for asked in &seen.requests {
        let status = asked.status.map_or_else(|| "no answer".to_owned(), |status| status.to_string());
        lines.push(format!("GET {}\n    {status}, after {} ms", asked.url, asked.elapsed_ms));
    }
    match &seen.outcome {
        Outcome::Page(page) => lines.extend(page_lines(page, seen.elapsed_ms)),
        Outcome::Error(error) => {
            lines.push(format!("✗ {}", error.cause));
            lines.extend(error.body.as_ref().map(|body| format!("The answer began with:\n{body}")));
        }
    }
    lines.extend(seen.advice.iter().map(|advice| format!("! {advice}")));
    lines.join("\n")
}

fn page_lines(page: &PageSeen, elapsed_ms: u64) -> Vec<String> {
    let count = |count: usize| number(i64::try_from(count).unwrap_or(i64::MAX));
    let total = page.total.map_or_else(|| "unknown".to_owned(), number);
    let mut lines = vec![format!(
        "✓ {} records: {} would be stored, {} deferred, {} failed; {} dropped, as outside the span\n    {} bytes, read \
         in {elapsed_ms} ms; total {total}",
        count(page.stored + page.deferred + page.failed + page.dropped),
        count(page.stored),
        count(page.deferred),
        count(page.failed),
        count(page.dropped),
        count(page.bytes),
    )];
    let time = |time: Option<DateTime<Utc>>| time.map(|time| time.to_rfc3339()).unwrap_or_default();
    let mut table = table(["RECORD", "TIME", "WOULD BE", "REASON"]);
    for record in &page.records {
        let would_be = match record.would_be {
            Fate::Stored => "stored",
            Fate::Deferred => "deferred",
            Fate::Failed => "failed",
        };
        let reason = record.reason.clone().unwrap_or_default();
        table.add_row([record.id.clone(), time(record.time), would_be.to_owned(), reason]);
    }
    for record in &page.outside {
        let row = [record.id.clone(), time(record.time), "dropped".to_owned(), "outside the span".to_owned()];
        table.add_row(row);
    }
    if !table.is_empty() {
        lines.push(table.trim_fmt());
    }
    lines.push(match &page.next {
        Some(next) => format!("next page: {next}"),
        None => "no next page: the list ends here".to_owned(),
    });
    lines
}
