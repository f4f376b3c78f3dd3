//! The scenarios: each is a small world, and what may happen in it.

use crate::faults::Fault;
use crate::sweep::Duty;
use crate::variants::Variant;

/// A world: its size, what may go wrong in it, and who repairs it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) variant: Variant,
    /// Jobs of one connection.
    pub(crate) jobs: usize,
    /// Slices of each.
    pub(crate) slices: usize,
    /// Pages of each.
    pub(crate) pages: usize,
    /// Pages that can be in hand at a time, each in a process of its own.
    pub(crate) hands: usize,
    /// K: how many slices of the tenant are rung at a time.
    pub(crate) window: usize,
    /// Whether the first job is planned and rung already; otherwise its start command waits.
    pub(crate) begun: bool,
    /// Whether other tenants' doorbells always wait in the queue, so that nobody ever finds it empty.
    pub(crate) backlog: bool,
    /// Whether each job has a connection of its own.
    pub(crate) apart: bool,
    /// Whether a start command names itself or its job, and so is known when it comes again without the broker's mark.
    pub(crate) named: bool,
    /// Whether cancels are commands that wait in a queue; otherwise each is applied at once.
    pub(crate) queued: bool,
    /// Whether a consumer may take several commands, and apply them in one transaction.
    pub(crate) batches: bool,
    /// How many faults a run may have, and of which kinds.
    pub(crate) faults: u8,
    pub(crate) kinds: &'static [Fault],
    /// Of full syncs, the pages of the deletion that follows the walk; 0 for other jobs.
    pub(crate) deletes: usize,
    /// How many cancels may be asked for.
    pub(crate) cancels: u8,
    /// What the sweeper does.
    pub(crate) duties: &'static [Duty],
    /// Whether to check that pages are taken over only from workers whose message came back. So it is if no message has
    /// a twin and no lease expires under a live worker.
    pub(crate) holders_keep: bool,
    /// How many states there are: the size of what was checked, and a change of it a change of the model.
    pub(crate) states: usize,
}

const QUIET: Scenario = Scenario {
    variant: Variant::AsItIs,
    jobs: 1,
    slices: 1,
    pages: 1,
    hands: 2,
    window: 2,
    begun: true,
    backlog: false,
    apart: false,
    named: true,
    queued: false,
    batches: false,
    faults: 0,
    kinds: &[],
    deletes: 0,
    cancels: 0,
    duties: &[],
    holders_keep: false,
    states: 0,
};

/// Workers die, connections break and answers are lost, but the broker loses nothing: messages alone bring every page
/// back, with no help of the sweeper. This is what makes recovery a matter of milliseconds, not of leases running out.
pub(crate) const MESSAGES_ALONE: Scenario = Scenario {
    pages: 3,
    faults: 2,
    kinds: &[
        Fault::Crash,
        Fault::Disconnect,
        Fault::AnswerLost,
        Fault::AnswerOfKeptLost,
        Fault::HandBack,
        Fault::DoorbellDoubled,
    ],
    states: 5_923,
    ..QUIET
};

/// The same, once more often: now the sweeper is needed (see `limits.rs`), and enough.
pub(crate) const ONE_TOO_MANY: Scenario = Scenario {
    pages: 2,
    faults: 3,
    duties: &[Duty::Expire, Duty::Finish, Duty::Rering],
    states: 141_846,
    ..MESSAGES_ALONE
};

/// One thing goes wrong, and no message has a twin: whoever has its message keeps its page.
pub(crate) const ONE_FAULT: Scenario = Scenario {
    slices: 2,
    pages: 2,
    faults: 1,
    kinds: &[Fault::Crash, Fault::Disconnect, Fault::AnswerLost, Fault::AnswerOfKeptLost, Fault::HandBack],
    holders_keep: true,
    states: 3_964,
    ..QUIET
};

/// A cancel at any moment, before the start and after the end included: its workers end it, with no help of the sweeper.
pub(crate) const CANCEL_ALONE: Scenario = Scenario {
    slices: 3,
    pages: 2,
    begun: false,
    cancels: 2,
    faults: 1,
    kinds: &[Fault::Crash, Fault::Disconnect, Fault::AnswerLost, Fault::HandBack],
    states: 45_158,
    ..QUIET
};

