//! Every kind of source there is: one line each.

use serde_json::Value;

use super::{Endpoint, Planning, Scope, Source, SourceError, paged_json, ultravox};
use url::Url;

/// A kind of source. `docs/sources/writing-a-source.md` shows how one is written.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// Its name in a connection's row.
    pub name: &'static str,
    /// What it reads, for people who choose one.
    pub about: &'static str,
    /// Opens a connection, or says what is wrong with its settings or credentials. Asks nothing of the upstream.
    pub open: fn(&Endpoint) -> Result<Box<dyn Source>, SourceError>,
    /// How jobs of a connection with these settings are planned. Needs no credentials.
    pub planning: fn(&Value) -> Result<Planning, SourceError>,
    /// What decides which records such a connection lists. Needs no credentials.
    pub scope: fn(&Url, &Value) -> Result<Scope, SourceError>,
    /// If it is a preset of `paged_json`: these settings as that source has them, by which the upstream's habits are examined.
    pub paged: Option<Preset>,
}

/// Makes settings of `paged_json` of those of a connection.
pub type Preset = fn(&Value) -> Result<paged_json::Settings, SourceError>;

/// All of them.
pub const KINDS: [Kind; 2] = [
    Kind {
        name: paged_json::KIND,
        about: "Paged JSON over HTTP, described by the settings",
        open: |endpoint| Ok(Box::new(paged_json::PagedJson::open(endpoint)?)),
        planning: paged_json::planning,
        scope: paged_json::scope,
        paged: Some(paged_json::Settings::read),
    },
    Kind {
        name: ultravox::KIND,
        about: "Calls of Ultravox; credentials {\"api_key\": \"…\"}",
        open: |endpoint| Ok(Box::new(ultravox::open(endpoint)?)),
        planning: ultravox::planning,
        scope: ultravox::scope,
        paged: Some(ultravox::preset),
    },
];

/// The kind of this name.
pub(super) fn kind(name: &str) -> Result<&'static Kind, SourceError> {
    const { &KINDS }
        .iter()
        .find(|kind| kind.name == name)
        .ok_or_else(|| SourceError::UnknownKind { kind: name.to_owned() })
}
