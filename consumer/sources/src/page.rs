//! A fetched page: what a source hands to the settle.

use chrono::{DateTime, Utc};
use protocol::payload::Payload;
use protocol::walk::Walk;
use protocol::warning::Warning;
use serde::Serialize;

use super::FetchError;
use super::fetch::Share;
use super::paged_json::storable;

/// The records of one page, read and judged, in the order of the upstream's answer.
///
/// The same key may appear more than once. Dropping the page gives its share of the process's byte budget back, so
/// keep it as long as the records, and no longer.
#[derive(Debug, Default)]
pub struct FetchedPage {
    /// Every record that lies in the slice's span.
    pub records: Vec<ParsedRecord>,
    /// The cursor of the next page; `None` ends the slice.
    pub next: Option<String>,
    /// How many records the upstream says that the whole list has; those outside the span are among them. `None` when
    /// it does not say, or says something that cannot be.
    pub total: Option<i64>,
    /// The size of the answer's body, decompressed.
    pub bytes: usize,
    /// How many records were dropped because they lie outside the slice's span, but within what was asked for: a margin, or
    /// whole days.
    pub dropped_by_margin: usize,
    /// How many were dropped that lie outside even of what was asked for.
    pub dropped_beyond: usize,
    /// The first few of the dropped ones, for whoever wants to see why.
    pub outside: Vec<Outside>,
    /// The ids of all dropped records that have a readable one.
    pub outside_ids: Vec<String>,
    /// What the walk has shown, this page included.
    pub walk: Walk,
    /// What this page adds to the slice's warnings and notes.
    pub warnings: Vec<Warning>,
    /// The answer had no list of records, which was taken for an empty one: what it is for whoever tries settings out.
    pub absent: Option<FetchError>,
    /// The page's share of the process's byte budget.
    pub reservation: Reservation,
}

/// How many dropped records a page remembers.
const OUTSIDE_KEPT: usize = 5;

impl FetchedPage {
    /// Counts a record that lies outside the span; `asked` is whether it lies within what was asked for.
    pub fn drop_outside(&mut self, record: Outside, asked: bool) {
        if asked {
            self.dropped_by_margin += 1;
        } else {
            self.dropped_beyond += 1;
        }
        if !record.id.is_empty() {
            self.outside_ids.push(record.id.clone());
        }
        if self.outside.len() < OUTSIDE_KEPT {
            self.outside.push(record);
        }
    }

    /// How many records were dropped because they lie outside the slice's span.
    #[must_use]
    pub const fn dropped(&self) -> usize {
        self.dropped_by_margin + self.dropped_beyond
    }
}

/// A record that was dropped because it lies outside the span.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Outside {
    /// Its id; empty if it has none.
    pub id: String,
    /// When it happened.
    pub time: Option<DateTime<Utc>>,
}

/// One record as it was found on a page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedRecord {
    /// The upstream's id of the record; empty when it has none that can be stored (it has failed then).
    pub key: String,
    /// When the upstream says that the record happened; `None` when the source knows no time.
    pub time: Option<DateTime<Utc>>,
    /// Its version, if the settings say where it is: the higher one is newer.
    pub version: Option<Version>,
    /// What is to be done with it.
    pub content: Content,
}

/// The version of a record: a whole number (of a fraction, what is below it), or a time as microseconds since 1970. Of one
/// connection they are all of one sort.
pub type Version = i64;

/// What was found of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Content {
    /// It can be stored.
    Stored {
        /// The blake3 hash of the payload.
        hash: [u8; 32],
        /// The record's own bytes, verbatim: JSON that Postgres accepts as `jsonb`.
        payload: Payload,
    },
    /// It was asked for by its id, and the upstream says that there is no such record any more.
    Gone {
        /// What it answered, in words that can be stored.
        reason: String,
    },
    /// It is not importable yet: a later sync will find it finished.
    Deferred,
    /// It cannot be read or stored.
    Failed {
        /// Why, in words that can be stored.
        reason: String,
    },
}

impl Content {
    /// One record's JSON, as it is to be stored; failed, if it is not JSON, or JSON that Postgres does not take.
    #[must_use]
    pub fn of_json(json: &str) -> Self {
        let json = json.trim();
        match storable::check(json) {
            Ok(()) => Self::Stored { hash: blake3::hash(json.as_bytes()).into(), payload: json.into() },
            Err(reason) => Self::Failed { reason },
        }
    }
}

/// A page's share of the process's byte budget beyond the small one that every page has. Given back when dropped.
#[derive(Debug, Default)]
pub struct Reservation(Option<Share>);

impl Reservation {
    pub(super) const fn of(share: Option<Share>) -> Self {
        Self(share)
    }

    /// Whether the page outgrew its small share.
    #[must_use]
    pub const fn is_large(&self) -> bool {
        self.0.is_some()
    }
}
