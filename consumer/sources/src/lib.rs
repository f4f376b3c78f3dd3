//! Sources: the connectors that read an upstream, one page at a time.
//!
//! A source knows how to ask its upstream for a page and how to read the answer. It keeps no state between pages:
//! everything that a page needs is in the connection's row ([`Endpoint`]) and in the slice's checkpoint
//! ([`PageRequest`]). All HTTP goes through the process's one [`Fetcher`], which holds the limits. See
//! `docs/sources/writing-a-source.md` for how to write one.

mod error;
pub mod examine;
pub mod fetch;
mod page;
pub mod paged_json;
mod planning;
mod registry;
mod scope;
pub mod ultravox;
mod walking;

use std::fmt::Debug;
use std::time::Duration;

use async_trait::async_trait;
use protocol::slice::Span;
use protocol::walk::Walk;
use url::Url;

pub use error::{FetchError, SourceError};
pub use fetch::{FetchConfig, FetchConfigError, Fetcher};
pub use page::{Content, FetchedPage, Outside, ParsedRecord, Reservation, Version};
pub use paged_json::NO_ITEM;
pub use planning::{Planning, TimeIs, TotalIs, fits, planning};
pub use registry::{KINDS, Kind, Preset};
pub use scope::{Scope, scope};

/// What a connection's row says about its upstream.
#[derive(Clone)]
pub struct Endpoint {
    /// The source that reads this upstream: the name of one of [`KINDS`].
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
    /// What the walk has shown before this page; [`Walk::NEW`] at its first page.
    pub walk: &'a Walk,
    /// The page's number in its slice, from 0 on.
    pub page: i32,
    /// Whether the span has no end: no upper bound is sent, and nothing is dropped as too new. For a full sync of an upstream
    /// whose times are those of the last change.
    pub open_end: bool,
    /// How long the whole fetch may take, connecting and reading included.
    pub budget: Duration,
}

impl<'a> PageRequest<'a> {
    /// The first page of a slice.
    #[must_use]
    pub const fn first(span: &'a Span, budget: Duration) -> Self {
        Self { span, cursor: None, walk: &Walk::NEW, page: 0, open_end: false, budget }
    }
}

/// Which records to fetch by their ids: a page of a job over documents.
#[derive(Clone, Copy, Debug)]
pub struct ItemsRequest<'a> {
    /// Their ids.
    pub ids: &'a [String],
    /// Whether one is asked for only after the one before has come.
    pub one_at_a_time: bool,
    /// How long all of it may take.
    pub budget: Duration,
}

/// A connector: fetches one page of one slice.
///
/// Dropping the future of [`Source::fetch`] or [`Source::fetch_items`] aborts the fetch and closes the upstream's connections.
#[async_trait]
pub trait Source: Send + Sync + Debug {
    /// Fetches one page and reads its records.
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError>;

    /// The cursor of the page after this one, where that is known without reading it: so that a page that can never be
    /// read can be left out. With opaque cursors it is not, and the slice ends there. The walk goes on with
    /// [`Walk::skipping`].
    fn after(&self, _cursor: Option<&str>, _walk: &Walk) -> Option<String> {
        None
    }

    /// How many records a page of a job over documents has.
    fn items_per_page(&self) -> usize {
        1
    }

    /// Fetches records by their ids: one for each id, in their order. An id that the upstream does not have, or an answer
    /// that cannot be read, is a failed record and not an error. There is no next page. A source that cannot do it leaves
    /// this as it is, and says so by [`Planning::items`].
    async fn fetch_items(
        &self,
        _request: ItemsRequest<'_>,
        _http: &Fetcher,
    ) -> Result<FetchedPage, FetchError> {
        Err(FetchError::permanent(NO_ITEM))
    }
}

/// Opens the source of a connection, or says what is wrong with the connection's settings or credentials.
pub fn open(endpoint: &Endpoint) -> Result<Box<dyn Source>, SourceError> {
    (registry::kind(&endpoint.kind)?.open)(endpoint)
}
