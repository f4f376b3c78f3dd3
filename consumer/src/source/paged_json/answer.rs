//! Splits an answer into its records, its next page and its total.

use serde_json::value::RawValue;
use std::sync::Arc;

use super::pointer::{Items, MAX_POINTERS, Pointer, find};
use super::record::{Judge, RecordShape};
use super::settings::{Settings, pointer};
use crate::source::SourceError;
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
    pub(super) records: Vec<&'de RawValue>,
    /// The next page's URL or cursor.
    pub(super) next: Option<&'de RawValue>,
    /// Whether there is more.
    pub(super) more: Option<&'de RawValue>,
    pages: Option<&'de RawValue>,
    total: Option<&'de RawValue>,
}

/// A body that is not the expected JSON.
#[derive(Debug, thiserror::Error)]
pub(super) enum AnswerError {
    #[error("{0}")]
    Json(#[from] serde_json::Error),
    #[error("no array of records at {0:?}")]
    NoRecords(String),
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
        let mut items = Items { pointer: RECORDS, items: None, max: max_records };
        find(text, &self.pointers, found, Some(&mut items))?;
        let records = items.items.ok_or_else(|| {
            AnswerError::NoRecords(self.pointers.first().map(ToString::to_string).unwrap_or_default())
        })?;
        let part = |place: Option<usize>| found.get(place?).copied().flatten();
        let (next, more, pages) = (part(self.next), part(self.more), part(self.pages));
        Ok(Answer { records, next, more, pages, total: part(self.total) })
    }

    /// What judges the records of a slice's page, which are in this answer.
    pub(super) fn judge<'de>(&self, span: Span, answer: &'de Arc<String>) -> Judge<'_, 'de> {
        Judge::new(&self.record, span, answer)
    }
}

impl Answer<'_> {
    /// The number of pages, if it can be read.
    pub(super) fn pages(&self) -> Option<u64> {
        serde_json::from_str(self.pages?.get()).ok()
    }

    /// The upstream's total, unless it cannot be: no whole number, negative, less than what is on this page, or beyond
    /// [`MAX_TOTAL`].
    pub(super) fn total(&self) -> Option<i64> {
        let total: i64 = serde_json::from_str(self.total?.get()).ok()?;
        let here = i64::try_from(self.records.len()).unwrap_or(i64::MAX);
        (here..=MAX_TOTAL).contains(&total).then_some(total)
    }
}
