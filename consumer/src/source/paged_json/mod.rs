//! A source for JSON over HTTP whose lists come in pages: nearly everything about the upstream is a setting.
//!
//! One page's way: `request` makes its URL, the process's fetcher gets the body, `answer` splits it by JSON pointers in one
//! pass and without building a tree (`scan`), `record` judges each record, and `paging` reads where the next page is.

mod answer;
#[cfg(test)]
mod fuzz;
mod item;
mod link;
mod next;
mod paging;
mod pointer;
mod record;
mod request;
mod scan;
mod settings;
pub(super) mod storable;
mod template;
mod text;
mod time;

use std::sync::Arc;

use async_trait::async_trait;
use common::slice::Span;
use common::walk::Walk;
use reqwest::header::{HeaderName, HeaderValue};
use url::Url;

use super::fetch::{Body, Get};
use super::{
    Endpoint, FetchError, FetchedPage, Fetcher, ItemsRequest, PageRequest, Planning, Reservation, Scope,
    Source, SourceError,
};
use answer::AnswerShape;
use item::Items;
pub(crate) use item::NO_ITEM;
pub use next::Next;
use paging::Answered;
use request::Requests;
pub use settings::{
    Auth, Dates, Item, OneOrMany, PageSize, Parameter, Records, Settings, SliceSettings,
    default_item_page_size, default_items_at_once, default_overlap_hours,
};

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
        Ok(Self {
            requests: Arc::new(Requests::new(base_url, settings)?),
            shape: Arc::new(AnswerShape::new(settings)?),
            items: settings
                .item
                .as_ref()
                .map(|item| Items::new(base_url, item, &settings.records))
                .transpose()?,
            auth: settings.auth.as_ref().map(|auth| auth.header(credentials)).transpose()?,
        })
    }
}

#[async_trait]
impl Source for PagedJson {
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError> {
        let asked = self.requests.url(request.span, request.cursor)?;
        let get = Get { url: asked.clone(), auth: self.auth.as_ref(), budget: request.budget };
        let allowance = http.allowance(request.budget);
        let body = http.get(get, &allowance).await?;
        let reading = Reading {
            requests: Arc::clone(&self.requests),
            shape: Arc::clone(&self.shape),
            asked,
            cursor: request.cursor.map(ToOwned::to_owned),
            span: *request.span,
            walk: request.walk.clone(),
            max_records: http.config().max_page_records,
            body,
            reservation: allowance.into_reservation(),
        };
        if reading.body.bytes.len() <= READ_INLINE_BYTES {
            return reading.read();
        }
        match tokio::task::spawn_blocking(move || reading.read()).await {
            Ok(page) => page,
            // A panic here is a bug; as a permanent error it ends the job and not the process.
            Err(lost) => Err(FetchError::permanent(format!("reading the page failed: {lost}"))),
        }
    }

    /// Known for pages by number, and by offset if a page size is asked for.
    fn after(&self, cursor: Option<&str>, _walk: &Walk) -> Option<String> {
        self.requests.paging().after(cursor)
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
        items.fetch(request, self.auth.as_ref(), http).await
    }
}

/// Everything that reading a body needs, so that it can move to another thread. The body's reservation goes along,
/// and is given back only when the bytes are gone.
struct Reading {
    requests: Arc<Requests>,
    shape: Arc<AnswerShape>,
    asked: Url,
    cursor: Option<String>,
    span: Span,
    walk: Walk,
    max_records: usize,
    body: Body,
    reservation: Reservation,
}

impl Reading {
    fn read(self) -> Result<FetchedPage, FetchError> {
        let Body { bytes, url, content_type, links } = self.body;
        let text = String::from_utf8(bytes)
            .map(Arc::new)
            .map_err(|error| FetchError::unreadable(&content_type, error.utf8_error(), error.as_bytes()))?;
        let answer = self
            .shape
            .split(&text, self.max_records)
            .map_err(|error| FetchError::unreadable(&content_type, error, text.as_bytes()))?;
        let next = self.requests.paging().next(&Answered {
            answer: &answer,
            links: &links,
            from: &url,
            asked: &self.asked,
            cursor: self.cursor.as_deref(),
        })?;
        let mut page = FetchedPage {
            records: Vec::with_capacity(answer.records.len()),
            next,
            total: answer.total(),
            bytes: text.len(),
            reservation: self.reservation,
            walk: self.walk,
            ..FetchedPage::default()
        };
        let judge = self.shape.judge(self.span, &text);
        for (record, found) in answer.each() {
            match judge.record(record, found) {
                Ok(record) => page.records.push(record),
                Err(outside) => page.drop_outside(outside, true),
            }
        }
        Ok(page)
    }
}

/// How jobs of a connection with these settings are planned.
pub fn planning(settings: &serde_json::Value) -> Result<Planning, SourceError> {
    let settings = Settings::read(settings)?;
    settings.check()?;
    Ok(settings.planning())
}

/// What decides which records a connection with these settings lists.
pub fn scope(base_url: &Url, settings: &serde_json::Value) -> Result<Scope, SourceError> {
    planning(settings)?;
    Ok(Scope::of(base_url, settings.clone()))
}
