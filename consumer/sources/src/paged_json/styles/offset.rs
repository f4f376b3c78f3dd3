//! Pages are asked for by how many records come before them.

use protocol::walk::{Overlap, Walk};
use serde::Deserialize;

use super::{Follow, Page, Place, Style, Traits, whole};
use crate::paged_json::settings::Settings;
use crate::{FetchError, SourceError, TotalIs};

/// Pages are asked for by how many records come before them. A page without new records ends the list, unless something
/// in the answer contradicts it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offset {
    /// The parameter's name.
    pub parameter: String,
    /// Whether the list ends where `total` says: then a page beyond it may be refused. Only for upstreams whose total is
    /// exact.
    #[serde(default)]
    pub until_total: bool,
    /// How many records of the page before each page is asked for with, which shows whether the list has moved: 1, or 0 for
    /// an upstream that only takes multiples of the page size. Default 1.
    #[serde(default = "one")]
    pub overlap: u8,
}

const fn one() -> u8 {
    1
}

/// Marks a checkpoint at which no record is asked for again.
const EXACTLY: char = '=';

/// The style, with how many records are asked for.
#[derive(Debug)]
pub(super) struct Counted {
    parameter: String,
    until_total: bool,
    overlaps: bool,
    size: Option<u64>,
}

impl Counted {
    pub(super) fn new(style: Offset, settings: &Settings) -> Result<Self, SourceError> {
        let wrong = |reason: &str| Err(SourceError::settings(reason));
        if style.overlap > 1 {
            return wrong("next.overlap: must be 1, or 0 for none");
        }
        if style.until_total && settings.total.is_none() {
            return wrong("next.until_total: needs total, the place of the number of all records");
        }
        if style.until_total && settings.total_is != TotalIs::Exact {
            return wrong("next.until_total: needs a total that is exact, so total_is cannot say otherwise");
        }
        let size = settings.page_size.as_ref().map(|page_size| u64::from(page_size.size));
        Ok(Self {
            parameter: style.parameter,
            until_total: style.until_total,
            overlaps: style.overlap > 0,
            size,
        })
    }

    /// Where the records begin that are asked for, and how many of them were read before.
    ///
    /// Pages of one record have no room for one that was read before.
    fn begin(&self, cursor: Option<&str>, walk: &Walk) -> Result<(u64, u64), FetchError> {
        if let Some(exact) = cursor.and_then(|cursor| cursor.strip_prefix(EXACTLY)) {
            return Ok((whole(Some(exact), 0)?, 0));
        }
        let read = whole(cursor, 0)?;
        let possible = self.overlaps && walk.overlap == Overlap::Possible;
        let early = possible && walk.last_id.is_some() && walk.largest_page > 1 && self.size != Some(1);
        let early = u64::from(early).min(read);
        Ok((read - early, early))
    }

    fn step(&self, walk: &Walk) -> Option<u64> {
        self.size.or_else(|| u64::try_from(walk.largest_page).ok()).filter(|step| *step > 0)
    }
}

impl Style for Counted {
    fn place<'p>(&'p self, cursor: Option<&'p str>, walk: &Walk) -> Result<Place<'p>, FetchError> {
        let (begin, _) = self.begin(cursor, walk)?;
        Ok(Place::Parameter(&self.parameter, begin.to_string()))
    }

    fn follow(&self, page: &Page<'_, '_>) -> Result<Follow, FetchError> {
        if page.more == Some(false) {
            return Ok(Follow::End);
        }
        let (begin, early) = self.begin(page.cursor, page.walk)?;
        let records = u64::try_from(page.answer.records.len()).unwrap_or(u64::MAX);
        if page.fresh > 0 {
            return Ok(Follow::Next(begin.saturating_add(records).to_string()));
        }
        let here = begin + early;
        if early > 0 && records > 0 && !page.complete {
            // Some upstreams bound a page by its bytes, so that the next record may not have fitted beside this one; and some
            // only take multiples of their page size.
            return Ok(Follow::Next(format!("{EXACTLY}{here}")));
        }
        let otherwise = self.step(page.walk).map(|step| here.saturating_add(step).to_string());
        Ok(Follow::Nothing { otherwise })
    }

    fn traits(&self) -> Traits {
        Traits { counted: true, moving: !self.overlaps, until_total: self.until_total, by_offset: true }
    }

    fn is_early(&self, cursor: Option<&str>, walk: &Walk) -> bool {
        self.begin(cursor, walk).is_ok_and(|(_, early)| early > 0)
    }

    /// As many records further as were asked for. Of an upstream that gives fewer, records that a readable page would have
    /// had are skipped too.
    fn after(&self, cursor: Option<&str>, walk: &Walk) -> Option<String> {
        let (begin, _) = self.begin(cursor, walk).ok()?;
        Some(begin.checked_add(self.size?)?.to_string())
    }
}
