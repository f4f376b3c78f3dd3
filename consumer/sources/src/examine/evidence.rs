//! What the answers of an upstream have shown.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use protocol::slice::Span;
use reqwest::header::HeaderMap;
use serde_json::Value;

use super::patch::accepted;
use crate::paged_json::{Lens, Look};
use crate::{Endpoint, ParsedRecord};

/// One answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Sight {
    /// What stands in it, if it is a page.
    pub(super) look: Option<Look>,
    /// Its status.
    pub(super) status: Option<u16>,
}

/// A page that was asked for with a lower bound, which is the time of a record that is known.
#[derive(Clone, Debug)]
pub(super) struct Bounded {
    /// The bound, as it was sent.
    pub(super) bound: DateTime<Utc>,
    /// The record, if its time is exactly the bound.
    pub(super) at_bound: Option<String>,
    pub(super) sight: Sight,
}

/// A page beyond the end.
#[derive(Clone, Debug)]
pub(super) struct Beyond {
    /// Whether it is the very next one after the last page, as far as totals and numbers of pages can be trusted.
    pub(super) is_next: bool,
    /// In words.
    pub(super) place: String,
    pub(super) sight: Sight,
}

/// A page of the far past.
#[derive(Clone, Debug)]
pub(super) struct Deep {
    pub(super) span: Span,
    pub(super) sight: Sight,
    /// The record that was looked for without a lower bound, where that was asked: its id, and the answer.
    pub(super) shallow: Option<(String, Sight)>,
}

/// How an id was answered.
#[derive(Clone, Debug)]
pub(super) struct ById {
    pub(super) id: String,
    pub(super) status: Option<u16>,
    pub(super) record: Option<ParsedRecord>,
}

/// Everything that was seen.
#[derive(Debug)]
pub(super) struct Evidence<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// None for a source that is no preset of `paged_json`.
    pub(super) lens: Option<&'a Lens>,
    /// The time of the examination.
    pub(super) now: DateTime<Utc>,
    /// What the first page was asked for with.
    pub(super) span: Span,
    pub(super) first: Sight,
    /// The format that the times are written in, if it is another than the settings say.
    pub(super) time_format: Option<super::found::times::Format>,
    pub(super) second: Option<Sight>,
    /// The second page with its cursor written otherwise: whether it was taken for encoded.
    pub(super) second_otherwise: Option<(bool, Sight)>,
    pub(super) beyond: Option<Beyond>,
    /// The page before the first one, where pages have numbers.
    pub(super) before_first: Option<Sight>,
    pub(super) bounded: Option<Bounded>,
    pub(super) deep: Option<Deep>,
    pub(super) listed: Option<ById>,
    pub(super) unknown: Option<ById>,
    pub(super) again: Option<Sight>,
    pub(super) headers: Vec<HeaderMap>,
    pub(super) redirected: Option<(String, String)>,
}

impl Sight {
    /// The ids of its records, those that can be read.
    pub(super) fn ids(&self) -> Vec<&str> {
        let ids = self.look.iter().flat_map(|look| &look.ids);
        ids.map(String::as_str).filter(|id| !id.is_empty()).collect()
    }

    pub(super) fn set(&self) -> BTreeSet<&str> {
        self.ids().into_iter().collect()
    }

    /// Whether it has the very records of another page, in their order, as far as their ids tell.
    pub(super) fn is_again(&self, other: &Self) -> bool {
        let ids = self.ids();
        !ids.is_empty() && ids == other.ids() && self.len() == other.len()
    }

    /// How many records it has.
    pub(super) fn len(&self) -> usize {
        self.look.as_ref().map_or(0, |look| look.ids.len())
    }

    pub(super) fn total(&self) -> Option<i64> {
        self.look.as_ref()?.total
    }

    /// Whether it is a page with records.
    pub(super) fn has_records(&self) -> bool {
        self.len() > 0
    }

    /// Whether it is a page without records.
    pub(super) fn is_empty_page(&self) -> bool {
        self.look.as_ref().is_some_and(|look| look.ids.is_empty())
    }

