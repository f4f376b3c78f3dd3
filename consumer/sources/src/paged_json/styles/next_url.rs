//! The answer has the next page's URL.

use protocol::walk::Walk;
use serde::Deserialize;
use serde_json::Value;

use super::marks::present;
use super::{Follow, Page, Place, Spot, Style, here, itself, kept, nowhere, on_this_host, unreadable};
use crate::FetchError;
use crate::paged_json::record::text;

/// The answer has the next page's URL, absolute or relative, on the connection's own host. Null, missing or empty ends the
/// list.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NextUrl {
    /// Where it is.
    pub pointer: Spot,
    /// Other values that end the list, such as `[false]`.
    #[serde(default)]
    pub end_marks: Vec<Value>,
}

impl Style for NextUrl {
    fn place<'p>(&'p self, cursor: Option<&'p str>, _walk: &Walk) -> Result<Place<'p>, FetchError> {
        Ok(cursor.map_or(Place::Start, Place::Elsewhere))
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let Some(json) = present(page.answer.next.as_deref(), &self.end_marks) else {
            return nowhere(page, "URL of a next page");
        };
        let url = text(json).ok_or_else(|| {
            unreadable(
                json,
                "must be a URL or null; if this means the end of the list, name it in next.end_marks",
            )
        })?;
        let next = on_this_host(&url, page)?;
        if next == here(page) { itself(&next, page) } else { kept(next) }
    }

    fn next(&self) -> Option<&Spot> {
        Some(&self.pointer)
    }
}
