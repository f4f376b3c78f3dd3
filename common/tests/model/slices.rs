//! The statements on a slice: claim, settle, whereabouts, release and the ways back. Each function is one statement of
//! `common::store::slices`, with its guards in the order of the SQL; each is atomic, as the row's lock makes it.

use crate::state::{Doorbell, Lease, MOST_PAGES, State, Token};
use crate::variants::Variant;
use common::job::JobStatus;
use common::slice::{SliceEvent, SliceStatus};

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
pub(crate) enum Whereabouts {
    Ours { page: usize },
    RingNext { page: usize, ring: usize },
    ClaimAgain,
    SliceDone,
    ReleaseOrLost,
}

/// What a settle is asked for, beside the page's content.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settlement {
    pub(crate) slice: usize,
    pub(crate) page: usize,
    pub(crate) last: bool,
    pub(crate) go_on: bool,
}

impl State {
    /// `claim.sql`.
    pub(crate) fn claim(&mut self, variant: Variant, hand: usize, bell: Doorbell) -> Claim {
        let held = self.slices[bell.slice].lease;
        let slice = &mut self.slices[bell.slice];
        let answers = bell.redelivered && held.is_some_and(|lease| lease.ring == bell.ring);
        if held.is_some_and(|lease| lease.token == Token::Of(hand)) {
            return Claim::Claimed { page: slice.page };
        }
        match slice.status {
            SliceStatus::Done => return Claim::SliceDone,
            SliceStatus::Cancelled | SliceStatus::Failed if answers => {
                slice.lease = None;
                return Claim::LeaseEnded;
            }
            SliceStatus::Cancelled | SliceStatus::Failed | SliceStatus::Queued | SliceStatus::Waiting => {
                return Claim::Stale;
            }
            SliceStatus::Ready => {}
        }
        let may = match held {
            Some(_) => answers || (variant == Variant::TakeoverOnAnyRedelivery && bell.redelivered),
            None => match variant {
                Variant::StaleRedeliveryAcked => slice.page == bell.page,
                Variant::NewestRingOnly => {
                    (bell.redelivered || slice.page == bell.page) && slice.ring == bell.ring
                }
                Variant::AsItIs
                | Variant::SettleWithoutFence
                | Variant::AckBeforeCommit
                | Variant::TakeoverOnAnyRedelivery
                | Variant::CancelEndedByRelease
                | Variant::StartReadsThenInserts => bell.redelivered || slice.page == bell.page,
            },
        };
        if !may || self.jobs[slice.job].status != Some(JobStatus::Running) {
            return Claim::Stale;
        }
        if self.paused {
            slice.lease = None;
            slice.change(SliceEvent::Paused);
            return Claim::Paused;
        }
        if let Some(Lease { token: Token::Of(holder), .. }) = held {
            self.robbed |= self.hands[holder].is_some_and(|task| task.attached);
        }
        let slice = &mut self.slices[bell.slice];
        slice.lease = Some(Lease { token: Token::Of(hand), ring: bell.ring });
        Claim::Claimed { page: slice.page }
    }

    /// `settle.sql`.
    pub(crate) fn settle(&mut self, variant: Variant, hand: usize, page: Settlement) -> Settled {
        let open = self.jobs[self.slices[page.slice].job].status == Some(JobStatus::Running) && !self.paused;
        let fenced = !self.has_right(hand, page.slice, page.page);
        let slice = &mut self.slices[page.slice];
        if fenced && variant != Variant::SettleWithoutFence {
            return Settled::Fenced;
        }
        let times = &mut slice.log[page.page.min(MOST_PAGES - 1)];
        *times = times.saturating_add(1);
        slice.counted = slice.counted.saturating_add(1);
        slice.page = (slice.page + 1).min(MOST_PAGES);
        let goes_on = page.go_on && !page.last;
        slice.change(match (page.last, open) {
            (true, _) => SliceEvent::Ended,
            (false, true) => SliceEvent::Settled,
            (false, false) => SliceEvent::Paused,
        });
        if !(goes_on && open) {
            slice.lease = None;
        }
        let now_at = slice.page;
        match (page.last, open, goes_on) {
            (true, _, _) => Settled::SliceDone,
            (false, false, _) => Settled::Queued,
            (false, true, true) => Settled::Kept { page: now_at },
            (false, true, false) => {
                slice.ring += 1;
                slice.rung_marker = self.markers.published;
                Settled::Ring { page: now_at, ring: slice.ring }
            }
        }
    }

    /// `Store::whereabouts`.
    pub(crate) fn whereabouts(&self, hand: usize, slice: usize, page: usize) -> Whereabouts {
        let row = &self.slices[slice];
        match row.status {
            SliceStatus::Ready if self.holds(hand, slice) => Whereabouts::Ours { page: row.page },
            SliceStatus::Ready if row.lease.is_none() && row.page == page + 1 => {
                Whereabouts::RingNext { page: row.page, ring: row.ring }
            }
            SliceStatus::Ready if row.lease.is_none() && row.page == page => Whereabouts::ClaimAgain,
            SliceStatus::Done => Whereabouts::SliceDone,
            SliceStatus::Ready
            | SliceStatus::Queued
            | SliceStatus::Waiting
            | SliceStatus::Cancelled
            | SliceStatus::Failed => Whereabouts::ReleaseOrLost,
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

    /// `Store::back_off`: true if the lease was this hand's, at this page.
    pub(crate) fn back_off(&mut self, hand: usize, slice: usize, page: usize) -> bool {
        self.give_up(hand, slice, page, SliceEvent::BackedOff)
    }

    /// `Store::rate_limited`: the connection rests, whoever has the lease by now.
    pub(crate) fn rate_limited(&mut self, hand: usize, slice: usize, page: usize) -> bool {
        self.paused = true;
        self.give_up(hand, slice, page, SliceEvent::Paused)
    }

    fn give_up(&mut self, hand: usize, slice: usize, page: usize, event: SliceEvent) -> bool {
        let right = self.has_right(hand, slice, page);
        if right {
            self.slices[slice].change(event);
            self.slices[slice].lease = None;
        }
        right
    }

    /// The fence: the lease is this hand's, at this page, and the slice is open.
    pub(crate) fn has_right(&self, hand: usize, slice: usize, page: usize) -> bool {
        let row = &self.slices[slice];
        row.status == SliceStatus::Ready && self.holds(hand, slice) && row.page == page
    }
}

impl crate::state::Slice {
    /// Follows the real transition function; where it says that nothing changes, nothing does.
    pub(crate) fn change(&mut self, event: SliceEvent) {
        if let Some(next) = self.status.next(event) {
            self.status = next;
        }
    }
}
