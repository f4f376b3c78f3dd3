//! What tenants do. To add a command: a variant, its weight in [`Action::ALL`], and its arm in `Customer::perform`, where
//! it is published and noted in the ledger; whatever must not outlast the chaos (a pause) is taken back in
//! `Customer::calm`.

use rand::RngExt;
use rand::rngs::StdRng;

/// How a command is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// As a message.
    Message,
    /// Over HTTP, to some producer.
    Http,
}

/// Something that a tenant does with its connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Starts a job; refused while one is active.
    Start(Way),
    /// Cancels its newest job.
    Cancel(Way),
    /// Cancels whatever the connection does.
    CancelConnection,
    /// Publishes the cancel of a job before its start.
    CancelFirst,
    /// Pauses its newest job.
    Pause,
    /// Lets a job that it has paused go on.
    Unpause,
    /// Resumes its newest job; refused unless that has failed or was cancelled.
    Resume,
    /// Publishes one of its commands again, however old, once or thrice.
    Repeat,
    /// Publishes something that can never be applied.
    Poison,
    /// Lets the newest job run to its end, for some seconds at most.
    Await,
}

impl Action {
    /// All of them, with how often each is chosen.
    const ALL: [(Self, u32); 12] = [
        (Self::Start(Way::Message), 30),
        (Self::Start(Way::Http), 20),
        (Self::Cancel(Way::Message), 12),
        (Self::Cancel(Way::Http), 12),
        (Self::CancelConnection, 4),
        (Self::CancelFirst, 4),
        (Self::Pause, 10),
        (Self::Unpause, 14),
        (Self::Resume, 16),
        (Self::Repeat, 12),
        (Self::Poison, 1),
        (Self::Await, 40),
    ];

    pub(super) fn choose(random: &mut StdRng) -> Self {
        weighted(&Self::ALL, random)
    }
}

/// One of several, each as often as its weight says.
pub(super) fn weighted<T: Copy>(all: &[(T, u32)], random: &mut StdRng) -> T {
    let sum: u32 = all.iter().map(|(_, weight)| weight).sum();
    let mut at = random.random_range(0..sum);
    for (one, weight) in all {
        if at < *weight {
            return *one;
        }
        at -= weight;
    }
    all[0].0
}
