//! Splits an answer into its records, its next page and its total.

use serde_json::value::RawValue;

use super::pointer::{Items, MAX_POINTERS, Pointer, find};
use super::record::{Judge, RecordShape};
use super::settings::{Next, Settings, pointer};
use crate::source::SourceError;
use common::slice::Span;

/// Where the parts of an answer are.
#[derive(Debug)]
pub(super) struct AnswerShape {
    /// Records, next, and maybe total, in this order.
    pointers: Vec<Pointer>,
    record: RecordShape,
}

const RECORDS: usize = 0;
const NEXT: usize = 1;
const TOTAL: usize = 2;

/// The parts of an answer, as pieces of its text.
#[derive(Debug)]
pub(super) struct Answer<'de> {
    pub(super) records: Vec<&'de RawValue>,
    pub(super) next: Option<&'de RawValue>,
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
        let (Next::NextUrl { pointer: next } | Next::Cursor { pointer: next, .. }) = &settings.next;
        let mut pointers =
            vec![pointer("records.pointer", &settings.records.pointer)?, pointer("next.pointer", next)?];
        if let Some(total) = &settings.total {
            pointers.push(pointer("total", total)?);
        }
        Ok(Self { pointers, record: RecordShape::new(&settings.records)? })
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
        let part = |index: usize| found.get(index).copied().flatten();
        Ok(Answer { records, next: part(NEXT), total: part(TOTAL) })
    }

    /// What judges the records of a slice's page.
    pub(super) fn judge<'de>(&self, span: Span) -> Judge<'_, 'de> {
        Judge::new(&self.record, span)
    }
}

impl Answer<'_> {
    /// The upstream's total, unless it cannot be: no whole number, negative, or less than what is on this page.
    pub(super) fn total(&self) -> Option<i64> {
        let total: i64 = serde_json::from_str(self.total?.get()).ok()?;
        (total >= i64::try_from(self.records.len()).unwrap_or(i64::MAX)).then_some(total)
    }
}
