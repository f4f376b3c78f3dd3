//! The sources of connections in use, opened once and kept while the connection's row stays the same.

use crate::source::{self, Endpoint, Source, SourceError};
use common::ids::ConnectionId;
use common::store::slices::PageContext;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// More connections than this in use at once, and the cache starts anew.
const MOST: usize = 1024;

struct Open {
    kind: String,
    base_url: String,
    credentials: Value,
    settings: Value,
    source: Arc<dyn Source>,
}

// The credentials stay out of logs.
impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("kind", &self.kind)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// Opened sources by connection.
#[derive(Debug, Default)]
pub struct Sources(Mutex<HashMap<ConnectionId, Open>>);

impl Sources {
    /// The source of a page's connection.
    ///
    /// # Errors
    /// When the connection's settings, address or credentials do not fit its source.
    pub fn of(&self, page: &PageContext) -> Result<Arc<dyn Source>, SourceError> {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&page.connection)
            && known.kind == page.source
            && known.base_url == page.base_url
            && known.credentials == page.credentials
            && known.settings == page.settings
        {
            return Ok(Arc::clone(&known.source));
        }
        let base_url = Url::parse(&page.base_url)
            .map_err(|error| SourceError::BaseUrl { reason: format!("{:?}: {error}", page.base_url) })?;
        let endpoint = Endpoint {
            kind: page.source.clone(),
            base_url,
            credentials: page.credentials.clone(),
            settings: page.settings.clone(),
        };
        let source: Arc<dyn Source> = Arc::from(source::open(&endpoint)?);
        if open.len() >= MOST {
            open.clear();
        }
        let kept = Open {
            kind: endpoint.kind,
            base_url: page.base_url.clone(),
            credentials: endpoint.credentials,
            settings: endpoint.settings,
            source: Arc::clone(&source),
        };
        open.insert(page.connection, kept);
        Ok(source)
    }
}
