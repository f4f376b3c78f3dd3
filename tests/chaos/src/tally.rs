//! What is counted while chaos lasts.

use super::fault::Fault;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const KILL: &str = Fault::Kill.words();

/// The counts. Shared by everybody.
#[derive(Debug, Default)]
pub(super) struct Tally(Mutex<Counts>);

#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Faults that happened.
    pub(super) faults: BTreeMap<&'static str, u64>,
    /// Times until work went on after each kind.
    pub(super) recoveries: BTreeMap<&'static str, Vec<Duration>>,
    /// Recoveries that were not seen in time, or were overtaken by the next fault.
    pub(super) unseen: BTreeMap<&'static str, u64>,
    /// Commands by what was done.
    pub(super) commands: BTreeMap<&'static str, u64>,
    /// Bad answers of the upstream.
    pub(super) misbehaved: u64,
    /// What must not happen.
    pub(super) problems: Vec<String>,
}

impl Tally {
    pub(super) fn fault(&self, fault: &'static str) {
        *self.counts().faults.entry(fault).or_default() += 1;
    }

    pub(super) fn recovered(&self, fault: &'static str, after: Option<Duration>) {
        let mut counts = self.counts();
        match after {
            Some(after) => counts.recoveries.entry(fault).or_default().push(after),
            None => *counts.unseen.entry(fault).or_default() += 1,
        }
    }

    pub(super) fn command(&self, what: &'static str) {
        *self.counts().commands.entry(what).or_default() += 1;
    }

    pub(super) fn misbehaved(&self, times: u64) {
        self.counts().misbehaved += times;
    }

    pub(super) fn problem(&self, problem: String) {
        super::say(format_args!("  ✗ {problem}"));
        self.counts().problems.push(problem);
    }

    pub(super) fn kills(&self) -> u64 {
        self.counts().faults.get(KILL).copied().unwrap_or_default()
    }

    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let counts = self.counts();
        let faults: u64 = counts.faults.values().sum();
        let kills = counts.faults.get(KILL).copied().unwrap_or_default();
        let commands: u64 = counts.commands.values().sum();
        write!(f, "{kills} kills, {faults} faults, {commands} commands, {} bad answers", counts.misbehaved)
    }
}
