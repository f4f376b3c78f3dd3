//! Start and cancel commands: what a consumer does with their deliveries, one by one or several in one transaction, and what
//! befalls the queues that they wait in.

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
    /// It is in a hand with others, to be applied together with them.
    Taken,
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
            Delivery::Taken => false,
            Delivery::Unopposed | Delivery::Inserted | Delivery::Planned | Delivery::Applied => true,
        }
    }

    /// The next step with a delivery: a transaction, or the ack.
    pub(crate) fn command_step(&mut self, scenario: &Scenario, queue: Queue, job: usize, at: usize) {
        let next = match self.jobs[job].command(queue).deliveries[at] {
            Delivery::Waiting | Delivery::Taken => self.apply(scenario, queue, job),
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

    /// Whether there is a batch to take. A hand that has one takes no other before its commit.
    pub(crate) fn has_batch(&self, queue: Queue) -> bool {
        let all = || self.jobs.iter().flat_map(|job| &job.command(queue).deliveries);
        !self.refusing[queue as usize]
            && !all().any(|delivery| *delivery == Delivery::Taken)
            && all().filter(|delivery| **delivery == Delivery::Waiting).count() > 1
    }

    /// Whether a batch is in a hand.
    pub(crate) fn has_taken(&self, queue: Queue) -> bool {
        self.jobs.iter().any(|job| job.command(queue).deliveries.contains(&Delivery::Taken))
    }

    /// Takes every command that waits.
    pub(crate) fn take_batch(&mut self, queue: Queue) {
        self.turn(queue, Delivery::Waiting, Delivery::Taken);
    }

    /// One transaction applies all that were taken, those of a connection in their order. What follows is done for each by
    /// itself, as are the acks.
    pub(crate) fn commit_batch(&mut self, scenario: &Scenario, queue: Queue) {
        for job in 0..self.jobs.len() {
            let taken = |delivery: &Delivery| *delivery == Delivery::Taken;
            while let Some(at) = self.jobs[job].command(queue).deliveries.iter().position(taken) {
                self.command_step(scenario, queue, job, at);
            }
        }
    }

    /// The transaction of a batch fails as a whole: its commands are applied one by one.
    pub(crate) fn part_batch(&mut self, queue: Queue) {
        self.turn(queue, Delivery::Taken, Delivery::Waiting);
    }

    /// Whoever consumes a queue dies: what was not acked comes again.
    pub(crate) fn return_commands(&mut self, variant: Variant, queue: Queue) {
        let acked = |delivery| delivery == Delivery::Taken && variant == Variant::BatchAckedBeforeCommit;
        for deliveries in self.deliveries_mut(queue) {
            deliveries.retain(|delivery| !acked(*delivery));
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

    fn turn(&mut self, queue: Queue, from: Delivery, to: Delivery) {
        let deliveries = self.deliveries_mut(queue).flatten();
        deliveries.filter(|delivery| **delivery == from).for_each(|delivery| *delivery = to);
    }

    fn deliveries_mut(&mut self, queue: Queue) -> impl Iterator<Item = &mut Vec<Delivery>> {
        self.jobs.iter_mut().map(move |job| &mut job.command_mut(queue).deliveries)
    }
}
