//! Asks an upstream one request after the other, as long as it may be asked.

use std::time::Duration;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use protocol::slice::Span;
use reqwest::header::HeaderMap;
use serde::Serialize;

use super::evidence::Sight;
use super::mask::Mask;
use crate::fetch::{Exchange, Exchanges, Ration};
use crate::paged_json::{Lens, Look};
use crate::{FetchError, FetchedPage, Fetcher, ItemsRequest, PageRequest, ParsedRecord, Source};

/// Whoever has a connection examined.
#[async_trait]
pub trait Examiner: Send + Sync {
    /// Waits until the next request may be sent.
    ///
    /// # Errors
    /// Why there is to be none, in words.
    async fn turn(&self) -> Result<(), String> {
        Ok(())
    }

    /// A request has ended.
    fn asked(&self, _asked: &Asked) {}

    /// Returns when whoever waits wants to see what there is so far.
    async fn interrupted(&self) {
        std::future::pending::<()>().await;
    }
}

/// One request.
#[derive(Clone, Debug, Serialize)]
pub struct Asked {
    /// What it was for.
    pub purpose: String,
    /// Its URL.
    pub url: String,
    /// The status of the answer, if one came.
    pub status: Option<u16>,
    /// Until the answer's headers.
    pub elapsed_ms: u64,
    /// How many records it had, if it was a page that could be read.
    pub records: Option<usize>,
    /// The total that it named.
    pub total: Option<i64>,
}

/// An examination under way.
pub(super) struct Inquiry<'a> {
    http: &'a Fetcher,
    exchanges: Exchanges,
    ration: Ration,
    examiner: &'a dyn Examiner,
    mask: &'a Mask,
    budget: Duration,
    pub(super) asked: Vec<Asked>,
    /// The headers of every answer.
    pub(super) headers: Vec<HeaderMap>,
    /// Where a request was redirected from, and where to.
    pub(super) redirected: Option<(String, String)>,
    /// Why no more is asked.
    pub(super) stopped: Option<String>,
    faults: u32,
}

impl<'a> Inquiry<'a> {
    pub(super) fn new(
        http: &'a Fetcher,
        exchanges: Exchanges,
        ration: Ration,
        examiner: &'a dyn Examiner,
        mask: &'a Mask,
        budget: Duration,
    ) -> Self {
        Self {
            http,
            exchanges,
            ration,
            examiner,
            mask,
            budget,
            asked: Vec::new(),
            headers: Vec::new(),
            redirected: None,
            stopped: None,
            faults: 0,
        }
    }

    /// One page of a source, and what stands in it.
    pub(super) async fn page(
        &mut self,
        purpose: &str,
        source: &dyn Source,
        lens: Option<&Lens>,
        span: Span,
        cursor: Option<&str>,
    ) -> Option<(Sight, Result<FetchedPage, FetchError>)> {
        self.may_go_on().await?;
        let request = PageRequest { cursor, ..PageRequest::first(&span, self.budget) };
        let http = self.http;
        let Some(fetched) = self.unless_interrupted(source.fetch(request, http)).await else {
            self.note(purpose, None, None);
            return None;
        };
        let exchange = self.exchanges.take().pop();
        let look = match (lens, &fetched) {
            (Some(lens), _) => exchange.as_ref().and_then(|exchange| lens.look(exchange, cursor)),
            (None, Ok(page)) => Some(plain(page)),
            (None, Err(_)) => None,
        };
        let status = exchange.as_ref().and_then(|exchange| exchange.status);
        self.note(purpose, exchange, look.as_ref());
        self.judge(purpose, fetched.as_ref().err());
        Some((Sight { look, status }, fetched))
    }

    /// One record by its id.
    pub(super) async fn item(
        &mut self,
        purpose: &str,
        source: &dyn Source,
        id: &str,
    ) -> Option<(Option<u16>, Option<ParsedRecord>)> {
        self.may_go_on().await?;
        let ids = [id.to_owned()];
        let request = ItemsRequest { ids: &ids, one_at_a_time: true, budget: self.budget };
        let http = self.http;
        let fetched = self.unless_interrupted(source.fetch_items(request, http)).await;
        let exchange = self.exchanges.take().pop();
        let status = exchange.as_ref().and_then(|exchange| exchange.status);
        self.note(purpose, exchange, None);
        let fetched = fetched?;
        self.judge(purpose, fetched.as_ref().err());
        Some((status, fetched.ok().and_then(|page| page.records.into_iter().next())))
    }

    async fn may_go_on(&mut self) -> Option<()> {
        if self.stopped.is_some() {
            return None;
        }
        if self.ration.left() == 0 {
            self.stopped = Some(format!("{} requests were sent, redirects included", self.ration.spent()));
            return None;
        }
        let examiner = self.examiner;
        match self.unless_interrupted(examiner.turn()).await? {
            Ok(()) => Some(()),
            Err(why) => {
                self.stopped = Some(why);
                None
            }
        }
    }

    async fn unless_interrupted<T>(&mut self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            done = work => Some(done),
            () = self.examiner.interrupted() => {
                self.stopped = Some("it was interrupted".to_owned());
                None
            }
        }
    }

    fn note(&mut self, purpose: &str, exchange: Option<Exchange>, look: Option<&Look>) {
        // One that was given up is noted when it is dropped.
        let Some(exchange) = exchange.or_else(|| self.exchanges.take().pop()) else { return };
        let asked = Asked {
            purpose: purpose.to_owned(),
            url: self.mask.url(exchange.url.as_str()),
            status: exchange.status,
            elapsed_ms: u64::try_from(exchange.elapsed.as_millis()).unwrap_or(u64::MAX),
            records: look.map(|look| look.ids.len()),
            total: look.and_then(|look| look.total),
        };
        self.examiner.asked(&asked);
        self.asked.push(asked);
        if let Some(first) = exchange.redirected_from {
            self.redirected
                .get_or_insert((self.mask.url(first.as_str()), self.mask.url(exchange.url.as_str())));
        }
        self.headers.push(exchange.headers);
    }

    /// Whether the upstream is to be asked any more.
    fn judge(&mut self, purpose: &str, error: Option<&FetchError>) {
        match error {
            Some(FetchError::RateLimited { retry_after, .. }) => {
                let for_how_long = retry_after
                    .map_or_else(|| "for a while".to_owned(), |after| format!("for {} s", after.as_secs()));
                self.stopped = Some(format!(
                    "at the request for {purpose}, the upstream asked to be left alone {for_how_long}"
                ));
            }
            Some(FetchError::Transient { cause, .. }) => {
                self.faults += 1;
                if self.faults > 1 {
                    self.stopped = Some(format!(
                        "several requests failed, the last one for {purpose}: {}",
                        self.mask.text(cause)
                    ));
                }
            }
            Some(
                FetchError::NoRoom { .. }
                | FetchError::Permanent { .. }
                | FetchError::Expired { .. }
                | FetchError::Unreadable { .. },
            )
            | None => {}
        }
        if self.stopped.is_none() && self.headers.last().is_some_and(super::found::limits::is_used_up) {
            self.stopped =
                Some(format!("after the request for {purpose}, the upstream says that its limit is used up"));
        }
    }
}

/// A page of a source that is no preset of `paged_json`.
fn plain(page: &FetchedPage) -> Look {
    let ids = page
        .records
        .iter()
        .map(|record| record.key.clone())
        .chain(page.outside_ids.iter().cloned())
        .collect();
    let times: Vec<Option<DateTime<Utc>>> = page.records.iter().map(|record| record.time).collect();
    Look { ids, times, total: page.total, next: page.next.clone(), ..Look::default() }
}
