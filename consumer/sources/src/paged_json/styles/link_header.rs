//! The header `Link` has the next page's URL.

use protocol::walk::Walk;
use reqwest::header::LINK;
use serde::Deserialize;

use super::{Follow, Page, Place, Style, here, itself, kept, nowhere, on_this_host};
use crate::FetchError;
use crate::paged_json::link;

/// The header `Link` (RFC 8288) has the next page's URL, as `rel=next`. None ends the list, and so does one with
/// `results=false`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkHeader {}

impl Style for LinkHeader {
    fn place<'p>(&'p self, cursor: Option<&'p str>, _walk: &Walk) -> Result<Place<'p>, FetchError> {
        Ok(cursor.map_or(Place::Start, Place::Elsewhere))
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let fields = page.headers.get_all(LINK).iter().map(|value| String::from_utf8_lossy(value.as_bytes()));
        let fields: Vec<_> = fields.collect();
        let next = link::next(fields.iter().map(AsRef::as_ref));
        let next =
            next.map_err(|why| FetchError::permanent(format!("the header Link cannot be read: {why}")))?;
        let Some(url) = next.filter(|url| !url.is_empty()) else {
            return nowhere(page, "Link to a next page");
        };
        let next = on_this_host(&url, page)?;
        if next == here(page) { itself(&next, page) } else { kept(next) }
    }
}
