//! Splits an answer into its records, its next page and its total.

use std::borrow::Cow;
use std::sync::Arc;

use reqwest::header::HeaderMap;

use super::figures::{flag, whole};
use super::pointer::{MAX_POINTERS, Pointer};
use super::record::{Judge, Parts, RecordShape};
use super::scan::{Item, List, scan, scan_list};
use super::settings::{Settings, Spot, pointer};
use super::styles::Style;
use super::text::ReadError;
use crate::error::quote;
use crate::{FetchError, SourceError};
use protocol::slice::Span;

/// Where the parts of an answer are.
#[derive(Debug)]
pub(super) struct AnswerShape {
    /// The records first, then whatever else is known.
    pointers: Vec<Pointer>,
    next: Option<Spot>,
    more: Option<Spot>,
    done: Option<Spot>,
    pages: Option<Spot>,
    total: Option<Spot>,
    record: RecordShape,
}

/// A total beyond this is not believed. The sum over the slices of a job must fit into 64 bits.
pub(super) const MAX_TOTAL: i64 = 100_000_000_000;

const RECORDS: usize = 0;

/// The parts of an answer, as pieces of its text, or of its headers.
#[derive(Debug)]
pub(super) struct Answer<'de> {
    pub(super) records: Vec<Item<'de>>,
    /// Whether there is an array of records.
    pub(super) list: Listed,
    /// What is known of each record, one after the other.
    parts: Vec<Option<&'de str>>,
    /// The next page's URL or cursor.
    pub(super) next: Option<Cow<'de, str>>,
    more: Option<Cow<'de, str>>,
    done: Option<Cow<'de, str>>,
    pages: Option<Cow<'de, str>>,
    total: Option<Cow<'de, str>>,
}

/// What stands where the array of records belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Listed {
    /// An array.
    Array,
    /// Null, or nothing at all since the answer has no content: an empty list.
    Null,
    /// Nothing: perhaps an empty list.
    Absent,
}

/// A body that is not the expected JSON.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("{0}")]
    Cut(String),
    #[error("{0}")]
    Unread(String),
    #[error(
        "no array of records at {0:?}; if an answer without it is this upstream's empty list, set records.absent to \"empty\""
    )]
    NoRecords(String),
    #[error("expected the array of records at {0:?}, and found {1}")]
    OtherThanRecords(String, String),
    #[error("no array of records at {0:?}, and an error: {1}")]
    ErrorInstead(String, String),
}

impl AnswerShape {
    pub(super) fn new(settings: &Settings, style: &dyn Style) -> Result<Self, SourceError> {
        let mut pointers = vec![pointer("records.pointer", &settings.records.pointer)?];
        let mut spot = |setting: &str, place: Option<&super::settings::Place>| {
            place.map(|place| Spot::of(setting, place, &mut pointers)).transpose()
        };
        let ends = &settings.next.ends;
        let next = spot("next.pointer", style.next())?;
        let more = spot("next.more", ends.more.as_ref())?;
        let done = spot("next.done", ends.done.as_ref())?;
        let pages = spot("next.pages", style.pages())?;
        let total = spot("total", settings.total.as_ref())?;
        let record = RecordShape::new(&settings.records, &settings.zone()?)?;
        Ok(Self { pointers, next, more, done, pages, total, record })
    }

