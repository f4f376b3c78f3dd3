//! A source for JSON over HTTP whose lists come in pages: nearly everything about the upstream is a setting.
//!
//! One page's way: `request` makes its URL, the process's fetcher gets the body, `reading` has it split by JSON pointers in
//! one pass and without building a tree (`answer`, `scan`) and each record judged (`record`), the style of paging says
//! where the next page is (`styles`), and `walking` whether the walk goes on there.

mod answer;
mod asked;
mod counting;
mod dates;
mod figures;
#[cfg(test)]
mod fuzz;
mod item;
mod lens;
mod link;
mod pointer;
mod reading;
mod record;
mod refusal;
mod request;
mod scan;
mod secrets;
mod settings;
pub(super) mod storable;
mod styles;
mod template;
mod text;
mod time;

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use containment::on_another_thread;
use protocol::slice::Span;
use protocol::walk::Walk;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::fetch::{Answered, Get, RestRules};
use super::{
    Endpoint, FetchError, FetchedPage, Fetcher, ItemsRequest, PageRequest, Planning, Scope, Source,
    SourceError,
};
use answer::AnswerShape;
use item::Items;
pub use item::NO_ITEM;
pub(super) use lens::{Lens, Look};
use reading::Reading;
use refusal::Refusals;
use request::Requests;
pub use settings::{
    Absent, Auth, Dates, Ends, Gone, Item, Length, Limits, Next, OneOrMany, PageSize, Parameter, Place,
    Records, Settings, SliceSettings, Start, Style,
};
pub use styles::{Cursor, LastId, LinkHeader, NextUrl, Offset, PageNumber};

/// The name of this source in a connection's row.
pub const KIND: &str = "paged_json";

/// Bodies larger than this are read on a thread of their own, so that they do not keep the others waiting.
const READ_INLINE_BYTES: usize = 1 << 20;

/// The opened source of one connection.
#[derive(Debug)]
pub struct PagedJson {
    requests: Arc<Requests>,
    shape: Arc<AnswerShape>,
    auth: Option<(HeaderName, HeaderValue)>,
    rest: RestRules,
    refusals: Refusals,
    items: Option<Items>,
}

impl PagedJson {
    /// Opens a connection by its own settings.
    pub fn open(endpoint: &Endpoint) -> Result<Self, SourceError> {
        Self::new(&endpoint.base_url, &endpoint.credentials, &Settings::read(&endpoint.settings)?)
    }

    /// Opens a connection by settings that a preset made.
    pub fn new(
        base_url: &Url,
        credentials: &serde_json::Value,
        settings: &Settings,
    ) -> Result<Self, SourceError> {
        settings.check()?;
        let requests = Requests::new(base_url, credentials, settings)?;
        let refusals = Refusals::new(settings, requests.style().traits());
        Ok(Self {
            shape: Arc::new(AnswerShape::new(settings, requests.style())?),
            requests: Arc::new(requests),
            items: settings
                .item
                .as_ref()
                .map(|item| Items::new(base_url, item, &settings.records, &settings.zone()?))
                .transpose()?,
            auth: settings.auth.as_ref().map(|auth| auth.header(credentials)).transpose()?,
            rest: settings.limits.rules()?,
            refusals,
        })
    }

    fn reading(&self, request: PageRequest<'_>) -> Result<Get<'_>, FetchError> {
        let url = self.requests.url(&request)?;
        Ok(Get { auth: self.auth.as_ref(), rest: &self.rest, ..Get::new(url, request.budget) })
    }
}

#[async_trait]
impl Source for PagedJson {
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError> {
        let get = self.reading(request)?;
        let url = get.url.clone();
        let allowance = http.allowance(request.budget);
        let body = match http.ask(get, &allowance).await? {
            Answered::Body(body) if self.refusals.is_end(body.status, &request) => {
                return Ok(reading::ended(request.walk));
            }
            Answered::Body(body) => body,
            Answered::Refused { status, error } => return self.refusals.judge(status, error, &request),
        };
        let reading = Reading {
            requests: Arc::clone(&self.requests),
            shape: Arc::clone(&self.shape),
            url,
            cursor: request.cursor.map(ToOwned::to_owned),
            walk: request.walk.clone(),
            page: request.page,
            span: if request.open_end {
                Span { to: DateTime::<Utc>::MAX_UTC, ..*request.span }
            } else {
                *request.span
            },
            asked: self.requests.asked(request.span, request.open_end),
            max_records: http.config().max_page_records,
            body,
            reservation: allowance.into_reservation(),
        };
        if reading.body.bytes.len() <= READ_INLINE_BYTES {
            return reading.read();
        }
        match on_another_thread(move || reading.read()).await {
            Ok(page) => page,
            // Only if the process ends.
            Err(lost) => Err(FetchError::transient(format!("reading the page failed: {lost}"))),
        }
    }

    /// Known for pages by number, and by offset if a page size is asked for.
    fn after(&self, cursor: Option<&str>, walk: &Walk) -> Option<String> {
        self.requests.style().after(cursor, walk)
    }

    fn items_per_page(&self) -> usize {
        self.items.as_ref().map_or(1, Items::per_page)
    }

    async fn fetch_items(
        &self,
        request: ItemsRequest<'_>,
        http: &Fetcher,
    ) -> Result<FetchedPage, FetchError> {
        let items = self.items.as_ref().ok_or_else(|| FetchError::permanent(NO_ITEM))?;
        items.fetch(request, self.auth.as_ref(), &self.rest, http).await
    }
}

/// How jobs of a connection with these settings are planned.
pub fn planning(settings: &serde_json::Value) -> Result<Planning, SourceError> {
    let settings = Settings::read(settings)?;
    settings.check()?;
    settings.planning()
}

/// What decides which records a connection with these settings lists.
pub fn scope(base_url: &Url, settings: &serde_json::Value) -> Result<Scope, SourceError> {
    let settings = Settings::read(settings)?;
    settings.check()?;
    Ok(settings.scope(base_url))
}
