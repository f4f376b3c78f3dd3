//! What may go wrong. Each fault is taken from the scenario's purse, so that no run has infinitely many.

use crate::commands::{Delivery, QUEUES};
use crate::scenarios::Scenario;
use crate::state::{Doorbell, State, Step, Token};
use protocol::job::JobStatus;

/// A kind of fault. Where it strikes is a number: of a hand, a slice, a job, a waiting doorbell, a marker, a queue of commands,
/// or (twice its job, and one more for a cancel) a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
    /// A queue was rebuilt from an older state: a command that was consumed waits there again, and the broker does not say so.
    CommandBack,
    /// A queue of commands cannot be consumed for a while.
    Refusal,
    /// Whoever consumes a queue of commands dies.
    ConsumerDies,
    /// A transaction that applies several commands fails.
    BatchFails,
    /// The queue of doorbells is lost with all that is in it, and comes back empty.
    PagesLost,
}

/// No command has more deliveries than this.
const DELIVERIES_OF_A_COMMAND: usize = 2;

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
            Self::CommandBack => state.jobs.len() * QUEUES.len(),
            Self::Refusal | Self::ConsumerDies | Self::BatchFails => QUEUES.len(),
            Self::Pause | Self::PagesLost => 1,
        }
    }

    /// Whether it can happen there, now.
    pub(crate) fn may_strike(self, state: &State, at: usize) -> bool {
        let task = || state.hands[at];
        let at_work = || task().filter(|task| matches!(task.step, Step::Work { .. }));
        match self {
            Self::Crash => task().is_some(),
            Self::Disconnect => task().is_some_and(|task| task.attached),
            // Of the other steps nobody waits for the answer, or it says nothing new.
            Self::AnswerLost => task().is_some_and(|task| match at_work() {
                Some(_) => state.has_right(at, task),
                None => matches!(task.step, Step::Claim | Step::Release | Step::Ring { .. }),
            }),
            Self::AnswerOfKeptLost => {
                at_work().is_some_and(|task| task.attached && state.has_right(at, task))
            }
            Self::Failure => task().is_some_and(|task| {
                !matches!(task.step, Step::ReleaseSeen { .. } | Step::Return | Step::Ack)
            }),
            Self::HandBack | Self::Transient | Self::RateLimit | Self::Permanent => at_work().is_some(),
            Self::Freeze => matches!(state.slices[at].lease, Some(lease) if lease.token != Token::Lost),
            Self::Pause => {
                !state.paused && state.jobs.iter().any(|job| job.status == Some(JobStatus::Running))
            }
            Self::StartAgain => state.jobs[at].start.deliveries != [Delivery::Waiting],
            Self::CommandBack => {
                let command = state.jobs[at / 2].command(QUEUES[at % 2]);
                command.confirmed && !command.waits() && command.deliveries.len() < DELIVERIES_OF_A_COMMAND
            }
            Self::Refusal => {
                !state.refusing[at] && state.jobs.iter().any(|job| job.command(QUEUES[at]).waits())
            }
            Self::ConsumerDies => state.jobs.iter().any(|job| job.command(QUEUES[at]).is_in_hand()),
            Self::BatchFails => state.has_taken(QUEUES[at]),
            Self::DoorbellLost | Self::DoorbellDoubled | Self::MarkerLost | Self::PagesLost => true,
        }
    }

    /// Lets it happen.
    pub(crate) fn strike(self, scenario: &Scenario, state: &mut State, at: usize) {
        match self {
            Self::Crash => state.drop_task(at),
            Self::Disconnect => state.detach(at),
            Self::DoorbellLost => {
                state.doorbells.remove(at);
            }
            Self::DoorbellDoubled => {
                let bell = state.doorbells[at];
                state.doorbells.push(Doorbell { redelivered: false, ..bell });
            }
            Self::MarkerLost => {
                state.markers.under_way.remove(at);
            }
            Self::AnswerLost => answer_lost(scenario, state, at, false),
            Self::AnswerOfKeptLost => answer_lost(scenario, state, at, true),
            Self::Failure => failure(state, at),
            Self::Freeze => state.expire(at),
            Self::HandBack => state.turn_to(at, Step::HandBack),
            Self::Transient => state.give_page_up(at, State::back_off),
            Self::RateLimit => state.give_page_up(at, State::rate_limited),
            Self::Permanent => state.give_page_up(at, State::fail_page),
            Self::Pause => state.paused = true,
            Self::StartAgain => state.jobs[at].start.deliveries = vec![Delivery::Waiting],
            Self::CommandBack => {
                state.jobs[at / 2].command_mut(QUEUES[at % 2]).deliveries.push(Delivery::Waiting);
            }
            Self::Refusal => state.refusing[at] = true,
            Self::ConsumerDies => state.return_commands(scenario.variant, QUEUES[at]),
            Self::BatchFails => state.part_batch(QUEUES[at]),
            Self::PagesLost => state.lose_pages(scenario.variant),
        }
    }
}

/// The step is done, but the hand is not told.
fn answer_lost(scenario: &Scenario, state: &mut State, hand: usize, go_on: bool) {
    let Some(task) = state.hands[hand] else { return };
    state.step(scenario, hand, go_on);
    if let Step::Work { page } = task.step {
        state.turn_to(hand, Step::Look { page });
    } else if let Step::Ring { .. } = task.step {
        state.turn_to(hand, Step::Return);
    } else {
        // A claim is repeated with its token, and finds its lease. Here the database stays away: it is made anew.
        state.claim_again(hand, task);
    }
}

/// The step is not done, and the hand is told so.
fn failure(state: &mut State, hand: usize) {
    let Some(task) = state.hands[hand] else { return };
    if let Step::Ring { .. } = task.step {
        state.turn_to(hand, Step::Return);
    } else if let Step::Finish { then_refill } = task.step {
        state.turn_to(hand, if then_refill { Step::Refill } else { Step::Ack });
    } else if matches!(task.step, Step::EndCancel | Step::Refill) {
        // The sweeper will see to it.
        state.turn_to(hand, Step::Ack);
    } else {
        // The delivery is held until the database is back.
        state.claim_again(hand, task);
    }
}
