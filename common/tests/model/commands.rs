//! Start and cancel commands: what a consumer does with their deliveries, and what befalls the queues that they
//! wait in.

use crate::scenarios::Scenario;
use crate::state::{Job, State};
use crate::variants::Variant;

/// A queue of commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Queue {
    /// Of starts.
    Starts,
    /// Of cancels.
    Cancels,
}

/// Both.
pub(crate) const QUEUES: [Queue; 2] = [Queue::Starts, Queue::Cancels];

/// The start or the cancel command of a job.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Command {
    /// Whether the broker confirmed it to its sender, who will not send it again.
    pub(crate) confirmed: bool,
    /// Whether a transaction that applied it, or refused it, was committed.
    pub(crate) applied: bool,
    /// Its deliveries that are not acked.
    pub(crate) deliveries: Vec<Delivery>,
}

/// How far the consumer of a command is with a delivery of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Delivery {
    /// It waits (again).
    Waiting,
    /// A broken variant only: no active job was seen, the row is inserted in a later transaction.
    Unopposed,
    /// The job's row is there, and to be planned.
    Inserted,
    /// The job is planned, and to be rung.
    Planned,
    /// The cancel is applied, and to be acked.
    Applied,
}

impl Command {
    /// The broker has it, and has said so.
    pub(crate) fn publish(&mut self) {
        self.confirmed = true;
        self.deliveries.push(Delivery::Waiting);
    }

    /// Whether its sender counts on it in vain so far.
    pub(crate) fn is_owed(&self) -> bool {
        self.confirmed && !self.applied
    }

    /// Whether somebody has a delivery of it.
    pub(crate) fn is_in_hand(&self) -> bool {
        self.deliveries.iter().any(|delivery| *delivery != Delivery::Waiting)
    }

    /// Whether the broker has a delivery of it.
    pub(crate) fn waits(&self) -> bool {
        self.deliveries.contains(&Delivery::Waiting)
    }
}

impl Job {
    pub(crate) fn command(&self, queue: Queue) -> &Command {
        match queue {
            Queue::Starts => &self.start,
            Queue::Cancels => &self.cancel,
        }
    }

    pub(crate) fn command_mut(&mut self, queue: Queue) -> &mut Command {
        match queue {
            Queue::Starts => &mut self.start,
            Queue::Cancels => &mut self.cancel,
        }
    }
}

impl State {
    /// Whether a consumer can go on with a delivery by itself.
    pub(crate) fn may_step(&self, queue: Queue, delivery: Delivery) -> bool {
        match delivery {
            Delivery::Waiting => !self.refusing[queue as usize],
            Delivery::Unopposed | Delivery::Inserted | Delivery::Planned | Delivery::Applied => true,
        }
    }

    /// The next step with a delivery: a transaction, or the ack.
    pub(crate) fn command_step(&mut self, scenario: &Scenario, queue: Queue, job: usize, at: usize) {
        let next = match self.jobs[job].command(queue).deliveries[at] {
            Delivery::Waiting => self.apply(scenario, queue, job),
            Delivery::Unopposed => Some(self.insert(job)),
            Delivery::Inserted => self.plan(scenario, job).then_some(Delivery::Planned),
            Delivery::Planned => {
                self.refill(scenario.window);
                None
            }
            Delivery::Applied => None,
        };
        let deliveries = &mut self.jobs[job].command_mut(queue).deliveries;
        match next {
            Some(next) => deliveries[at] = next,
            None => drop(deliveries.remove(at)),
        }
    }

    fn apply(&mut self, scenario: &Scenario, queue: Queue, job: usize) -> Option<Delivery> {
        match queue {
            Queue::Starts => self.start(scenario, job),
            Queue::Cancels => {
                self.cancel(job);
                self.jobs[job].cancel.applied = true;
                Some(Delivery::Applied)
            }
        }
    }

    /// Whoever consumes a queue dies: what was not acked comes again.
    pub(crate) fn return_commands(&mut self, queue: Queue) {
        for deliveries in self.deliveries_mut(queue) {
            deliveries.fill(Delivery::Waiting);
        }
    }

    /// Whoever met a queue that cannot be consumed tries again, and it can.
    pub(crate) fn register(&mut self, variant: Variant, queue: Queue) {
        self.refusing[queue as usize] = false;
        if variant == Variant::RefusingQueueDeleted {
            for deliveries in self.deliveries_mut(queue) {
                deliveries.retain(|delivery| *delivery != Delivery::Waiting);
            }
        }
    }

    fn deliveries_mut(&mut self, queue: Queue) -> impl Iterator<Item = &mut Vec<Delivery>> {
        self.jobs.iter_mut().map(move |job| &mut job.command_mut(queue).deliveries)
    }
}
