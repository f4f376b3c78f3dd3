//! The `next` setting: how the next page of a list is found, and how its end looks.

use serde::de::Error;
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value};

use super::Place;
use crate::SourceError;
use crate::paged_json::styles::{Cursor, LastId, LinkHeader, NextUrl, Offset, PageNumber};

/// How the next page is found. A short page never ends a list: upstreams clamp page sizes, and filter pages.
#[derive(Clone, Debug)]
pub struct Next {
    /// What the next page is asked for by.
    pub style: Style,
    /// What else says that the list ends, or goes on, in every style.
    pub ends: Ends,
}

/// What the next page is asked for by.
#[derive(Clone, Debug, Deserialize)]
#[serde(tag = "style", rename_all = "snake_case")]
#[expect(missing_docs, reason = "each style says it itself")]
pub enum Style {
    NextUrl(NextUrl),
    LinkHeader(LinkHeader),
    Cursor(Cursor),
    LastId(LastId),
    PageNumber(PageNumber),
    Offset(Offset),
}

/// What else says that the list ends, or goes on. Beside the style's own members in `next`.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ends {
    /// Where a flag is that is true while there is more: false ends the list, whatever else the answer says. Where it is
    /// missing or null it says nothing. True on a page that leads nowhere is an error, since stopping would lose records.
    pub more: Option<Place>,
    /// The same the other way round: true ends the list. Where both are given and both speak, `more` counts.
    pub done: Option<Place>,
    /// Statuses that mean the end when a page after the first one is answered with them, such as `[404]`.
    #[serde(deserialize_with = "one_or_many")]
    pub end_status: Vec<u16>,
}

/// A status, or several.
fn one_or_many<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u16>, D::Error> {
    let value = Value::deserialize(deserializer)?;
    let several = if value.is_array() { value } else { Value::Array(vec![value]) };
    serde_json::from_value(several)
        .map_err(|_other| D::Error::custom("end_status: must be statuses, such as [404]"))
}

impl Ends {
    const MEMBERS: [&str; 3] = ["more", "done", "end_status"];
}

impl<'de> Deserialize<'de> for Next {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut style = Map::deserialize(deserializer)?;
        let mut ends = Map::new();
        for member in Ends::MEMBERS {
            ends.extend(style.remove_entry(member));
        }
        let (style, ends) = (Value::Object(style), Value::Object(ends));
        let style = Style::deserialize(style).map_err(D::Error::custom)?;
        let ends = serde_path_to_error::deserialize(ends).map_err(D::Error::custom)?;
        Ok(Self { style, ends })
    }
}

impl Next {
    /// Refuses what means nothing.
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let unfit = |status: &&u16| {
            !(201..=599).contains(*status) || [401, 403, 407, 408, 425, 429].contains(*status)
        };
        match self.ends.end_status.iter().find(unfit) {
            Some(status) => Err(SourceError::settings(format!(
                "next.end_status: {status} never means the end of a list; it is an upstream's way to refuse or to ask for time"
            ))),
            None => Ok(()),
        }
    }
}
