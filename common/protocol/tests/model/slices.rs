//! The statements on a slice: claim, settle, reread, release and the ways back. Each function is one statement of
//! `store::slices`, with its guards in the order of the SQL; each is atomic, as the row's lock makes it.

use crate::scenarios::Scenario;
use crate::state::{Doorbell, Lease, MOST_PAGES, Slice, State, Step, Task, Token};
use crate::variants::Variant;
use protocol::job::JobStatus;
use protocol::slice::{SliceEvent, SliceStatus};

/// The answer to a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Claim {
    Claimed { page: usize },
    SliceDone,
    LeaseEnded,
    Paused,
    Stale,
}

/// How a settle ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Settled {
    Kept { page: usize },
    Ring { page: usize, ring: usize },
    Queued,
    SliceDone,
    Fenced,
}

/// Where a slice stands, seen by a hand that held a page of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reread {
    Ours { page: usize },
    RingNext { page: usize, ring: usize },
    ClaimAgain,
    SliceDone,
    ReleaseOrLost,
}

impl State {
    /// `claim.sql`.
    pub(crate) fn claim(&mut self, variant: Variant, hand: usize, bell: Doorbell) -> Claim {
        let slice = &mut self.slices[bell.slice];
        let held = slice.lease;
        let answers = bell.redelivered && held.is_some_and(|lease| lease.ring == bell.ring);
        if held.is_some_and(|lease| lease.token == Token::Of(hand)) {
            return Claim::Claimed { page: slice.page };
        }
        match slice.status {
            SliceStatus::Ready => {}
            SliceStatus::Done => return Claim::SliceDone,
            // Without a lease, its holder may have died between its release and the end of the cancel.
            SliceStatus::Cancelled | SliceStatus::Failed
                if answers
                    || (bell.redelivered && held.is_none() && variant != Variant::ClosedSliceAcked) =>
            {
                slice.lease = None;
                return Claim::LeaseEnded;
            }
            SliceStatus::Queued | SliceStatus::Waiting | SliceStatus::Cancelled | SliceStatus::Failed => {
                return Claim::Stale;
            }
        }
        let may = match held {
            Some(_) => answers || (variant == Variant::TakeoverOnAnyRedelivery && bell.redelivered),
            None if variant == Variant::StaleRedeliveryAcked => slice.page == bell.page,
            None => {
                (bell.redelivered || slice.page == bell.page)
                    && (variant != Variant::NewestRingOnly || slice.ring == bell.ring)
            }
        };
        if !may || self.jobs[slice.job].status != Some(JobStatus::Running) {
            return Claim::Stale;
        }
        if self.paused {
            slice.lease = None;
            slice.change(SliceEvent::Paused);
            return Claim::Paused;
        }
        slice.lease = Some(Lease { token: Token::Of(hand), ring: bell.ring });
        if let Some(Lease { token: Token::Of(holder), .. }) = held {
            self.robbed |= self.hands[holder].is_some_and(|task| task.attached);
        }
        Claim::Claimed { page: self.slices[bell.slice].page }
    }

    /// `settle.sql`, of the page that a hand works on. `go_on`: the stint goes on with the next one.
    pub(crate) fn settle(&mut self, scenario: &Scenario, hand: usize, task: Task, go_on: bool) -> Settled {
        let Step::Work { page } = task.step else { return Settled::Fenced };
        if !self.has_right(hand, task) && scenario.variant != Variant::SettleWithoutFence {
            return Settled::Fenced;
        }
        let slice = &mut self.slices[task.doorbell.slice];
        let last = page + 1 >= if slice.deletion { scenario.deletes } else { scenario.pages };
        let open = self.jobs[slice.job].status == Some(JobStatus::Running) && !self.paused;
        // Only without a fence is a page past the end settled.
        let times = &mut slice.log[page.min(MOST_PAGES - 1)];
        *times = times.saturating_add(1);
        slice.counted = slice.counted.saturating_add(1);
        slice.page = (slice.page + 1).min(MOST_PAGES);
        slice.change(match (last, open) {
            (true, _) => SliceEvent::Ended,
            (false, true) => SliceEvent::Settled,
            (false, false) => SliceEvent::Paused,
        });
        if !last && open && go_on {
            return Settled::Kept { page: slice.page };
        }
        slice.lease = None;
        if last {
            Settled::SliceDone
        } else if open {
            slice.ring += 1;
            slice.rung_marker = self.markers.published;
            Settled::Ring { page: slice.page, ring: slice.ring }
        } else {
            Settled::Queued
        }
    }

    /// `Store::reread`.
    pub(crate) fn reread(&self, hand: usize, slice: usize, page: usize) -> Reread {
        let row = &self.slices[slice];
        match row.status {
            SliceStatus::Ready if self.holds(hand, slice) => Reread::Ours { page: row.page },
            SliceStatus::Ready if row.lease.is_none() && row.page == page + 1 => {
                Reread::RingNext { page: row.page, ring: row.ring }
            }
            SliceStatus::Ready if row.lease.is_none() && row.page == page => Reread::ClaimAgain,
            SliceStatus::Done => Reread::SliceDone,
            SliceStatus::Ready
            | SliceStatus::Queued
            | SliceStatus::Waiting
            | SliceStatus::Cancelled
            | SliceStatus::Failed => Reread::ReleaseOrLost,
        }
    }

    /// `Store::release`: true if the lease was this hand's.
    pub(crate) fn release(&mut self, hand: usize, slice: usize) -> bool {
        let ours = self.holds(hand, slice);
        if ours {
            self.slices[slice].lease = None;
        }
        ours
    }

    /// `Store::back_off`: true if the hand had the right to.
    pub(crate) fn back_off(&mut self, hand: usize, task: Task) -> bool {
        self.give_up(hand, task, SliceEvent::BackedOff)
    }

    /// `Store::rate_limited`: the connection rests, whoever has the lease by now.
    pub(crate) fn rate_limited(&mut self, hand: usize, task: Task) -> bool {
        self.paused = true;
        self.give_up(hand, task, SliceEvent::Paused)
    }

    fn give_up(&mut self, hand: usize, task: Task, event: SliceEvent) -> bool {
        let right = self.has_right(hand, task);
        if right {
            let slice = &mut self.slices[task.doorbell.slice];
            slice.change(event);
            slice.lease = None;
        }
        right
    }

    /// The fence: the slice is open, and the lease is this hand's, at the page it works on.
    pub(crate) fn has_right(&self, hand: usize, task: Task) -> bool {
        let slice = task.doorbell.slice;
        let row = &self.slices[slice];
        row.status == SliceStatus::Ready
            && self.holds(hand, slice)
            && task.step == Step::Work { page: row.page }
    }
}

impl Slice {
    /// Follows the real transition function; where it says that nothing changes, nothing does.
    pub(crate) fn change(&mut self, event: SliceEvent) {
        if let Some(next) = self.status.next(event) {
            self.status = next;
        }
    }
}
