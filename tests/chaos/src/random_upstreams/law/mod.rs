//! The law: every difference between an upstream and the records is explained.
//!
//! It is asked after each job, of what the upstream has had by then, of what the job said, and of the records. A record is
//! *steady* in a job if it was there, with the same content, from before the job's first request to after its last one. The
//! *time* of a record is the one that the settings read of it. A job *tells* by failing, by a warning, or by a note.
//!
//! - **Invented.** Every stored content is one that the upstream has had, and is stored with its time.
//! - **Lost.** After a completed job, each record that was steady in it, and whose time lies in its span, is stored with
//!   its content. One that is odd (it cannot be read, or is not importable) may be missing if `failed` or the note
//!   `deferred` counts it. Others may be missing if a warning doubts that the walk was whole; or if the note
//!   `moving_list` is there, at most as many as were removed while the job read. What the upstream kept to itself, by a
//!   cap or by a window, is no difference: unless its total, which the settings take for exact, counted it. Nor is what
//!   nobody could find out: settings that look for the next page where there is none, or ask for it by a name that the
//!   upstream does not know, while it clamps its pages and says nothing of what there is.
//! - **Passed over.** An incremental job begins somewhere, and so says that all that is older is known. What is older and
//!   missing must be excused by an earlier job: it was completed, it read that time and a newer record than that, and
//!   the record was not steady in it (it came later, or moved); or that job told of the record; or the upstream kept it to
//!   itself then.
//! - **Killed.** What a job marks deleted was not there all the time that the job took. Nothing explains that.
//! - **Left.** After a completed full sync, what was gone before it began, and is stored with a time in its span, is
//!   deleted, or counted by a warning, or the job says why it deleted nothing. What two of them in a row did not meet, with
//!   nothing else to tell, is deleted.
//! - **Endless.** A job ends in time, and with no more requests than its upstream explains.
//! - **Crying wolf.** A job that reads an upstream which is as its settings say, and holds still, is completed without a
//!   warning.

mod rules;
#[cfg(test)]
mod tests;

use super::history::{History, Tick};
use super::upstream::Log;
use super::world::{Mode, World};
use protocol::warning::WarningKind;
use serde::Serialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is completed.
    Completed,
    /// It failed, and said why.
    Failed(String),
    /// It did not end in time.
    Never,
}

/// A job, what it said, and what was stored after it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it pulled.
    pub mode: Mode,
    /// The moment before its first request.
    pub began: Tick,
    /// The moment after its last one.
    pub ended: Tick,
    /// How it ended.
    pub end: Ended,
    /// Its span, in microseconds since 1970.
    pub from: Option<i64>,
    /// Its end, which does not belong to it.
    pub to: i64,
    /// How many slices it had.
    pub slices: i64,
    /// What it warned of, and what it noted.
    pub told: BTreeMap<WarningKind, i64>,
    /// Why it deleted nothing, if it was to.
    pub deletion_left_out: Option<String>,
    /// What the upstream noted of it.
    pub log: Log,
    /// The records after it.
    pub records: BTreeMap<String, Stored>,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its content.
    pub payload: Value,
    /// When it happened, in microseconds since 1970.
    pub time: Option<i64>,
    /// Whether it is marked deleted.
    pub deleted: bool,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which one.
    pub rule: Rule,
    /// After which job, from 0.
    pub job: usize,
    /// In words.
    pub text: String,
}

/// A rule of the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the module says what each is")]
pub enum Rule {
    Invented,
    Lost,
    PassedOver,
    Killed,
    Left,
    Endless,
    CryingWolf,
    /// Settings that fit the upstream were refused.
    Refused,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after job {}: {}", self.rule, self.job, self.text)
    }
}

/// Judges all jobs of a case.
#[must_use]
pub fn judge(world: &World, history: &History, jobs: &[Facts]) -> Vec<Breach> {
    let mut court = rules::Court::new(world, history, jobs);
    for job in 0..jobs.len() {
        court.judge(job);
    }
    court.breaches()
}
