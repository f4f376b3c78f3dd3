//! Splits an answer into its records, its next page and its total.

use std::sync::Arc;

use super::pointer::{MAX_POINTERS, Pointer};
use super::record::{Judge, RecordShape};
use super::scan::{Item, List, scan_list};
use super::settings::{Settings, pointer};
use crate::source::SourceError;
use crate::source::error::quote;
use common::slice::Span;

/// Where the parts of an answer are.
#[derive(Debug)]
pub(super) struct AnswerShape {
    /// The records first, then whatever else is known.
    pointers: Vec<Pointer>,
    next: Option<usize>,
    more: Option<usize>,
    pages: Option<usize>,
    total: Option<usize>,
    record: RecordShape,
}

/// A total beyond this is not believed. The sum over the slices of a job must fit into 64 bits.
pub(super) const MAX_TOTAL: i64 = 100_000_000_000;

const RECORDS: usize = 0;

/// The parts of an answer, as pieces of its text.
#[derive(Debug)]
pub(super) struct Answer<'de> {
    pub(super) records: Vec<Item<'de>>,
    /// What is known of each record, one after the other.
    parts: Vec<Option<&'de str>>,
    /// The next page's URL or cursor.
    pub(super) next: Option<&'de str>,
    /// Whether there is more.
    pub(super) more: Option<&'de str>,
    pages: Option<&'de str>,
    total: Option<&'de str>,
}

/// A body that is not the expected JSON.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("{0}")]
    Unread(String),
    #[error("no array of records at {0:?}")]
    NoRecords(String),
    #[error("expected the array of records at {0:?}, and found {1}")]
    OtherThanRecords(String, String),
}

impl AnswerShape {
    pub(super) fn new(settings: &Settings) -> Result<Self, SourceError> {
        let mut pointers = vec![pointer("records.pointer", &settings.records.pointer)?];
        let mut place = |known: Option<Pointer>| {
            known.map(|known| {
                pointers.push(known);
                pointers.len() - 1
            })
        };
        let next = place(settings.next.place()?);
        let more = place(settings.next.more()?);
        let pages = place(settings.next.pages()?);
        let total = place(settings.total.as_ref().map(|total| pointer("total", total)).transpose()?);
        Ok(Self { pointers, next, more, pages, total, record: RecordShape::new(&settings.records)? })
    }

    /// Splits the text of an answer, and refuses what is not JSON or has no array of records.
    pub(super) fn split<'de>(&self, text: &'de str, max_records: usize) -> Result<Answer<'de>, AnswerError> {
        let mut found = [None; MAX_POINTERS];
        let found = found.get_mut(..self.pointers.len()).unwrap_or_default();
        let inside = self.record.pointers();
        let mut list = List { pointer: RECORDS, max: max_records, inside, items: None, found: Vec::new() };
        scan_list(text, &self.pointers, found, &mut list)
            .map_err(|error| AnswerError::Unread(error.explain(text)))?;
        let part = |place: Option<usize>| found.get(place?).copied().flatten();
        let records = list.items.ok_or_else(|| {
            let pointer = self.pointers.get(RECORDS).map(ToString::to_string).unwrap_or_default();
            match part(Some(RECORDS)) {
                Some(other) => AnswerError::OtherThanRecords(pointer, quote(other)),
                None => AnswerError::NoRecords(pointer),
            }
        })?;
        let (next, more, pages) = (part(self.next), part(self.more), part(self.pages));
        Ok(Answer { records, parts: list.found, next, more, pages, total: part(self.total) })
    }

    /// What judges the records of a slice's page, which are in this answer.
    pub(super) fn judge<'de>(&self, span: Span, answer: &'de Arc<String>) -> Judge<'_, 'de> {
        Judge::new(&self.record, span, answer)
    }
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
        serde_json::from_str(self.pages?).ok()
    }

    /// The upstream's total, unless it cannot be: no whole number, negative, less than what is on this page, or beyond
    /// [`MAX_TOTAL`].
    pub(super) fn total(&self) -> Option<i64> {
        let total: i64 = serde_json::from_str(self.total?).ok()?;
        let here = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        (here..=MAX_TOTAL).contains(&total).then_some(total)
    }
}