/// Doorbells and markers are lost, doubled and overtaken, leases expire under dead and live workers, and the queue is never
/// empty: the sweeper brings every page back.
pub(crate) const LOST_DOORBELLS: Scenario = Scenario {
    pages: 2,
    backlog: true,
    faults: 2,
    kinds: &[Fault::DoorbellLost, Fault::DoorbellDoubled, Fault::MarkerLost, Fault::Crash, Fault::Freeze],
    duties: &[Duty::Expire, Duty::Finish, Duty::Rering, Duty::Marker],
    states: 48_949,
    ..QUIET
};

/// More slices than may be rung at a time, an upstream that fails and asks for pauses, and people who pause: every slice
/// has its turn.
pub(crate) const WINDOW: Scenario = Scenario {
    slices: 3,
    window: 1,
    faults: 2,
    kinds: &[
        Fault::Transient,
        Fault::RateLimit,
        Fault::Permanent,
        Fault::Pause,
        Fault::Failure,
        Fault::DoorbellLost,
    ],
    duties: &[Duty::Finish, Duty::Refill, Duty::Rering],
    states: 176_665,
    ..QUIET
};

/// Two jobs of one connection, each started and cancelled at any moment.
pub(crate) const TWO_JOBS: Scenario = Scenario {
    jobs: 2,
    begun: false,
    faults: 1,
    kinds: &[Fault::Crash, Fault::StartAgain, Fault::Failure, Fault::Permanent],
    cancels: 2,
    duties: &[Duty::EndCancel, Duty::Expire, Duty::Finish, Duty::Refill, Duty::Plan],
    states: 35_767,
    ..QUIET
};

/// Commands come again after they were applied, or while they are, without the broker's mark; their consumers die, and their
/// queues cannot be consumed for a while. Each is applied, and makes no second job.
pub(crate) const COMMANDS: Scenario = Scenario {
    jobs: 2,
    hands: 1,
    begun: false,
    queued: true,
    faults: 2,
    kinds: &[Fault::CommandBack, Fault::Refusal, Fault::ConsumerDies],
    cancels: 1,
    duties: &[Duty::Refill],
    states: 36_370,
    ..QUIET
};

/// Commands of several connections are applied in one transaction, which may fail; the consumer dies before its commit, or
/// after it with some of them acked.
pub(crate) const BATCHES: Scenario = Scenario {
    apart: true,
    batches: true,
    faults: 1,
    kinds: &[Fault::CommandBack, Fault::ConsumerDies, Fault::BatchFails],
    cancels: 2,
    states: 23_710,
    ..COMMANDS
};

/// The queue of doorbells is lost with all that is in it, the doorbells of two slices and a marker at once.
pub(crate) const PAGES_LOST: Scenario = Scenario {
    slices: 2,
    backlog: true,
    faults: 1,
    kinds: &[Fault::PagesLost],
    duties: &[Duty::Finish, Duty::Rering, Duty::Marker],
    states: 20_282,
    ..QUIET
};

/// It is lost twice, or under a worker that dies, or gives its page back, or is to end a cancel.
pub(crate) const PAGES_LOST_IN_HANDS: Scenario = Scenario {
    slices: 1,
    pages: 2,
    faults: 2,
    kinds: &[Fault::PagesLost, Fault::Crash, Fault::HandBack],
    cancels: 1,
    duties: &[Duty::EndCancel, Duty::Expire, Duty::Finish, Duty::Rering, Duty::Marker],
    states: 48_632,
    ..PAGES_LOST
};

/// A full sync: what is gone is deleted after everything was walked, and a cancel in the middle of it holds.
pub(crate) const FULL_SYNC: Scenario = Scenario {
    slices: 2,
    faults: 1,
    kinds: &[Fault::Crash, Fault::AnswerLost, Fault::Permanent],
    deletes: 2,
    cancels: 1,
    duties: &[Duty::Expire, Duty::Finish, Duty::Refill, Duty::Rering],
    states: 80_997,
    ..QUIET
};

/// Everything at once.
pub(crate) const EVERYTHING: Scenario = Scenario {
    slices: 2,
    faults: 2,
    kinds: &[
        Fault::Crash,
        Fault::Disconnect,
        Fault::DoorbellLost,
        Fault::DoorbellDoubled,
        Fault::AnswerLost,
        Fault::Failure,
        Fault::Freeze,
        Fault::HandBack,
        Fault::Transient,
        Fault::RateLimit,
        Fault::Permanent,
        Fault::Pause,
    ],
    cancels: 1,
    duties: &[Duty::EndCancel, Duty::Deadline, Duty::Expire, Duty::Finish, Duty::Refill, Duty::Rering],
    states: 360_928,
    ..QUIET
};
