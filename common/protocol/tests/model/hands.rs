//! What a worker does with a delivery, step by step: `consumer::page`, from the claim to the ack. A step is one
//! statement, or one message to the broker.

use crate::scenarios::Scenario;
use crate::slices::{Claim, Reread, Settled};
use crate::state::{Doorbell, State, Step, Task};
use crate::variants::Variant;
use protocol::slice::SliceStatus;

impl State {
    /// The broker gives a doorbell to a hand.
    pub(crate) fn deliver(&mut self, bell: Doorbell, hand: usize) {
        if let Some(at) = self.doorbells.iter().position(|other| *other == bell) {
            self.doorbells.remove(at);
            self.hands[hand] = Some(Task { doorbell: bell, attached: true, gone: false, step: Step::Claim });
        }
    }

    /// The next step of a hand. `go_on` matters to a settle only: whether the stint goes on with the next page.
    pub(crate) fn step(&mut self, scenario: &Scenario, hand: usize, go_on: bool) {
        let Some(mut task) = self.hands[hand] else { return };
        let slice = task.doorbell.slice;
        let job = self.slices[slice].job;
        task.step = match task.step {
            Step::Claim => {
                let claim = self.claim(scenario.variant, hand, task.doorbell);
                if scenario.variant == Variant::AckBeforeCommit && matches!(claim, Claim::Claimed { .. }) {
                    task.attached = false;
                }
                match claim {
                    Claim::Claimed { page } => Step::Work { page },
                    Claim::SliceDone => Step::Finish { then_refill: false },
                    Claim::LeaseEnded => Step::EndCancel,
                    Claim::Paused | Claim::Stale => Step::Ack,
                }
            }
            Step::Work { page } => after_settle(self.settle(scenario, hand, task, go_on), page),
            Step::Look { page } => match self.reread(hand, slice, page) {
                Reread::Ours { page } => Step::Work { page },
                Reread::RingNext { page, ring } => Step::Ring { page, ring },
                Reread::ClaimAgain => return self.claim_again(hand, task),
                Reread::SliceDone => Step::Finish { then_refill: true },
                Reread::ReleaseOrLost => Step::Release,
            },
            Step::Ring { page, ring } => {
                self.doorbells.push(Doorbell { slice, page, ring, redelivered: false });
                Step::Ack
            }
            Step::Release if scenario.variant == Variant::CancelEndedByRelease => {
                let others = self.slices.iter().enumerate().any(|(other, row)| {
                    row.job == job && row.lease.is_some() && !(other == slice && self.holds(hand, slice))
                });
                Step::ReleaseSeen { others }
            }
            Step::ReleaseSeen { others } => {
                if self.release(hand, slice) && !others {
                    self.end_cancel(job);
                }
                Step::Ack
            }
            Step::Release => {
                if self.release(hand, slice) {
                    Step::EndCancel
                } else {
                    Step::Ack
                }
            }
            Step::HandBack => {
                self.release(hand, slice);
                Step::Return
            }
            Step::EndCancel => {
                self.end_cancel(job);
                Step::Ack
            }
            Step::Finish { then_refill } => {
                let begun = self.finish(scenario, job);
                if then_refill || begun { Step::Refill } else { Step::Ack }
            }
            Step::Refill => {
                self.refill(scenario.window);
                Step::Ack
            }
            Step::Return => return self.drop_task(hand),
            Step::Ack => {
                self.forget_token(hand);
                self.hands[hand] = None;
                return;
            }
        };
        self.hands[hand] = Some(task);
    }

    /// Whether a hand at work has lost its page: by push or by renewal it is told to look.
    pub(crate) fn is_aborted(&self, hand: usize, task: &Task) -> bool {
        let slice = task.doorbell.slice;
        self.slices[slice].status != SliceStatus::Ready || !self.holds(hand, slice)
    }

    /// A hand turns to another step.
    pub(crate) fn turn_to(&mut self, hand: usize, step: Step) {
        if let Some(task) = &mut self.hands[hand] {
            task.step = step;
        }
    }

    /// The page in hand is given up: the upstream failed for now or for good, or asked for a pause.
    pub(crate) fn give_page_up(&mut self, hand: usize, how: impl Fn(&mut Self, usize, Task) -> bool) {
        let Some(task) = self.hands[hand] else { return };
        let given_up = how(self, hand, task);
        self.turn_to(hand, if given_up { Step::Refill } else { Step::Release });
    }

    /// The message is claimed anew, with a new token, as if it were redelivered; unless it is somebody else's by now.
    pub(crate) fn claim_again(&mut self, hand: usize, task: Task) {
        if !task.attached {
            return self.drop_task(hand);
        }
        self.forget_token(hand);
        let doorbell = Doorbell { redelivered: true, ..task.doorbell };
        self.hands[hand] = Some(Task { doorbell, step: Step::Claim, ..task });
    }

    /// The hand is empty; what it had not settled, the broker delivers again.
    pub(crate) fn drop_task(&mut self, hand: usize) {
        self.forget_token(hand);
        self.detach(hand);
        self.hands[hand] = None;
    }

    /// The hand's connection is gone: the broker delivers the message again, and the hand does not know yet.
    pub(crate) fn detach(&mut self, hand: usize) {
        if let Some(task) = self.hands[hand].as_mut().filter(|task| task.attached) {
            task.attached = false;
            let doorbell = Doorbell { redelivered: true, ..task.doorbell };
            self.doorbells.extend((!task.gone).then_some(doorbell));
        }
    }

    /// The queue of doorbells is lost with all that is in it. Hands work on with what they have, and their acks say nothing.
    pub(crate) fn lose_pages(&mut self, variant: Variant) {
        self.doorbells.clear();
        self.markers.under_way.clear();
        for task in self.hands.iter_mut().flatten() {
            task.gone = true;
        }
        for slice in (0..self.slices.len()).filter(|_| variant == Variant::RungOnceWhenLost) {
            if self.slices[slice].status == SliceStatus::Ready && self.slices[slice].lease.is_none() {
                self.ring(slice);
            }
        }
    }
}

fn after_settle(settled: Settled, page: usize) -> Step {
    match settled {
        Settled::Kept { page } => Step::Work { page },
        Settled::Ring { page, ring } => Step::Ring { page, ring },
        Settled::Queued => Step::Ack,
        Settled::SliceDone => Step::Finish { then_refill: true },
        Settled::Fenced => Step::Look { page },
    }
}
