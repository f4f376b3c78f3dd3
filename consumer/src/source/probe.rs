//! Fetches one page and says what was understood of it. Nothing is stored and no job is made: it is for whoever sets a
//! connection up.

use std::time::Duration;

use chrono::{DateTime, Utc};
use common::credentials::Redactor;
use common::slice::Span;
use serde::Serialize;
use tokio::time::Instant;
use url::form_urlencoded;

use super::fetch::Exchange;
use super::{
    Content, Endpoint, FetchConfig, FetchConfigError, FetchError, FetchedPage, Fetcher, PageRequest,
};
use super::{Outside, ParsedRecord, SourceError, open};

/// What to fetch, and how much of it to show.
#[derive(Clone, Copy, Debug)]
pub struct ProbeRequest<'a> {
    /// The span that a slice would have.
    pub span: Span,
    /// A checkpoint; `None` asks for the first page.
    pub cursor: Option<&'a str>,
    /// How long the whole fetch may take.
    pub budget: Duration,
    /// How many records are shown.
    pub show: usize,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// The connection's settings, address or credentials.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The limits of fetching.
    #[error(transparent)]
    Fetch(#[from] FetchConfigError),
}

/// What came of it. Secrets of the connection are masked everywhere.
#[derive(Clone, Debug, Serialize)]
pub struct Probe {
    /// What was asked of the upstream, in order.
    pub requests: Vec<Asked>,
    /// The whole fetch, reading included.
    pub elapsed_ms: u64,
    /// The page, or why there is none.
    #[serde(flatten)]
    pub outcome: Outcome,
    /// What to look at before the connection is used, in sentences.
    pub advice: Vec<String>,
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// Its URL.
    pub url: String,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Until the answer's headers.
    pub elapsed_ms: u64,
}

/// The page, or why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was read.
    Page(PageSeen),
    /// It was not.
    Error(ErrorSeen),
}

/// What was understood of a page.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the counts are those of a job")]
pub struct PageSeen {
    pub stored: usize,
    pub deferred: usize,
    pub failed: usize,
    /// Records that would be dropped, since they lie outside the span.
    pub dropped: usize,
    /// The first records.
    pub records: Vec<RecordSeen>,
    /// The first of those that would be dropped.
    pub outside: Vec<Outside>,
    /// The checkpoint of the next page; null is the end.
    pub next: Option<String>,
    /// How many records the upstream says that there are.
    pub total: Option<i64>,
    /// The size of the answer, decompressed.
    pub bytes: usize,
}

/// What was understood of a record.
#[derive(Clone, Debug, Serialize)]
pub struct RecordSeen {
    /// Its id; empty if it has none.
    pub id: String,
    /// When it happened.
    pub time: Option<DateTime<Utc>>,
    /// What would become of it.
    pub would_be: Fate,
    /// Why it would fail.
    pub reason: Option<String>,
}

/// What would become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as of Content")]
pub enum Fate {
    Stored,
    Deferred,
    Failed,
}

/// Why there is no page.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorSeen {
    /// What a job would do about it.
    pub kind: ErrorKind,
    /// What happened.
    pub cause: String,
    /// The beginning of the answer, if one came.
    pub body: Option<String>,
}

/// What a job would do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Try the page again later.
    Transient,
    /// Let the whole connection rest.
    RateLimited,
    /// Fail.
    Permanent,
}

/// Fetches one page of a connection, with the real source under the real limits.
pub async fn probe(
    endpoint: &Endpoint,
    request: ProbeRequest<'_>,
    limits: FetchConfig,
) -> Result<Probe, ProbeError> {
    let source = open(endpoint)?;
    let (http, exchanges) = Fetcher::watched(limits, 1)?;
    let began = Instant::now();
    let page = PageRequest { cursor: request.cursor, ..PageRequest::first(&request.span, request.budget) };
    let fetched = source.fetch(page, &http).await;
    let elapsed = began.elapsed();
    let mask = Mask(Redactor::of(&endpoint.credentials));
    let requests: Vec<Asked> = exchanges.take().into_iter().map(|exchange| mask.asked(&exchange)).collect();
    // A job goes on at a list that is not there, where a next page is named; whoever tries settings out must see it.
    let fetched = match fetched {
        Ok(FetchedPage { absent: Some(error), .. }) => Err(error),
        other => other,
    };
    let (outcome, advice) = match fetched {
        Ok(page) => {
            let mut advice = advice_on_page(&page);
            let doubts = page.warnings.iter().filter(|warning| !warning.kind.is_note());
            advice.extend(doubts.map(|warning| mask.text(&warning.text)));
            (Outcome::Page(mask.page(&page, request.show)), advice)
        }
        Err(error) => {
            let advice = advice_on_error(&error, requests.last().and_then(|asked| asked.status));
            (Outcome::Error(mask.error(&error)), vec![advice])
        }
    };
    Ok(Probe { requests, elapsed_ms: millis(elapsed), outcome, advice })
}

/// Takes out what must not be shown.
struct Mask(Redactor);

impl Mask {
    fn text(&self, text: &str) -> String {
        self.0.redact(text).into_owned()
    }

