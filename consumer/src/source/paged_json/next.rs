//! The `next` setting: how the next page of a list is found.

use serde::Deserialize;

use super::pointer::Pointer;
use super::settings::{OneOrMany, Settings, pointer};
use crate::source::SourceError;

/// How the next page is found. A short page never ends a list: upstreams clamp page sizes, and filter pages.
///
/// `more` is a pointer to a flag of the answer: false ends the list; where it is missing or null it says nothing. True
/// on a page that leads nowhere is an error, since going on would be a loop, and stopping would lose records.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "style", rename_all = "snake_case", deny_unknown_fields)]
pub enum Next {
    /// The answer has the next page's URL, absolute or relative, on the connection's own host. Null, missing or empty
    /// ends the list.
    NextUrl {
        /// Where it is.
        pointer: String,
    },
    /// The header `Link` (RFC 8288) has the next page's URL, as `rel=next`. None ends the list.
    LinkHeader {},
    /// The answer has a cursor, which goes into a query parameter. Null, missing or empty ends the list.
    Cursor {
        /// Where it is.
        pointer: String,
        /// The parameter's name.
        parameter: String,
        /// Where the flag is that says whether there is more.
        #[serde(default)]
        more: Option<String>,
    },
    /// The id of a page's last record goes into a query parameter, such as Stripe's `starting_after`. An empty page ends
    /// the list.
    LastId {
        /// The parameter's name.
        parameter: String,
        /// Where the id is within a record. Default `records.id`, if that is one pointer.
        #[serde(default)]
        id: Option<String>,
        /// Where the flag is that says whether there is more, such as `/has_more`.
        #[serde(default)]
        more: Option<String>,
    },
    /// Pages have numbers. An empty page ends the list.
    PageNumber {
        /// The parameter's name.
        parameter: String,
        /// The number of the first page. Default 1.
        #[serde(default = "one")]
        first: u64,
        /// Where the number of pages is. The last of them ends the list then, and an empty one before it does not.
        #[serde(default)]
        pages: Option<String>,
        /// Where the flag is that says whether there is more.
        #[serde(default)]
        more: Option<String>,
    },
    /// Pages are asked for by how many records come before them. An empty page ends the list.
    Offset {
        /// The parameter's name.
        parameter: String,
        /// Whether the list ends where `total` says, which saves one request. Only for upstreams whose total is exact.
        #[serde(default)]
        until_total: bool,
        /// Where the flag is that says whether there is more.
        #[serde(default)]
        more: Option<String>,
    },
}

const fn one() -> u64 {
    1
}

impl Next {
    /// Refuses what does not fit the other settings.
    pub(super) fn check(&self, settings: &Settings) -> Result<(), SourceError> {
        match self {
            Self::LastId { id: None, .. } if matches!(settings.records.id, OneOrMany::Many(_)) => {
                Err(SourceError::settings("next.id: is needed, since records.id has several parts"))
            }
            Self::Offset { until_total: true, .. } if settings.total.is_none() => Err(SourceError::settings(
                "next.until_total: needs total, the pointer to the number of all records",
            )),
            Self::NextUrl { .. }
            | Self::LinkHeader {}
            | Self::Cursor { .. }
            | Self::LastId { .. }
            | Self::PageNumber { .. }
            | Self::Offset { .. } => Ok(()),
        }
    }

    /// Where the next page's URL or cursor is within the answer.
    pub(super) fn place(&self) -> Result<Option<Pointer>, SourceError> {
        match self {
            Self::NextUrl { pointer: text } | Self::Cursor { pointer: text, .. } => {
                pointer("next.pointer", text).map(Some)
            }
            Self::LinkHeader {} | Self::LastId { .. } | Self::PageNumber { .. } | Self::Offset { .. } => {
                Ok(None)
            }
        }
    }

    /// Where the flag is.
    pub(super) fn more(&self) -> Result<Option<Pointer>, SourceError> {
        let more = match self {
            Self::NextUrl { .. } | Self::LinkHeader {} => None,
            Self::Cursor { more, .. }
            | Self::LastId { more, .. }
            | Self::PageNumber { more, .. }
            | Self::Offset { more, .. } => more.as_ref(),
        };
        more.map(|text| pointer("next.more", text)).transpose()
    }

    /// Where the number of pages is.
    pub(super) fn pages(&self) -> Result<Option<Pointer>, SourceError> {
        match self {
            Self::PageNumber { pages: Some(text), .. } => pointer("next.pages", text).map(Some),
            Self::NextUrl { .. }
            | Self::LinkHeader {}
            | Self::Cursor { .. }
            | Self::LastId { .. }
            | Self::PageNumber { pages: None, .. }
            | Self::Offset { .. } => Ok(None),
        }
    }
}