    /// Each record with a readable id and time.
    pub(super) fn dated(&self) -> Vec<(&str, DateTime<Utc>)> {
        let Some(look) = &self.look else { return Vec::new() };
        let pairs = look.ids.iter().zip(&look.times);
        pairs
            .filter_map(|(id, time)| Some((id.as_str(), (*time)?)))
            .filter(|(id, _)| !id.is_empty())
            .collect()
    }

    /// Whether its records are sorted by their times: the oldest first, or the newest. None if they are not, or if their times
    /// do not tell.
    pub(super) fn oldest_first(&self) -> Option<bool> {
        let look = self.look.as_ref()?;
        let times: Vec<_> = look.times.iter().copied().collect::<Option<_>>()?;
        let (first, last) = (times.first()?, times.last()?);
        let rises = times.is_sorted();
        let falls = times.is_sorted_by(|one, other| one >= other);
        (first != last && (rises || falls)).then_some(rises)
    }
}

impl<'a> Evidence<'a> {
    pub(super) fn new(
        endpoint: &'a Endpoint,
        lens: Option<&'a Lens>,
        now: DateTime<Utc>,
        span: Span,
        first: Sight,
    ) -> Self {
        Self {
            endpoint,
            lens,
            now,
            span,
            first,
            time_format: None,
            second: None,
            second_otherwise: None,
            beyond: None,
            before_first: None,
            bounded: None,
            deep: None,
            listed: None,
            unknown: None,
            again: None,
            headers: Vec::new(),
            redirected: None,
        }
    }

    /// The times of the records of the list's first pages.
    pub(super) fn known(&self) -> BTreeMap<&str, DateTime<Utc>> {
        let pages = std::iter::once(&self.first).chain(&self.second);
        pages.flat_map(Sight::dated).collect()
    }

    /// The ids of the list's first pages.
    pub(super) fn met(&self) -> BTreeSet<&str> {
        std::iter::once(&self.first).chain(&self.second).flat_map(Sight::ids).collect()
    }

    /// Whether the first page had other records when it was asked for again: then what is on other pages may have moved too.
    pub(super) fn has_moved(&self) -> bool {
        self.again.as_ref().is_some_and(|again| again.set() != self.first.set())
    }

    /// Whether the list is known to end with its first page: no other is named; or where pages are counted, the second is empty.
    pub(super) fn ends_with_first(&self) -> bool {
        let counted = self.lens.is_some_and(Lens::is_counted);
        let next = self.first.look.as_ref().and_then(|look| look.next.as_ref());
        match &self.second {
            Some(second) => counted && second.is_empty_page(),
            None => !counted && next.is_none() && self.first.look.is_some(),
        }
    }

    /// Whether the list is known to end with one of its first two pages.
    pub(super) fn is_read_whole(&self) -> bool {
        let counted = self.lens.is_some_and(Lens::is_counted);
        let second = self.second.as_ref().filter(|second| second.set() != self.first.set());
        let second_ends =
            second.and_then(|second| second.look.as_ref()).is_some_and(|look| look.next.is_none());
        let beyond_empty =
            self.beyond.as_ref().is_some_and(|beyond| beyond.is_third() && beyond.sight.is_empty_page());
        self.ends_with_first() || if counted { beyond_empty } else { second_ends }
    }

    /// Whether a page has room for more: it names no other, or is smaller than the first one.
    pub(super) fn has_room(&self, sight: &Sight) -> bool {
        let counted = self.lens.is_some_and(Lens::is_counted);
        let ends = sight.look.as_ref().is_some_and(|look| look.next.is_none());
        (ends && !counted) || (sight.look.is_some() && sight.len() < self.first.len())
    }

    /// Whether every answer that names a total says that this one is not too large: the list did not grow to it meanwhile.
    pub(super) fn totals_of_first(&self) -> Vec<i64> {
        std::iter::once(&self.first).chain(&self.again).filter_map(Sight::total).collect()
    }

    /// The first of these patches that the source takes.
    pub(super) fn patch(&self, patches: impl IntoIterator<Item = Value>) -> Option<Value> {
        accepted(self.endpoint, self.now, patches)
    }
}

impl Beyond {
    /// Whether it is the third page.
    pub(super) fn is_third(&self) -> bool {
        self.place == "page 3"
    }
}