    /// A URL, or a path and query. Parameters that are secrets by their names are masked too: some upstreams write their
    /// own into the next page's URL.
    fn url(&self, url: &str) -> String {
        let Some((path, query)) = url.split_once('?') else { return self.text(url) };
        let secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            let words = ["key", "token", "secret", "password", "signature", "credential"];
            words.iter().any(|word| name.contains(word)) && !name.contains("page")
        };
        if !form_urlencoded::parse(query.as_bytes()).any(|(name, _)| secret(&name)) {
            return self.text(url);
        }
        let mut masked = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            masked.append_pair(&name, if secret(&name) { "***" } else { &value });
        }
        self.text(&format!("{path}?{}", masked.finish()))
    }

    fn asked(&self, exchange: &Exchange) -> Asked {
        Asked {
            url: self.url(exchange.url.as_str()),
            status: exchange.status,
            elapsed_ms: millis(exchange.elapsed),
        }
    }

    fn page(&self, page: &FetchedPage, show: usize) -> PageSeen {
        let count =
            |fate: Fate| page.records.iter().filter(|record| Fate::of(&record.content) == fate).count();
        PageSeen {
            stored: count(Fate::Stored),
            deferred: count(Fate::Deferred),
            failed: count(Fate::Failed),
            dropped: page.dropped(),
            records: page.records.iter().take(show).map(|record| self.record(record)).collect(),
            outside: page.outside.iter().take(show).cloned().collect(),
            next: page.next.as_deref().map(|next| self.url(next)),
            total: page.total,
            bytes: page.bytes,
        }
    }

    fn record(&self, record: &ParsedRecord) -> RecordSeen {
        let reason = match &record.content {
            Content::Gone { reason } | Content::Failed { reason } => Some(self.text(reason)),
            Content::Stored { .. } | Content::Deferred => None,
        };
        RecordSeen {
            id: self.text(&record.key),
            time: record.time,
            would_be: Fate::of(&record.content),
            reason,
        }
    }

    fn error(&self, error: &FetchError) -> ErrorSeen {
        let (kind, cause) = match error {
            FetchError::Transient { cause, .. } => (ErrorKind::Transient, cause.clone()),
            FetchError::RateLimited { .. } => (ErrorKind::RateLimited, error.to_string()),
            FetchError::Permanent { cause, .. }
            | FetchError::Expired { cause, .. }
            | FetchError::Unreadable { cause, .. } => (ErrorKind::Permanent, cause.clone()),
        };
        ErrorSeen { kind, cause: self.text(&cause), body: error.body().map(|body| self.text(body)) }
    }
}

impl Fate {
    const fn of(content: &Content) -> Self {
        match content {
            Content::Stored { .. } => Self::Stored,
            Content::Deferred => Self::Deferred,
            Content::Gone { .. } | Content::Failed { .. } => Self::Failed,
        }
    }
}

fn advice_on_page(page: &FetchedPage) -> Vec<String> {
    let failed = page.records.iter().filter(|record| Fate::of(&record.content) == Fate::Failed).count();
    let whole = page.records.len() + page.dropped();
    let mut advice = Vec::new();
    if whole == 0 {
        advice.push(
            "the upstream has no records in this span: widen it with --from and --to to see some".to_owned(),
        );
    }
    if failed > 0 {
        advice.push(format!(
            "{failed} of {whole} records would be counted as failed: do the reasons point at a wrong setting?"
        ));
    }
    if page.dropped() > 0 && page.records.is_empty() {
        advice.push(
            "every record lies outside the span: does the upstream know the date parameters that it is asked with?"
                .to_owned(),
        );
    }
    if page.next.is_some() && i64::try_from(whole).ok() == page.total && whole > 0 {
        advice.push(
            "the total is the number of records on this page, and there is a next page: if it only counts the page, \
             leave it out of the settings"
                .to_owned(),
        );
    }
    if page.next.is_none()
        && page.total.is_some_and(|total| i64::try_from(whole).is_ok_and(|whole| total > whole))
    {
        advice.push(format!(
            "the upstream says that there are more than the {whole} records of this page, and no next page was found: is \
             the setting that finds it right?"
        ));
    }
    advice
}

fn advice_on_error(error: &FetchError, status: Option<u16>) -> String {
    match (error, status) {
        (FetchError::RateLimited { retry_after: Some(after), .. }, _) => {
            format!("try again in {} s; a job would wait by itself", after.as_secs())
        }
        (FetchError::RateLimited { retry_after: None, .. }, _) => {
            "try again in a minute; a job would wait by itself".to_owned()
        }
        (FetchError::Transient { .. }, None) => {
            "is the base URL right, and can this machine reach it? A job would try again by itself".to_owned()
        }
        (FetchError::Transient { .. }, Some(_)) => "try again; a job would do so by itself".to_owned(),
        (FetchError::Expired { .. }, _) => {
            "the upstream refuses this checkpoint: begin at the first page".to_owned()
        }
        (FetchError::Permanent { .. }, Some(401 | 403)) => {
            "the upstream refuses the credentials: check them, and the header that carries them".to_owned()
        }
        (FetchError::Permanent { .. }, Some(404)) => {
            "there is nothing at that URL: check the base URL and the path".to_owned()
        }
        (FetchError::Permanent { .. }, Some(200)) | (FetchError::Unreadable { .. }, _) => {
            "compare the answer with the settings: where are the records in it, and where the next page?"
                .to_owned()
        }
        (FetchError::Permanent { .. }, Some(_)) => {
            "the upstream refuses the request: compare its URL with the upstream's documentation".to_owned()
        }
        (FetchError::Permanent { .. }, None) => {
            "nothing was asked of the upstream; correct this first".to_owned()
        }
    }
}

fn millis(elapsed: Duration) -> u64 {
    u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn secrets_are_masked_by_value_and_by_name() {
        let mask = Mask(Redactor::of(&serde_json::json!({"api_key": "s3cret-value"})));
        let url = Url::parse("https://x.org/list?a=b+c&page=2&page_token=abc").unwrap();
        assert_eq!(mask.url(url.as_str()), url.as_str());
        assert_eq!(mask.url("/list?q=s3cret-value"), "/list?q=[redacted]");
        assert_eq!(mask.url("/list?a=1&Access_Token=zzz"), "/list?a=1&Access_Token=***");
    }
}
