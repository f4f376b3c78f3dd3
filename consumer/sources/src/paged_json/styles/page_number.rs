//! Pages have numbers.

use protocol::walk::Walk;
use serde::Deserialize;

use super::{Follow, Page, Place, Spot, Style, Traits, whole};
use crate::FetchError;

/// Pages have numbers. An empty page ends the list, unless something in the answer contradicts it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageNumber {
    /// The parameter's name.
    pub parameter: String,
    /// The number of the first page. Default 1.
    #[serde(default = "one")]
    pub first: u64,
    /// Where the number of pages is. The last of them ends the list then, and an empty one before it does not.
    #[serde(default)]
    pub pages: Option<Spot>,
}

const fn one() -> u64 {
    1
}

impl PageNumber {
    /// The number of the last page, as the answer has it.
    fn last(&self, page: &Page<'_, '_>) -> Option<u64> {
        page.answer.pages().and_then(|pages| self.first.checked_add(pages)?.checked_sub(1))
    }
}

impl Style for PageNumber {
    fn place<'p>(&'p self, cursor: Option<&'p str>, _walk: &Walk) -> Result<Place<'p>, FetchError> {
        Ok(Place::Parameter(&self.parameter, whole(cursor, self.first)?.to_string()))
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let (here, empty) = (whole(page.cursor, self.first)?, page.answer.records.is_empty());
        // A number of pages that this page with its records contradicts says nothing.
        let last = self.last(page).filter(|last| *last >= here || empty);
        let next = here.checked_add(1).map(|next| next.to_string());
        Ok(match (last, page.more) {
            (Some(last), None) if here >= last => Follow::End,
            _ if empty => Follow::Nothing { otherwise: next },
            _ => next.map_or(Follow::End, Follow::Next),
        })
    }

    fn traits(&self) -> Traits {
        Traits { counted: true, moving: true, until_total: false, by_offset: false }
    }

    fn contradicts(&self, page: &Page<'_, '_>) -> Option<String> {
        let here = whole(page.cursor, self.first).ok()?;
        self.last(page).filter(|last| here < *last).map(|last| format!("the last page is {last}"))
    }

    fn after(&self, cursor: Option<&str>, _walk: &Walk) -> Option<String> {
        Some(whole(cursor, self.first).ok()?.checked_add(1)?.to_string())
    }

    fn pages(&self) -> Option<&Spot> {
        self.pages.as_ref()
    }
}
