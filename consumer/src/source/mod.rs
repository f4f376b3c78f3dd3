//! Sources: the connectors that read an upstream, one page at a time.
//!
//! A source knows how to ask its upstream for a page and how to read the answer. It keeps no state between pages:
//! everything that a page needs is in the connection's row ([`Endpoint`]) and in the slice's checkpoint
//! ([`PageRequest`]). All HTTP goes through the process's one [`Fetcher`], which holds the limits.

mod error;
pub mod fetch;
mod page;
pub mod paged_json;
pub mod ultravox;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use chrono::TimeDelta;
use common::slice::{Slicing, Span};
use url::Url;

pub use error::{FetchError, SourceError};
pub use fetch::{FetchConfig, FetchConfigError, Fetcher};
pub use page::{Content, FetchedPage, ParsedRecord, Reservation};

/// What a connection's row says about its upstream.
#[derive(Clone)]
pub struct Endpoint {
    /// The source that reads this upstream: `paged_json` or `ultravox`.
    pub kind: String,
    /// Where the upstream is. Every page, every redirect and every next page must be on this scheme, host and port.
    pub base_url: Url,
    /// A JSON object of named secrets, decrypted, for instance `{"api_key": "…"}`.
    pub credentials: serde_json::Value,
    /// The source's own settings.
    pub settings: serde_json::Value,
}

impl Debug for Endpoint {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // The credentials stay out of logs.
        formatter
            .debug_struct("Endpoint")
            .field("kind", &self.kind)
            .field("base_url", &self.base_url.as_str())
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

/// Which page to fetch.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<'a> {
    /// The span of the page's slice. Records outside it are dropped, uncounted.
    pub span: &'a Span,
    /// The slice's checkpoint: what [`FetchedPage::next`] of the page before said. `None` asks for the first page.
    pub cursor: Option<&'a str>,
    /// How long the whole fetch may take, connecting and reading included.
    pub budget: Duration,
}

/// A connector: fetches one page of one slice.
///
/// Dropping the future of [`Source::fetch`] aborts the fetch and closes the upstream's connection.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// Fetches one page and reads its records.
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError>;
}

/// Opens the source of a connection, or says what is wrong with the connection's settings or credentials.
pub fn open(endpoint: &Endpoint) -> Result<Box<dyn Source>, SourceError> {
    match endpoint.kind.as_str() {
        paged_json::KIND => Ok(Box::new(paged_json::PagedJson::open(endpoint)?)),
        ultravox::KIND => Ok(Box::new(ultravox::open(endpoint)?)),
        unknown => Err(SourceError::UnknownKind { kind: unknown.to_owned() }),
    }
}

/// What the planner asks of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Planning {
    /// How jobs are cut into slices; `None` means one slice.
    pub slicing: Option<Slicing>,
    /// How far before the end of what is known an incremental job begins.
    pub overlap: TimeDelta,
}

/// How jobs of a connection are planned. Needs no credentials.
pub fn planning(kind: &str, settings: &serde_json::Value) -> Result<Planning, SourceError> {
    match kind {
        paged_json::KIND => paged_json::planning(settings),
        ultravox::KIND => ultravox::planning(settings),
        unknown => Err(SourceError::UnknownKind { kind: unknown.to_owned() }),
    }
}
