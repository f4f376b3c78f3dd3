//! The id of a page's last record goes into a query parameter.

use protocol::walk::Walk;
use serde::Deserialize;

use super::{Follow, Page, Place, Style, kept, own};
use crate::error::quote;
use crate::paged_json::pointer::Pointer;
use crate::paged_json::scan::scan;
use crate::paged_json::settings::{OneOrMany, Records, pointer};
use crate::{FetchError, SourceError};

/// The id of a page's last record goes into a query parameter, such as Stripe's `starting_after`. An empty page ends
/// the list, and so does one that has only the record that it was asked for after.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LastId {
    /// The parameter's name.
    pub parameter: String,
    /// Where the id is within a record. Default `records.id`, if that is one pointer.
    #[serde(default)]
    pub id: Option<String>,
}

/// The style, with the place of the id.
#[derive(Debug)]
pub(super) struct After {
    parameter: String,
    id: Pointer,
}

impl After {
    pub(super) fn new(settings: LastId, records: &Records) -> Result<Self, SourceError> {
        let id = match (&settings.id, &records.id) {
            (Some(id), _) => pointer("next.id", id)?,
            (None, OneOrMany::One(id)) => pointer("records.id", id)?,
            (None, OneOrMany::Many(_)) => {
                return Err(SourceError::settings("next.id: is needed, since records.id has several parts"));
            }
        };
        Ok(Self { parameter: settings.parameter, id })
    }

    fn id_of(&self, record: &str) -> Result<String, FetchError> {
        let mut found = [None];
        let read = scan(record, std::slice::from_ref(&self.id), &mut found);
        // Whether it can be stored is another matter.
        let id = read.ok().and_then(|_storable| found.first().copied().flatten());
        let id = id.filter(|json| *json != "null").map(own).transpose()?;
        id.filter(|id| !id.is_empty()).ok_or_else(|| {
            FetchError::permanent(format!(
                "the page's last record has no id at {:?}, by which the next page is asked for",
                self.id.to_string()
            ))
        })
    }
}

impl Style for After {
    fn place<'p>(&'p self, cursor: Option<&'p str>, _walk: &Walk) -> Result<Place<'p>, FetchError> {
        Ok(cursor.map_or(Place::Start, |cursor| Place::Parameter(&self.parameter, cursor.to_owned())))
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let Some(last) = page.answer.records.last() else {
            if page.more == Some(true) {
                return Err(FetchError::permanent(
                    "cursor loop: the answer says that there is more, and has no records to go on after",
                ));
            }
            return Ok(Follow::End);
        };
        let next = self.id_of(last.json)?;
        if page.cursor != Some(&next) {
            return kept(next);
        }
        if page.answer.records.len() == 1 && page.more != Some(true) {
            return Ok(Follow::End);
        }
        Err(FetchError::permanent(format!("cursor loop: the page after {} ends with it", quote(&next))))
    }
}
