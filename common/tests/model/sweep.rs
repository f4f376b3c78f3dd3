//! What the sweeper does, and refill. The statements of `common::store::sweep`, each with the publishing of what it
//! rings: a doorbell that waits, or is lost, is as good as one that is published late, or never.

use crate::state::State;
use common::job::JobStatus;
use common::slice::{SliceEvent, SliceStatus};

/// No doorbell of a slice is rung again as lost while this many are under way.
const DOORBELLS_OF_A_SLICE: usize = 2;
/// No marker is sent while this many are under way.
const MARKERS_AT_ONCE: i8 = 2;

impl State {
    /// `refill.sql`: true if it rang anything.
    pub(crate) fn refill(&mut self, window: usize) -> bool {
        let ready = self.slices.iter().filter(|slice| slice.status == SliceStatus::Ready).count();
        let mut room = if self.paused { 0 } else { window.saturating_sub(ready) };
        let mut rang = false;
        for slice in 0..self.slices.len() {
            let row = &mut self.slices[slice];
            let wants = match row.status {
                SliceStatus::Queued => true,
                SliceStatus::Waiting => row.due,
                SliceStatus::Ready | SliceStatus::Done | SliceStatus::Cancelled | SliceStatus::Failed => false,
            };
            if room > 0 && wants && self.jobs[row.job].status == Some(JobStatus::Running) {
                row.change(SliceEvent::Rung);
                self.ring(slice);
                room -= 1;
                rang = true;
            }
        }
        rang
    }

    /// `expire.sql`, for one lease that was not renewed.
    pub(crate) fn expire(&mut self, slice: usize) {
        self.slices[slice].lease = None;
        if self.slices[slice].status == SliceStatus::Ready {
            self.ring(slice);
        }
    }

    /// Whether `rering.sql` picks a slice: its doorbell was overtaken by two markers.
    pub(crate) fn is_lost(&self, slice: usize) -> bool {
        let row = &self.slices[slice];
        let under_way = self.doorbells.iter().filter(|bell| bell.slice == slice).count()
            + self.hands.iter().flatten().filter(|task| task.doorbell.slice == slice && task.attached).count();
        row.status == SliceStatus::Ready
            && row.lease.is_none()
            && row.rung_marker <= -2
            && !self.paused
            && under_way < DOORBELLS_OF_A_SLICE
    }

    /// `Store::admit_marker`, and its publishing. `seen_empty`: the queue was found without a waiting message.
    pub(crate) fn send_marker(&mut self, seen_empty: bool) -> bool {
        let outstanding = self.markers.published > 0;
        let rung =
            self.slices.iter().any(|slice| slice.status == SliceStatus::Ready && slice.lease.is_none());
        let admitted = rung && (!outstanding || seen_empty) && self.markers.published < MARKERS_AT_ONCE;
        if admitted {
            self.markers.published += 1;
            self.markers.under_way.push(self.markers.published);
        }
        admitted
    }

    /// `Store::marker_returned`.
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
}
