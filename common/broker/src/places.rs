//! Which of a process's queues are consumed, and what is known of those that are not. Outlives connections.

use super::AmqpError;
use super::supervisor::Prefetch;
use metrics::gauge;
use protocol::retry::{Delays, RetryPolicy};
use protocol::topology::{Topology, WorkQueue};
use std::fmt;
use std::time::Duration;
use tokio::time::Instant;

/// A queue that cannot be consumed, or another part of the topology that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// The queue's whole name, or what else it is.
    pub of: String,
    /// Since when.
    pub since: Instant,
    /// What the broker said last, or did not say, and what to do if it does not pass by itself.
    pub words: String,
    /// Whether the fleet works on without it.
    pub is_spare: bool,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} for {} s: {}", self.of, self.since.elapsed().as_secs(), self.words)
    }
}

/// A queue that is to be consumed.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) prefetch: Prefetch,
    state: State,
    /// Since the first failure after the last success.
    failing: Option<Failing>,
    delays: Delays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// To be consumed from then on.
    Due(Instant),
    /// A consumer is being registered.
    Trying,
    /// A consumer is registered.
    Consumed,
    /// A consumer is registered, and its successor is being.
    Renewing,
}

#[derive(Debug)]
struct Failing {
    since: Instant,
    /// Since when every try has ended without an answer, on a connection that answers otherwise.
    unanswered_since: Option<Instant>,
    words: String,
}

impl Place {
    pub(super) fn new(prefetch: Prefetch, retry: RetryPolicy) -> Self {
        Self { prefetch, state: State::Due(Instant::now()), failing: None, delays: retry.delays() }
    }

    pub(super) const fn queue(&self) -> WorkQueue {
        self.prefetch.queue
    }

    /// Whether a try is due, which then counts as begun.
    pub(super) fn begin(&mut self) -> bool {
        let due = matches!(self.state, State::Due(at) if at <= Instant::now());
        if due {
            self.turn(State::Trying);
        }
        due
    }

    /// Whether a consumer is registered whose successor is not on its way; it then counts as that.
    pub(super) fn begin_renewal(&mut self) -> bool {
        let consumed = self.state == State::Consumed;
        if consumed {
            self.turn(State::Renewing);
        }
        consumed
    }

    /// A consumer is registered.
    pub(super) fn consumed(&mut self) {
        self.turn(State::Consumed);
        self.failing = None;
        self.delays.reset();
    }

    /// There is no consumer, and it is to be registered as soon as possible.
    pub(super) fn vacant(&mut self) {
        self.turn(State::Due(Instant::now()));
    }

    fn turn(&mut self, state: State) {
        self.state = state;
        let consumed = if self.is_consumed() { 1.0 } else { 0.0 };
        gauge!("amqp_queue_consumed", "queue" => self.queue().word()).set(consumed);
    }

    /// A try has failed.
    pub(super) fn failed(&mut self, error: &AmqpError, advice: Option<&str>) {
        let now = Instant::now();
        let unanswered = matches!(error, AmqpError::TimedOut { .. });
        let words = match advice {
            Some(advice) => format!("{error}; {advice}"),
            None => error.to_string(),
        };
        let failing =
            self.failing.get_or_insert(Failing { since: now, unanswered_since: None, words: String::new() });
        failing.unanswered_since = unanswered.then(|| failing.unanswered_since.unwrap_or(now));
        if failing.words != words {
            tracing::warn!(queue = %self.prefetch.queue, error = words, "a queue cannot be consumed; it is tried again");
        }
        failing.words = words;
        let again = State::Due(now + self.delays.next_delay());
        self.turn(again);
    }

    /// For how long the queue has left every try unanswered.
    pub(super) fn unanswered_for(&self) -> Duration {
        let since = self.failing.as_ref().and_then(|failing| failing.unanswered_since);
        since.map_or(Duration::ZERO, |since| since.elapsed())
    }

    pub(super) fn is_consumed(&self) -> bool {
        matches!(self.state, State::Consumed | State::Renewing)
    }

    pub(super) fn trouble(&self, topology: &Topology) -> Option<Trouble> {
        let queue = self.prefetch.queue;
        self.failing.as_ref().map(|failing| Trouble {
            of: format!("queue {} cannot be consumed", topology.queue(queue)),
            since: failing.since,
            words: failing.words.clone(),
            is_spare: queue.is_spare(),
        })
    }
}
