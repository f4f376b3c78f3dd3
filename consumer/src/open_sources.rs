//! The sources of connections in use, opened once and kept while the connection's row stays the same.

use protocol::ids::ConnectionId;
use sealing::{Keyring, Redactor, Sealed};
use serde_json::Value;
use sources::{Endpoint, Source, SourceError};
use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use store::slices::{PageContext, Planned};
use url::Url;

/// More connections than this in use at once, and the cache starts anew.
const MOST: usize = 1024;

/// Opens sources: [`sources::open`], unless others are wanted.
pub type Opener = fn(&Endpoint) -> Result<Box<dyn Source>, SourceError>;

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
pub struct OpenSources {
    keyring: Keyring,
    opener: Opener,
    open: Mutex<HashMap<ConnectionId, Open>>,
}

impl OpenSources {
    /// No source is open yet.
    #[must_use]
    pub fn new(keyring: Keyring, opener: Opener) -> Self {
        Self { keyring, opener, open: Mutex::default() }
    }

    /// The source of a page's connection.
    ///
    /// # Errors
    /// When no key opens the connection's credentials, or its settings, address or credentials do not fit its source.
    pub fn of(&self, page: &PageContext) -> Result<Opened, SourceError> {
        let (base_url, settings) = match &page.planned {
            None => (Cow::Borrowed(page.base_url.as_str()), Cow::Borrowed(&page.settings)),
            Some(planned) => {
                (Cow::Owned(planned_address(page, planned)?), Cow::Owned(planned_settings(page, planned)))
            }
        };
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = open.get(&page.connection)
            && known.kind == page.source()
            && known.base_url == base_url
            && known.credentials == page.credentials
            && known.settings == *settings
        {
            return Ok(known.opened.clone());
        }
        let address = parsed(&base_url)?;
        let credentials = self
            .keyring
            .open(&page.bound(), page.credentials.as_ref())
            .map_err(|error| SourceError::Credentials { reason: error.to_string() })?;
        let redactor = Arc::new(Redactor::of(&credentials));
        let endpoint = Endpoint {
            kind: page.source().to_owned(),
            base_url: address,
            credentials,
            settings: settings.into_owned(),
        };
        let opened = Opened { source: Arc::from((self.opener)(&endpoint)?), redactor };
        if open.len() >= MOST {
            open.clear();
        }
        let kept = Open {
            kind: endpoint.kind,
            base_url: base_url.into_owned(),
            credentials: page.credentials.clone(),
            settings: endpoint.settings,
            opened: opened.clone(),
        };
        open.insert(page.connection, kept);
        Ok(opened)
    }
}

/// Settings that decide nothing about which records are listed: they are those of the moment, even of a job that walks on with
/// what it was planned with.
const OF_THE_MOMENT: [&str; 13] = [
    "page_size",
    "limits",
    "slicing",
    "slice_days",
    "max_slices",
    "item_page_size",
    "overlap_hours",
    "delete_at_once",
    "delete_any_number",
    "confirm_after",
    "confirm_limit",
    "straggler_days",
    "max_empty_pages",
];

/// What a job was planned with, but for what is of the moment.
fn planned_settings(page: &PageContext, planned: &Planned) -> Value {
    let mut settings = planned.settings.clone();
    if let (Some(settings), Some(now)) = (settings.as_object_mut(), page.settings.as_object()) {
        for name in OF_THE_MOMENT {
            match now.get(name) {
                Some(value) => settings.insert(name.to_owned(), value.clone()),
                None => settings.remove(name),
            };
        }
    }
    settings
}

/// The path that a job was planned with, on the host as it is reached by now. Another host is no place for a job that walks:
/// the credentials, which are those of the moment, belong to the new one.
fn planned_address(page: &PageContext, planned: &Planned) -> Result<String, SourceError> {
    let (then, mut now) = (parsed(&planned.base_url)?, parsed(&page.base_url)?);
    if then.host() != now.host() || planned.source != page.source {
        let reason = "the connection was given another source or host while the job was walking; start anew";
        return Err(SourceError::BaseUrl { reason: reason.to_owned() });
    }
    now.set_path(then.path());
    Ok(now.into())
}

fn parsed(base_url: &str) -> Result<Url, SourceError> {
    Url::parse(base_url).map_err(|error| SourceError::BaseUrl { reason: format!("{base_url:?}: {error}") })
}
