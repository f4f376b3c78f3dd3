//! The sources of connections in use, opened once and kept while the connection's row stays the same.

use crate::source::{self, Endpoint, Source, SourceError};
use common::credentials::{Keyring, Redactor, Sealed};
use common::ids::ConnectionId;
use common::store::slices::PageContext;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use url::Url;

/// More connections than this in use at once, and the cache starts anew.
const MOST: usize = 1024;

/// An opened source.
#[derive(Clone, Debug)]
pub struct Opened {
    /// The connector.
    pub source: Arc<dyn Source>,
    /// Takes the connection's credentials out of whatever its upstream sent back and is to be kept.
    pub redactor: Arc<Redactor>,
}

struct Open {
    kind: String,
    base_url: String,
    credentials: Option<Sealed>,
    settings: Value,
    opened: Opened,
}

// Settings may be long.
impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Open")
            .field("kind", &self.kind)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

/// Opened sources by connection, and the keys that open credentials.
#[derive(Debug)]
pub struct Sources {
    keyring: Keyring,
    open: Mutex<HashMap<ConnectionId, Open>>,
}

impl Sources {
    /// No source is open yet.
    #[must_use]
    pub fn new(keyring: Keyring) -> Self {
        Self { keyring, open: Mutex::default() }
    }

    /// The source of a page's connection.
    ///
    /// # Errors
    /// When no key opens the connection's credentials, or its settings, address or credentials do not fit its source.
    pub fn of(&self, page: &PageContext) -> Result<Opened, SourceError> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&page.connection)
            && known.kind == page.source
            && known.base_url == page.base_url
            && known.credentials == page.credentials
            && known.settings == page.settings
        {
            return Ok(known.opened.clone());
        }
        let base_url = Url::parse(&page.base_url)
            .map_err(|error| SourceError::BaseUrl { reason: format!("{:?}: {error}", page.base_url) })?;
        let credentials = self
            .keyring
            .open(page.connection, page.credentials.as_ref())
            .map_err(|error| SourceError::Credentials { reason: error.to_string() })?;
        let redactor = Arc::new(Redactor::of(&credentials));
        let settings = page.settings.clone();
        let endpoint = Endpoint { kind: page.source.clone(), base_url, credentials, settings };
        let opened = Opened { source: Arc::from(source::open(&endpoint)?), redactor };
        if open.len() >= MOST {
            open.clear();
        }
        let kept = Open {
            kind: endpoint.kind,
            base_url: page.base_url.clone(),
            credentials: page.credentials.clone(),
            settings: endpoint.settings,
            opened: opened.clone(),
        };
        open.insert(page.connection, kept);
        Ok(opened)
    }
}
