//! What was understood of the first page, for people and scripts.

use chrono::{DateTime, Utc};
use serde::Serialize;

use crate::{Content, Outside};

/// The page, or why there is none.
#[derive(Clone, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It was read.
    Page(PageSeen),
    /// It was not.
    Error(ErrorSeen),
}

/// What was understood of a page.
#[derive(Clone, Debug, Serialize)]
#[expect(missing_docs, reason = "the counts are those of a job")]
pub struct PageSeen {
    pub stored: usize,
    pub deferred: usize,
    pub failed: usize,
    /// Records that would be dropped, since they lie outside the span.
    pub dropped: usize,
    /// The first records.
    pub records: Vec<RecordSeen>,
    /// The first of those that would be dropped.
    pub outside: Vec<Outside>,
    /// Why records failed: the first few reasons, and how many records each of them is about.
    pub reasons: Vec<Reason>,
    /// The checkpoint of the next page; null is the end.
    pub next: Option<String>,
    /// How many records the upstream says that there are.
    pub total: Option<i64>,
    /// The size of the answer, decompressed.
    pub bytes: usize,
}

/// Why records failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// In words.
    pub reason: String,
    /// How many records.
    pub count: usize,
}

impl PageSeen {
    /// What a job could do with the page.
    #[must_use]
    pub const fn verdict(&self) -> Verdict {
        match (self.failed, self.stored + self.deferred) {
            (0, _) => Verdict::Read,
            (_, 0) => Verdict::AllFailed,
            _ => Verdict::SomeFailed,
        }
    }
}

/// What a job could do with a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Verdict {
    /// Everything in it can be read.
    Read,
    /// Some records cannot be read.
    SomeFailed,
    /// No record can be read.
    AllFailed,
}

/// What was understood of a record.
#[derive(Clone, Debug, Serialize)]
pub struct RecordSeen {
    /// Its id; empty if it has none.
    pub id: String,
    /// When it happened.
    pub time: Option<DateTime<Utc>>,
    /// What would become of it.
    pub would_be: Fate,
    /// Why it would fail.
    pub reason: Option<String>,
}

/// What would become of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "as of Content")]
pub enum Fate {
    Stored,
    Deferred,
    Failed,
}

/// Why there is no page.
#[derive(Clone, Debug, Serialize)]
pub struct ErrorSeen {
    /// What a job would do about it.
    pub kind: ErrorKind,
    /// What happened.
    pub cause: String,
    /// The beginning of the answer, if one came.
    pub body: Option<String>,
}

/// What a job would do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ErrorKind {
    /// Try the page again later.
    Transient,
    /// Let the whole connection rest.
    RateLimited,
    /// Fail.
    Permanent,
}

impl Fate {
    pub(super) const fn of(content: &Content) -> Self {
        match content {
            Content::Stored { .. } => Self::Stored,
            Content::Deferred => Self::Deferred,
            Content::Gone { .. } | Content::Failed { .. } => Self::Failed,
        }
    }
}