    /// Splits the text of an answer, and refuses what is not JSON or has something else than an array of records.
    pub(super) fn split<'de>(
        &self,
        text: &'de str,
        headers: &HeaderMap,
        max_records: usize,
    ) -> Result<Answer<'de>, AnswerError> {
        let mut found = [None; MAX_POINTERS];
        let found = found.get_mut(..self.pointers.len()).unwrap_or_default();
        let inside = self.record.pointers();
        let mut list =
            List { pointer: RECORDS, max: max_records, inside, begun: 0, items: None, found: Vec::new() };
        if let Err(error) = scan_list(text, &self.pointers, found, &mut list) {
            let (is_cut, words) = (error.is_cut(text), error.explain(text));
            return Err(match error {
                ReadError::NotJson(_) if is_cut => AnswerError::Cut(list.place() + &words),
                ReadError::NotJson(_) => AnswerError::Unread(list.place() + &words),
                ReadError::TooMany(_) => AnswerError::Unread(words),
            });
        }
        let (records, listed) = match (list.items, found.first().copied().flatten()) {
            (Some(records), _) => (records, Listed::Array),
            (None, None) => (Vec::new(), Listed::Absent),
            (None, Some("null")) => (Vec::new(), Listed::Null),
            (None, Some(other)) => {
                return Err(AnswerError::OtherThanRecords(self.records_at(), quote(other)));
            }
        };
        if listed != Listed::Array
            && let Some(error) = error_in(text)
        {
            return Err(AnswerError::ErrorInstead(self.records_at(), error));
        }
        Ok(Answer { records, list: listed, parts: list.found, ..self.apart(found, headers) })
    }

    /// An answer without content.
    pub(super) fn empty(&self, headers: &HeaderMap) -> Answer<'static> {
        self.apart(&[], headers)
    }

    /// Everything but the records.
    fn apart<'de>(&self, found: &[Option<&'de str>], headers: &HeaderMap) -> Answer<'de> {
        let part = |spot: &Option<Spot>| spot.as_ref()?.read(found, headers);
        Answer {
            records: Vec::new(),
            list: Listed::Null,
            parts: Vec::new(),
            next: part(&self.next),
            more: part(&self.more),
            done: part(&self.done),
            pages: part(&self.pages),
            total: part(&self.total),
        }
    }

    /// Why an answer without an array of records is no answer.
    pub(super) fn no_records(&self) -> AnswerError {
        AnswerError::NoRecords(self.records_at())
    }

    /// What judges the records of a slice's page, which are in this answer.
    pub(super) fn judge<'de>(&self, span: Span, answer: &'de Arc<String>) -> Judge<'_, 'de> {
        Judge::new(&self.record, span, answer)
    }

    /// One record of an answer, of which this was found.
    pub(super) const fn part<'p, 'de>(&'p self, found: &'p [Option<&'de str>]) -> Parts<'p, 'de> {
        self.record.part(found)
    }

    fn records_at(&self) -> String {
        self.pointers.get(RECORDS).map(ToString::to_string).unwrap_or_default()
    }
}

/// What an answer that has no records says to be wrong: some upstreams do with status 200.
fn error_in(text: &str) -> Option<String> {
    let pointers =
        ["/error", "/errors"].map(Pointer::parse).into_iter().collect::<Result<Vec<_>, _>>().ok()?;
    let mut found = [None; 2];
    drop(scan(text, &pointers, &mut found));
    let none = ["null", "false", "\"\"", "[]", "{}", "0"];
    found.into_iter().flatten().find(|error| !none.contains(error)).map(quote)
}

impl<'de> Answer<'de> {
    /// Each record, and what is known of it.
    pub(super) fn each(&self) -> impl Iterator<Item = (&Item<'de>, &[Option<&'de str>])> {
        // A record's id is at one place at least.
        let places = self.parts.len().checked_div(self.records.len()).unwrap_or_default().max(1);
        self.records.iter().zip(self.parts.chunks(places))
    }

    /// The number of pages, if it can be read.
    pub(super) fn pages(&self) -> Option<u64> {
        whole(self.pages.as_deref()?)?.try_into().ok()
    }

    /// The upstream's total, unless it cannot be: no whole number, negative, less than what is on this page, or beyond
    /// [`MAX_TOTAL`].
    pub(super) fn total(&self) -> Option<i64> {
        let total = whole(self.total.as_deref()?)?;
        let here = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        (here..=MAX_TOTAL).contains(&total).then_some(total)
    }

    /// The upstream's total, whatever it is.
    pub(super) fn named_total(&self) -> Option<i64> {
        whole(self.total.as_deref()?)
    }

    /// Whether there is more, where the answer says so.
    pub(super) fn more(&self) -> Result<Option<bool>, FetchError> {
        let more = flag("next.more", self.more.as_deref())?;
        let done = flag("next.done", self.done.as_deref())?;
        Ok(more.or_else(|| done.map(|done| !done)))
    }
}
