//! The world of the model: rows of Postgres, messages at the broker, and what the workers have in hand.

use crate::commands::Command;
use protocol::job::JobStatus;
use protocol::slice::SliceStatus;

/// Everything at one moment. Kept in its normal form (see `normal.rs`), so that moments that differ in names only are one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) jobs: Vec<Job>,
    /// The slices of all planned jobs, in order of job.
    pub(crate) slices: Vec<Slice>,
    pub(crate) markers: Markers,
    /// A pause of the jobs' connection.
    pub(crate) paused: bool,
    /// The doorbells that wait at the broker: a bag, since messages may overtake each other.
    pub(crate) doorbells: Vec<Doorbell>,
    /// Whether the queue of starts, and that of cancels, cannot be consumed.
    pub(crate) refusing: [bool; 2],
    /// What each worker has in hand.
    pub(crate) hands: Vec<Option<Task>>,
    /// How many more faults may happen.
    pub(crate) faults: u8,
    /// How many more cancels may be asked for.
    pub(crate) cancels: u8,
    /// Whether a page was ever taken from a worker that had not lost its message.
    pub(crate) robbed: bool,
}

/// A job's row, and its commands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Job {
    /// `None` while there is no row.
    pub(crate) status: Option<JobStatus>,
    /// A cancel came before the start.
    pub(crate) tombstone: bool,
    /// How many pages were settled when the cancel closed the last slice.
    pub(crate) pages_at_fence: Option<usize>,
    /// How many jobs its start command has made.
    pub(crate) made: u8,
    pub(crate) start: Command,
    pub(crate) cancel: Command,
}

/// No slice has more pages than this.
pub(crate) const MOST_PAGES: usize = 3;

/// A slice's row, and its part of the page log.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Slice {
    pub(crate) job: usize,
    /// Whether it is the deletion of a full sync, whose pages fetch nothing and are settled like any other.
    pub(crate) deletion: bool,
    pub(crate) status: SliceStatus,
    /// The page to be settled next.
    pub(crate) page: usize,
    /// The newest ring's number.
    pub(crate) ring: usize,
    /// The newest marker at that ring, counted from the newest marker that came back.
    pub(crate) rung_marker: i8,
    pub(crate) lease: Option<Lease>,
    /// Whether `not_before` has passed.
    pub(crate) due: bool,
    /// How often each page is in the page log.
    pub(crate) log: [u8; MOST_PAGES],
    /// Pages counted by the slice's counters.
    pub(crate) counted: u8,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Lease {
    pub(crate) token: Token,
    /// The ring of the delivery that it answers.
    pub(crate) ring: usize,
}

/// A lease token. Only one thing about it matters: which hand knows it. Tokens are random, so none is ever met again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Token {
    /// The one that this hand holds now.
    Of(usize),
    /// Nobody knows it any more: its worker is dead, or has begun anew with another token.
    Lost,
}

/// A page message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Doorbell {
    pub(crate) slice: usize,
    pub(crate) page: usize,
    pub(crate) ring: usize,
    pub(crate) redelivered: bool,
}

/// A delivery that a worker is busy with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Task {
    pub(crate) doorbell: Doorbell,
    /// Whether the message is still this hand's to settle. If not, its connection is gone and the broker gave it away.
    pub(crate) attached: bool,
    /// Whether the message went with its queue, which nobody tells the hand: the broker will not deliver it again.
    pub(crate) gone: bool,
    pub(crate) step: Step,
}

/// What a hand does next. Between any two steps its worker may die.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Step {
    /// Claims.
    Claim,
    /// Fetches this page and settles it.
    Work { page: usize },
    /// Reads the slice: it does not know what became of this page.
    Look { page: usize },
    /// Publishes the slice's next doorbell.
    Ring { page: usize, ring: usize },
    /// Releases its lease, if it still has one.
    Release,
    /// A broken variant only: the statement that releases has begun, and has seen whether other leases are left.
    ReleaseSeen { others: bool },
    /// Releases its lease, since the process ends.
    HandBack,
    /// Ends the cancel, if no lease is left.
    EndCancel,
    /// Completes the job, if all its slices are done.
    Finish { then_refill: bool },
    /// Rings the tenant's next slices.
    Refill,
    /// Gives the message back.
    Return,
    /// Acks the message.
    Ack,
}

/// The row of markers, and the markers that are under way. Numbers count from the newest that came back.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Markers {
    pub(crate) published: i8,
    pub(crate) under_way: Vec<i8>,
}

impl State {
    /// The slices of a job.
    pub(crate) fn slices_of(&self, job: usize) -> impl Iterator<Item = &Slice> {
        self.slices.iter().filter(move |slice| slice.job == job)
    }

    /// Whether every command that was confirmed has been applied, and every job that was accepted has ended.
    pub(crate) fn is_over(&self) -> bool {
        self.jobs.iter().all(|job| {
            let ended = match job.status {
                Some(status) => status.is_terminal(),
                None => job.start.deliveries.is_empty(),
            };
            ended && !job.start.is_owed() && !job.cancel.is_owed()
        })
    }

    /// The pages of a job in the page log.
    pub(crate) fn logged(&self, job: usize) -> usize {
        self.slices_of(job).flat_map(|slice| &slice.log).map(|times| usize::from(*times)).sum()
    }

    /// The token that a hand knew is known to nobody any more.
    pub(crate) fn forget_token(&mut self, hand: usize) {
        for lease in self.slices.iter_mut().filter_map(|slice| slice.lease.as_mut()) {
            if lease.token == Token::Of(hand) {
                lease.token = Token::Lost;
            }
        }
    }

    /// Rings a slice: a new number in its row, and the message at the broker.
    pub(crate) fn ring(&mut self, slice: usize) {
        let published = self.markers.published;
        let row = &mut self.slices[slice];
        row.ring += 1;
        row.rung_marker = published;
        let doorbell = Doorbell { slice, page: row.page, ring: row.ring, redelivered: false };
        self.doorbells.push(doorbell);
    }

    /// Whether a hand's lease is (still) on its slice.
    pub(crate) fn holds(&self, hand: usize, slice: usize) -> bool {
        self.slices[slice].lease.is_some_and(|lease| lease.token == Token::Of(hand))
    }
}
