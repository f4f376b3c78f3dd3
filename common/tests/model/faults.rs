//! What may go wrong. Each fault is taken from the scenario's purse, so that no run has infinitely many.

use crate::scenarios::Scenario;
use crate::state::{Doorbell, Start, State, Step, Task, Token};
use common::job::JobStatus;
use common::slice::SliceStatus;

/// A kind of fault. Where it strikes is a number: of a hand, a slice, a job, a waiting doorbell, or a marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// A worker dies, and another takes its place. Its message comes back; its token is lost.
    Crash,
    /// A worker's connection breaks. Its message comes back, while it works on.
    Disconnect,
    /// The broker loses a doorbell, or whoever was to publish it died.
    DoorbellLost,
    /// A doorbell is published twice.
    DoorbellDoubled,
    /// A marker is lost, or whoever was to publish it died.
    MarkerLost,
    /// A statement was committed, or a doorbell published, but the answer is lost.
    AnswerLost,
    /// The same of a settle that keeps the lease for the next page of the stint.
    AnswerOfKeptLost,
    /// A statement, or a publishing, does not happen, and fails.
    Failure,
    /// A worker stands still for longer than its lease lasts.
    Freeze,
    /// The process ends in good order, and gives the page back.
    HandBack,
    /// The upstream fails for now.
    Transient,
    /// The upstream asks for a pause.
    RateLimit,
    /// The page fails for good.
    Permanent,
    /// Somebody pauses the jobs.
    Pause,
    /// A start command is delivered again: whoever applied it died, or it was doubled.
    StartAgain,
}

impl Fault {
    /// How many places there are where it might strike.
    pub(crate) fn places(self, state: &State) -> usize {
        match self {
            Self::Crash
            | Self::Disconnect
            | Self::AnswerLost
            | Self::AnswerOfKeptLost
            | Self::Failure
            | Self::HandBack
            | Self::Transient
            | Self::RateLimit
            | Self::Permanent => state.hands.len(),
            Self::DoorbellLost | Self::DoorbellDoubled => state.doorbells.len(),
            Self::MarkerLost => state.markers.under_way.len(),
            Self::Freeze => state.slices.len(),
            Self::StartAgain => state.jobs.len(),
            Self::Pause => 1,
        }
    }

    /// Lets it happen. False if it cannot, there and now.
    pub(crate) fn strike(self, scenario: &Scenario, state: &mut State, at: usize) -> bool {
        let task = state.hands.get(at).copied().flatten();
        match self {
            Self::Crash => task.is_some_and(|_| {
                state.drop_task(at);
                true
            }),
            Self::Disconnect => task.is_some_and(|task| {
                state.detach(at);
                task.attached
            }),
            Self::DoorbellLost => {
                state.doorbells.remove(at);
                true
            }
            Self::DoorbellDoubled => {
                let bell = state.doorbells[at];
                state.doorbells.push(Doorbell { redelivered: false, ..bell });
                true
            }
            Self::MarkerLost => {
                state.markers.under_way.remove(at);
                true
            }
            Self::AnswerLost => task.is_some_and(|task| answer_lost(scenario, state, at, task, false)),
            Self::AnswerOfKeptLost => task.is_some_and(|task| {
                matches!(task.step, Step::Work { .. }) && answer_lost(scenario, state, at, task, true)
            }),
            Self::Failure => task.is_some_and(|task| failure(state, at, task)),
            Self::Freeze => {
                let live = matches!(state.slices[at].lease, Some(lease) if lease.token != Token::Lost);
                if live {
                    state.expire(at);
                }
                live
            }
            Self::HandBack => at_work(task).is_some_and(|task| {
                state.hands[at] = Some(Task { step: Step::HandBack, ..task });
                true
            }),
            Self::Transient => at_work(task).is_some_and(|_| {
                state.give_up_page(at, |state, slice, page| state.back_off(at, slice, page));
                true
            }),
            Self::RateLimit => at_work(task).is_some_and(|_| {
                state.give_up_page(at, |state, slice, page| state.rate_limited(at, slice, page));
                true
            }),
            Self::Permanent => at_work(task).is_some_and(|_| {
                state.give_up_page(at, |state, slice, page| {
                    let right = state.has_right(at, slice, page);
                    if right {
                        state.fail(state.slices[slice].job);
                    }
                    right
                });
                true
            }),
            Self::Pause => {
                let running = state.jobs.iter().any(|job| job.status == Some(JobStatus::Running));
                let news = running && !state.paused;
                state.paused |= news;
                news
            }
            Self::StartAgain => {
                let begun = !matches!(state.jobs[at].start, Start::Waiting);
                state.jobs[at].start = Start::Waiting;
                begun
            }
        }
    }
}

fn at_work(task: Option<Task>) -> Option<Task> {
    task.filter(|task| matches!(task.step, Step::Work { .. }))
}

/// The step is done, but the hand is not told.
fn answer_lost(scenario: &Scenario, state: &mut State, hand: usize, task: Task, go_on: bool) -> bool {
    let held = state.holds(hand, task.doorbell.slice);
    state.step(scenario, hand, go_on);
    match task.step {
        // A claim is repeated with its token, and finds its lease. If the database stays away, it is made anew.
        Step::Claim | Step::Release => state.claim_again(hand, task),
        Step::Work { page } if held => state.hands[hand] = Some(Task { step: Step::Look { page }, ..task }),
        Step::Ring { .. } => state.hands[hand] = Some(Task { step: Step::Return, ..task }),
        // Of these, nobody waits for the answer, or it says nothing new.
        Step::Work { .. }
        | Step::Look { .. }
        | Step::ReleaseSeen { .. }
        | Step::HandBack
        | Step::EndCancel
        | Step::Finish { .. }
        | Step::Refill
        | Step::Return
        | Step::Ack => return false,
    }
    true
}

/// The step is not done, and the hand is told so.
fn failure(state: &mut State, hand: usize, task: Task) -> bool {
    let step = match task.step {
        // The delivery is held until the database is back.
        Step::Claim | Step::Work { .. } | Step::Look { .. } | Step::Release | Step::HandBack => {
            state.claim_again(hand, task);
            return true;
        }
        Step::Ring { .. } => Step::Return,
        // The sweeper will see to it.
        Step::EndCancel | Step::Refill => Step::Ack,
        Step::Finish { then_refill: true } => Step::Refill,
        Step::Finish { then_refill: false } => Step::Ack,
        Step::ReleaseSeen { .. } | Step::Return | Step::Ack => return false,
    };
    state.hands[hand] = Some(Task { step, ..task });
    true
}

impl State {
    /// Whether a lease's holder renews it no more, for it is gone.
    pub(crate) fn is_abandoned(&self, slice: usize) -> bool {
        let row = &self.slices[slice];
        let may_expire = matches!(row.status, SliceStatus::Ready | SliceStatus::Cancelled);
        may_expire && row.lease.is_some_and(|lease| lease.token == Token::Lost)
    }
}
