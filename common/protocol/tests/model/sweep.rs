//! The sweeper's duties, and refill: the statements of `store::sweep`, each with the publishing of what it rings.
//! A doorbell that waits, or is lost, is as good as one that is published late, or never.

use crate::scenarios::Scenario;
use crate::state::{Lease, Slice, State, Task, Token};
use crate::variants::Variant;
use protocol::job::JobStatus;
use protocol::slice::{SliceEvent, SliceStatus};

/// No slice is rung again as lost while this many of its doorbells are under way.
const DOORBELLS_OF_A_SLICE: usize = 2;
/// No marker is sent while this many are under way.
const MARKERS_AT_ONCE: usize = 2;

/// A duty of the sweeper.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Duty {
    /// Ends a cancel that no lease holds up any more.
    EndCancel,
    /// Forces a cancel that nobody answered in time. No run may count on it.
    Deadline,
    /// Ends a lease that is not renewed, and rings its slice.
    Expire,
    /// Completes a job whose finish was lost.
    Finish,
    /// Rings slices whose turn or time has come.
    Refill,
    /// Rings a slice again whose doorbell is lost. In a scenario without markers, any that two markers might show to be.
    Rering,
    /// Sends a marker.
    Marker,
    /// Plans a job whose start command was lost.
    Plan,
}

impl Duty {
    /// How many places there are where it might be done: jobs, slices, or one.
    pub(crate) fn places(self, state: &State) -> usize {
        match self {
            Self::EndCancel | Self::Deadline | Self::Finish | Self::Plan => state.jobs.len(),
            Self::Expire | Self::Rering => state.slices.len(),
            Self::Refill | Self::Marker => 1,
        }
    }

    /// Whether there is anything to do there.
    pub(crate) fn is_due(self, scenario: &Scenario, state: &State, at: usize) -> bool {
        let job_is = |status| state.jobs[at].status == Some(status);
        match self {
            Self::EndCancel => job_is(JobStatus::Cancelling) && !state.is_leased(at),
            Self::Deadline => job_is(JobStatus::Cancelling),
            Self::Expire => matches!(state.slices[at].lease, Some(Lease { token: Token::Lost, .. })),
            Self::Finish => job_is(JobStatus::Running) && state.is_done(at),
            Self::Refill => {
                state.room(scenario.window) > 0 && state.slices.iter().any(|row| state.wants(row))
            }
            Self::Rering => {
                scenario.variant != Variant::RungOnceWhenLost
                    && state.is_lost(at, scenario.duties.contains(&Self::Marker))
            }
            Self::Marker => state.admits_marker(scenario),
            Self::Plan => job_is(JobStatus::Pending),
        }
    }

    /// Does it.
    pub(crate) fn perform(self, scenario: &Scenario, state: &mut State, at: usize) {
        match self {
            Self::EndCancel => state.end_cancel(at),
            Self::Deadline => state.force_cancel(at),
            Self::Expire => state.expire(at),
            Self::Finish => drop(state.finish(scenario, at)),
            Self::Refill => state.refill(scenario.window),
            Self::Rering => state.ring(at),
            Self::Marker => state.send_marker(scenario),
            Self::Plan => {
                state.plan(scenario, at);
                state.refill(scenario.window);
            }
        }
    }
}

impl State {
    /// `refill.sql`.
    pub(crate) fn refill(&mut self, window: usize) {
        for slice in 0..self.slices.len() {
            if self.room(window) > 0 && self.wants(&self.slices[slice]) {
                self.slices[slice].change(SliceEvent::Rung);
                self.ring(slice);
            }
        }
    }

    /// `expire.sql`, for one lease that was not renewed.
    pub(crate) fn expire(&mut self, slice: usize) {
        self.slices[slice].lease = None;
        if self.slices[slice].status == SliceStatus::Ready {
            self.ring(slice);
        }
    }

    /// `Store::marker_returned`. A marker that is doubled, or late, says nothing new.
    pub(crate) fn marker_returned(&mut self, number: i8) {
        self.markers.published -= number;
        self.markers.under_way.retain(|other| *other > number);
        for other in &mut self.markers.under_way {
            *other -= number;
        }
        for slice in &mut self.slices {
            slice.rung_marker -= number;
        }
    }

    fn room(&self, window: usize) -> usize {
        let ready = self.slices.iter().filter(|slice| slice.status == SliceStatus::Ready).count();
        if self.paused { 0 } else { window.saturating_sub(ready) }
    }

    fn wants(&self, slice: &Slice) -> bool {
        let due = match slice.status {
            SliceStatus::Queued => true,
            SliceStatus::Waiting => slice.due,
            SliceStatus::Ready | SliceStatus::Done | SliceStatus::Cancelled | SliceStatus::Failed => false,
        };
        due && self.jobs[slice.job].status == Some(JobStatus::Running)
    }

    /// `rering.sql`: ready, unleased, and overtaken by two markers.
    fn is_lost(&self, slice: usize, markers: bool) -> bool {
        let row = &self.slices[slice];
        let waiting = self.doorbells.iter().filter(|bell| bell.slice == slice).count();
        let mine = |task: &&Task| task.attached && task.doorbell.slice == slice;
        let under_way = waiting + self.hands.iter().flatten().filter(mine).count();
        row.status == SliceStatus::Ready
            && row.lease.is_none()
            && (!markers || row.rung_marker <= -2)
            && !self.paused
            && under_way < DOORBELLS_OF_A_SLICE
    }

    /// `Store::admit_marker`: while one is out, it is sent again with its number. A second copy says nothing new, so that
    /// here it is sent only once the first is lost.
    fn admits_marker(&self, scenario: &Scenario) -> bool {
        let mut slices = self.slices.iter();
        slices.any(|slice| slice.status == SliceStatus::Ready && slice.lease.is_none())
            && if scenario.variant == Variant::MarkerMissedInEmptyQueue {
                self.markers.published == 0 || (!scenario.backlog && self.doorbells.is_empty())
            } else if scenario.variant == Variant::LostMarkerAwaited {
                self.markers.published == 0
            } else {
                !self.markers.under_way.contains(&self.markers.published)
            }
            && self.markers.under_way.len() < MARKERS_AT_ONCE
    }

    fn send_marker(&mut self, scenario: &Scenario) {
        let new = scenario.variant == Variant::MarkerMissedInEmptyQueue || self.markers.published == 0;
        self.markers.published += i8::from(new);
        self.markers.under_way.push(self.markers.published);
    }
}
