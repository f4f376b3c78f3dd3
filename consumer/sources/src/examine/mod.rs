//! Examines an upstream: fetches its first page and says what was understood of it, and then asks a few more pages to learn
//! how the upstream behaves. Nothing is stored and no job is made: it is for whoever sets a connection up.

mod advice;
mod evidence;
mod finding;
mod found;
mod inquiry;
mod mask;
mod patch;
mod plan;
mod seen;

use std::time::Duration;

use chrono::{DateTime, Utc};
use protocol::slice::Span;
use sealing::Redactor;
use serde::Serialize;
use serde_json::Value;
use tokio::time::Instant;

use super::fetch::Ration;
use super::paged_json::{self, Lens};
use super::{
    Endpoint, FetchConfig, FetchConfigError, FetchError, FetchedPage, Fetcher, SourceError, open, registry,
};
use evidence::{Evidence, Sight};
pub use finding::{Finding, FindingKind};
use inquiry::Inquiry;
pub use inquiry::{Asked, Examiner};
use mask::Mask;
pub use patch::merge;
use plan::Paged;
pub use seen::{ErrorKind, ErrorSeen, Fate, Outcome, PageSeen, Reason, RecordSeen, Verdict};

/// No examination sends more requests than this, redirects included.
pub const MOST_REQUESTS: u32 = 12;

/// What to fetch, and how much of it to show.
#[derive(Clone, Copy, Debug)]
pub struct ExamineRequest<'a> {
    /// The span that a slice would have.
    pub span: Span,
    /// A checkpoint; `None` asks for the first page.
    pub cursor: Option<&'a str>,
    /// How long one fetch may take.
    pub budget: Duration,
    /// How many records are shown.
    pub show: usize,
    /// Whether to fetch this one page only, and to learn nothing else.
    pub quick: bool,
    /// The time.
    pub now: DateTime<Utc>,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum ExamineError {
    /// The connection's settings, address or credentials.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The limits of fetching.
    #[error(transparent)]
    Fetch(#[from] FetchConfigError),
}

/// What came of it. Secrets of the connection are masked everywhere.
#[derive(Clone, Debug, Serialize)]
pub struct Examination {
    /// What was asked of the upstream, in order.
    pub requests: Vec<Asked>,
    /// How many requests that were, redirects included.
    pub sent: u32,
    /// Everything, reading included.
    pub elapsed_ms: u64,
    /// The first page, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What to look at before the connection is used, in sentences.
    pub advice: Vec<String>,
    /// What was learned of the upstream.
    pub findings: Vec<Finding>,
    /// The settings of all findings, as one JSON merge patch (RFC 7396).
    pub patch: Option<Value>,
    /// The settings with that patch.
    pub settings: Option<Value>,
    /// Why not everything was asked that might have shown something.
    pub stopped: Option<String>,
}

/// Fetches one page of a connection, with the real source under the real limits, and asks a few more to learn how its
/// upstream behaves.
///
/// # Errors
/// When the connection cannot be opened: nothing was asked then.
pub async fn examine(
    endpoint: &Endpoint,
    request: ExamineRequest<'_>,
    limits: FetchConfig,
    examiner: &dyn Examiner,
) -> Result<Examination, ExamineError> {
    let source = open(endpoint)?;
    let paged = registry::kind(&endpoint.kind)?.paged.map(|paged| paged(&endpoint.settings)).transpose()?;
    let mut lens = paged.map(|settings| Lens::new(endpoint, settings)).transpose()?;
    let ration = Ration::of(MOST_REQUESTS);
    let (http, exchanges) = Fetcher::watched(limits, 1, ration.clone())?;
    let mask = Mask(Redactor::of(&endpoint.credentials));
    let began = Instant::now();
    let mut inquiry = Inquiry::new(&http, exchanges, ration.clone(), examiner, &mask, request.budget);
    let purpose = if request.cursor.is_some() { "a page" } else { "the first page" };
    let first = inquiry.page(purpose, &*source, lens.as_ref(), request.span, request.cursor).await;
    let (sight, fetched) = first.unwrap_or_else(|| {
        let why = inquiry.stopped.clone().unwrap_or_default();
        (Sight::default(), Err(FetchError::transient(format!("no page was fetched: {why}"))))
    });
    // A job goes on at a list that is not there, where a next page is named; whoever tries settings out must see it.
    let fetched = match fetched {
        Ok(FetchedPage { absent: Some(error), .. }) => Err(error),
        other => other,
    };
    let (outcome, advice) = first_page(&mask, &fetched, sight.status, request.show);
    drop(fetched);
    let mut findings = Vec::new();
    if !request.quick && request.cursor.is_none() && sight.look.is_some() {
        let format = lens.as_ref().and_then(|lens| found::times::detect(lens, &sight, request.now));
        let sight = in_format(endpoint, &mut lens, &format, sight);
        let mut evidence = Evidence::new(endpoint, lens.as_ref(), request.now, request.span, sight);
        evidence.time_format = format;
        match &lens {
            Some(lens) => Paged { endpoint, lens }.run(&mut inquiry, &mut evidence).await,
            None => plan::plain(&*source, &mut inquiry, &mut evidence).await,
        }
        evidence.headers = std::mem::take(&mut inquiry.headers);
        evidence.redirected = inquiry.redirected.take();
        findings = found::all(&evidence);
    }
    let patches = findings.iter().filter_map(|finding| finding.settings.as_ref());
    let patch = patch::together(endpoint, request.now, patches);
    let settings = patch.as_ref().map(|patch| mask.value(&merge(&endpoint.settings, patch)));
    let findings = findings.into_iter().map(|finding| mask.finding(finding)).collect();
    Ok(Examination {
        stopped: inquiry.stopped.as_deref().map(|why| mask.text(why)),
        requests: inquiry.asked,
        sent: ration.spent(),
        elapsed_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        outcome,
        advice,
        findings,
        patch: patch.map(|patch| mask.value(&patch)),
        settings,
    })
}

fn first_page(
    mask: &Mask,
    fetched: &Result<FetchedPage, FetchError>,
    status: Option<u16>,
    show: usize,
) -> (Outcome, Vec<String>) {
    match fetched {
        Ok(page) => {
            let mut advice = advice::on_page(page);
            let doubts = page.warnings.iter().filter(|warning| !warning.kind.is_note());
            advice.extend(doubts.map(|warning| mask.text(&warning.text)));
            (Outcome::Page(mask.page(page, show)), advice)
        }
        Err(error) => (Outcome::Error(mask.error(error)), vec![advice::on_error(error, status)]),
    }
}

/// Goes on with the format that times are really written in, if there is one that fits: else nothing could be learned by them.
fn in_format(
    endpoint: &Endpoint,
    lens: &mut Option<Lens>,
    format: &Option<found::times::Format>,
    mut first: Sight,
) -> Sight {
    let Some([format]) = format.as_ref().map(|format| format.fitting.as_slice()) else { return first };
    let Some(known) = lens.as_ref() else { return first };
    let mut settings: paged_json::Settings = known.settings.clone();
    settings.records.time_format = Some((*format).to_owned());
    if let (Ok(with), Some(look)) = (Lens::new(endpoint, settings), first.look.as_mut()) {
        let read = |json: &Option<String>| with.read_as(&[json.as_deref()?], format)?.pop();
        look.times = look.written.iter().map(read).collect();
        *lens = Some(with);
    }
    first
}
