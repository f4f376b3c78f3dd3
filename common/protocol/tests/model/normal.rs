//! The normal form of a state. Names that mean nothing are chosen anew, so that the state space is finite and small:
//! ring numbers count from one in their order, markers from the newest that came back, and workers, who are all alike,
//! stand in the order of what they have in hand.

use crate::commands::Delivery;
use crate::state::{State, Step, Token};
use protocol::job::JobStatus;
use protocol::slice::SliceStatus;

impl State {
    pub(crate) fn normalise(&mut self) {
        self.drop_idle();
        for slice in 0..self.slices.len() {
            self.number_rings(slice);
        }
        for slice in &mut self.slices {
            // Two markers or more behind is all the same; and a slice that is not ready is rung anew first.
            slice.rung_marker =
                if slice.status == SliceStatus::Ready { slice.rung_marker.max(-2) } else { 0 };
            slice.due &= slice.status == SliceStatus::Waiting;
        }
        for task in self.hands.iter_mut().flatten() {
            task.gone &= task.attached;
        }
        self.order_hands();
        self.doorbells.sort_unstable();
        for job in &mut self.jobs {
            job.start.deliveries.sort_unstable();
            job.cancel.deliveries.sort_unstable();
        }
    }

    /// Drops what nothing can come of any more: it is as good as delivered and acked.
    fn drop_idle(&mut self) {
        let (slices, jobs, calm) = (&self.slices, &self.jobs, self.faults == 0);
        self.doorbells.retain(|bell| {
            let row = &slices[bell.slice];
            match row.status {
                // Without another fault a first delivery never becomes a redelivered one.
                SliceStatus::Queued | SliceStatus::Ready | SliceStatus::Waiting => {
                    !calm || bell.redelivered || bell.page == row.page
                }
                SliceStatus::Done => jobs[row.job].status == Some(JobStatus::Running),
                SliceStatus::Cancelled | SliceStatus::Failed => {
                    jobs[row.job].status == Some(JobStatus::Cancelling) && (!calm || bell.redelivered)
                }
            }
        });
        for hand in 0..self.hands.len() {
            if calm && self.hands[hand].is_some_and(|task| task.step == Step::Ack) {
                self.forget_token(hand);
                self.hands[hand] = None;
            }
        }
        for job in self.jobs.iter_mut().filter(|_| calm) {
            job.cancel.deliveries.retain(|delivery| *delivery != Delivery::Applied);
        }
    }

    fn number_rings(&mut self, slice: usize) {
        let row = &self.slices[slice];
        let mut used: Vec<usize> = vec![row.ring];
        used.extend(row.lease.map(|lease| lease.ring));
        used.extend(self.doorbells.iter().filter(|bell| bell.slice == slice).map(|bell| bell.ring));
        for task in self.hands.iter().flatten().filter(|task| task.doorbell.slice == slice) {
            used.push(task.doorbell.ring);
            if let Step::Ring { ring, .. } = task.step {
                used.push(ring);
            }
        }
        used.sort_unstable();
        used.dedup();
        if used.iter().copied().eq(1..=used.len()) {
            return;
        }
        let number = |ring: &mut usize| *ring = used.partition_point(|known| known < ring) + 1;
        let row = &mut self.slices[slice];
        number(&mut row.ring);
        if let Some(lease) = &mut row.lease {
            number(&mut lease.ring);
        }
        self.doorbells.iter_mut().filter(|bell| bell.slice == slice).for_each(|bell| number(&mut bell.ring));
        for task in self.hands.iter_mut().flatten().filter(|task| task.doorbell.slice == slice) {
            number(&mut task.doorbell.ring);
            if let Step::Ring { ring, .. } = &mut task.step {
                number(ring);
            }
        }
    }

    fn order_hands(&mut self) {
        // Two hands with equal tasks differ in which of them a slice's lease names: it names the first.
        let mut order: Vec<usize> = (0..self.hands.len()).collect();
        order.sort_by_key(|&hand| (self.hands[hand], !self.is_named(hand)));
        if order.iter().copied().eq(0..order.len()) {
            return;
        }
        self.hands = order.iter().map(|&hand| self.hands[hand]).collect();
        for lease in self.slices.iter_mut().filter_map(|slice| slice.lease.as_mut()) {
            if let Token::Of(hand) = lease.token {
                lease.token = order.iter().position(|&old| old == hand).map_or(Token::Lost, Token::Of);
            }
        }
    }

    fn is_named(&self, hand: usize) -> bool {
        self.slices.iter().any(|slice| slice.lease.is_some_and(|lease| lease.token == Token::Of(hand)))
    }
}
