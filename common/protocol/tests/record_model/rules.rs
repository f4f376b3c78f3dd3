//! What a settle, a comparison and a mark do to the stored record; and the same with one thing changed.

use crate::world::{Fate, Shown, State, Step, clock};

/// The record, as it is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Stored {
    pub(crate) content: u8,
    /// When it was asked for.
    pub(crate) as_of: u8,
    pub(crate) deleted: bool,
    /// The pass that missed it.
    pub(crate) suspected_by: Option<usize>,
}

/// The rules, or a mistake in them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rules {
    AsTheyAre,
    /// A settle stores whatever it brings.
    OlderOverwrites,
    /// An unchanged record keeps its `as_of`, whatever other jobs there are.
    AsOfStays,
    /// `as_of` is read when the answer is there.
    AsOfAfterTheAnswer,
    /// One pass is enough.
    OnePass,
    /// A record that is met stays suspected.
    SuspicionStays,
    /// A cancelled pass counts as one that missed the record.
    CancelledPassCounts,
    /// A mark does not look whether the record was met since the comparison.
    MarkDoesNotLook,
}

impl Rules {
    /// A full sync does its next step.
    pub(crate) fn pass(self, state: &mut State, number: usize) {
        let mut job = state.passes[number];
        job.step = match job.step {
            Step::Idle => {
                job.began_at = clock(state);
                Step::Begun
            }
            Step::Begun => {
                job.as_of = clock(state);
                Step::Asked
            }
            Step::Asked => Step::Answered(state.shown()),
            Step::Answered(shown) => {
                self.settle(state, shown, job.as_of);
                Step::Settled { met: shown.is_some() }
            }
            Step::Settled { met } => Step::Compared(self.compare(state, met)),
            Step::Compared(fate) => {
                self.mark(state, number, fate, job.began_at);
                Step::Marked
            }
            Step::Marked => Step::Completed,
            Step::Completed | Step::Over => job.step,
        };
        state.passes[number] = job;
    }

    /// A job over documents does its next step. That an id is gone deletes nothing there.
    pub(crate) fn fetch(self, state: &mut State, number: usize) {
        let mut job = state.fetches[number];
        job.step = match job.step {
            Step::Idle => {
                job.as_of = clock(state);
                Step::Asked
            }
            Step::Asked => Step::Answered(state.shown()),
            Step::Answered(shown) => {
                self.settle(state, shown, job.as_of);
                Step::Over
            }
            Step::Begun
            | Step::Settled { .. }
            | Step::Compared(_)
            | Step::Marked
            | Step::Completed
            | Step::Over => job.step,
        };
        state.fetches[number] = job;
    }

    /// `settle.template.sql`: what was asked for earlier never overwrites what was asked for later, nor revives what was seen to
    /// be gone then.
    fn settle(self, state: &mut State, shown: Shown, as_of: u8) {
        let Some(content) = shown else { return };
        let as_of = if self == Self::AsOfAfterTheAnswer { clock(state) } else { as_of };
        let open = state.passes.iter().chain(&state.fetches).filter(|job| job.is_open()).count();
        let in_company = open > 1 && self != Self::AsOfStays;
        state.newest = state.newest.max(as_of);
        let stored = &mut state.stored;
        let unchanged = !stored.deleted && stored.content == content;
        let suspected = stored.suspected_by.is_some() && self != Self::SuspicionStays;
        if unchanged && !suspected && !(in_company && stored.as_of < as_of) {
            return;
        }
        if stored.as_of > as_of && self != Self::OlderOverwrites {
            return;
        }
        let suspected_by = stored.suspected_by.filter(|_| self == Self::SuspicionStays);
        if suspected_by.is_some() {
            state.met_between = true;
        }
        *stored = Stored { content, as_of, deleted: false, suspected_by };
        state.deleted_by = None;
    }

    /// `check_compare.sql`.
    fn compare(self, state: &State, met: bool) -> Fate {
        let stored = &state.stored;
        let counts =
            |pass: usize| state.passes[pass].step == Step::Completed || self == Self::CancelledPassCounts;
        if met || stored.deleted {
            Fate::Met
        } else if self == Self::OnePass || stored.suspected_by.is_some_and(counts) {
            Fate::Confirmed
        } else {
            Fate::Suspected
        }
    }

    /// `deletion_mark.sql`: nothing is marked that was met since the pass began, or since it was suspected.
    fn mark(self, state: &mut State, pass: usize, fate: Fate, began_at: u8) {
        let looks = self != Self::MarkDoesNotLook;
        let ended = |by: usize| state.passes[by].step == Step::Completed;
        let stands = state.stored.suspected_by.is_some_and(ended);
        let stored = &mut state.stored;
        if stored.deleted || looks && stored.as_of >= began_at {
            return;
        }
        match fate {
            Fate::Met => {}
            Fate::Suspected if stands => {}
            Fate::Suspected => {
                stored.suspected_by = Some(pass);
                state.met_between = false;
            }
            // Met since the comparison, it is suspected no more.
            Fate::Confirmed if stored.suspected_by.is_none() && self != Self::OnePass && looks => {}
            Fate::Confirmed => {
                state.deleted_by = Some((stored.suspected_by.unwrap_or(pass), pass));
                *stored = Stored { deleted: true, as_of: began_at, suspected_by: None, ..*stored };
            }
        }
    }
}
