//! What can happen next, and the stateright model made of it.

use crate::commands::{Command, QUEUES, Queue};
use crate::faults::Fault;
use crate::properties;
use crate::scenarios::Scenario;
use crate::state::{Doorbell, Job, Markers, State, Step, Task};
use crate::sweep::Duty;
use protocol::slice::SliceStatus;
use stateright::{Model, Property};

/// Something that can happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// The broker delivers a doorbell.
    Deliver(Doorbell),
    /// The broker delivers a marker, and it is recorded.
    MarkerBack(i8),
    /// A hand does its next step; a settle gives the lease up.
    Step(usize),
    /// A hand settles, and keeps the lease for the next page.
    GoOn(usize),
    /// A hand is told, by push or by renewal, that its page is no longer its own.
    Abort(usize),
    /// The consumer of a job's command does its next step with this delivery of it.
    Command(Queue, usize, usize),
    /// A consumer takes several commands at once.
    Take(Queue),
    /// A consumer applies the commands that it took, in one transaction.
    Commit(Queue),
    /// A consumer tries again to consume a queue that refused it.
    Register(Queue),
    /// The sweeper does a duty, for one job or slice, or for all.
    Sweep(Duty, usize),
    /// A waiting slice's time has come.
    Due(usize),
    /// The pause ends.
    Unpause,
    /// Somebody cancels a job.
    Cancel(usize),
    /// Something goes wrong.
    Fault(Fault, usize),
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        let mut job = Job {
            status: None,
            tombstone: false,
            pages_at_fence: None,
            made: 0,
            start: Command::default(),
            cancel: Command::default(),
        };
        job.start.publish();
        let mut state = State {
            jobs: vec![job; self.jobs],
            slices: Vec::new(),
            markers: Markers { published: 0, under_way: Vec::new() },
            paused: false,
            doorbells: Vec::new(),
            refusing: [false; 2],
            hands: vec![None; self.hands],
            faults: self.faults,
            cancels: self.cancels,
            robbed: false,
        };
        if self.begun {
            while !state.jobs[0].start.deliveries.is_empty() {
                state.command_step(self, Queue::Starts, 0, 0);
            }
        }
        state.normalise();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.hands.contains(&None) {
            let mut different = state.doorbells.clone();
            different.dedup();
            actions.extend(different.into_iter().map(Action::Deliver));
        }
        actions.extend(state.markers.under_way.iter().map(|number| Action::MarkerBack(*number)));
        for (hand, task) in
            state.hands.iter().enumerate().filter_map(|(hand, task)| Some((hand, task.as_ref()?)))
        {
            actions.push(Action::Step(hand));
            if let Step::Work { .. } = task.step {
                // A stint ends with its connection.
                actions.extend(task.attached.then_some(Action::GoOn(hand)));
                actions.extend(state.is_aborted(hand, task).then_some(Action::Abort(hand)));
            }
        }
        for (job, row) in state.jobs.iter().enumerate() {
            for queue in QUEUES {
                let deliveries = row.command(queue).deliveries.iter().enumerate();
                let ready = deliveries.filter(|(_, delivery)| state.may_step(queue, **delivery));
                actions.extend(ready.map(|(at, _)| Action::Command(queue, job, at)));
            }
            actions.extend((state.cancels > 0 && !row.cancel.confirmed).then_some(Action::Cancel(job)));
        }
        for queue in QUEUES {
            actions.extend((self.batches && state.has_batch(queue)).then_some(Action::Take(queue)));
            actions.extend(state.has_taken(queue).then_some(Action::Commit(queue)));
            actions.extend(state.refusing[queue as usize].then_some(Action::Register(queue)));
        }
        actions.extend(
            (0..state.slices.len())
                .filter(|slice| state.slices[*slice].status == SliceStatus::Waiting)
                .map(Action::Due),
        );
        actions.extend(state.paused.then_some(Action::Unpause));
        for duty in self.duties {
            let places = (0..duty.places(state)).filter(|at| duty.is_due(self, state, *at));
            actions.extend(places.map(|at| Action::Sweep(*duty, at)));
        }
        if state.faults > 0 {
            for fault in self.kinds {
                let places = (0..fault.places(state)).filter(|at| fault.may_strike(state, *at));
                actions.extend(places.map(|at| Action::Fault(*fault, at)));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        self.act(&mut state, action);
        state.normalise();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Scenario {
    /// Lets an action happen.
    fn act(&self, state: &mut State, action: Action) {
        match action {
            Action::Deliver(bell) => {
                if let Some(free) = state.hands.iter().position(Option::is_none) {
                    state.deliver(bell, free);
                }
            }
            Action::MarkerBack(number) => state.marker_returned(number),
            Action::Step(hand) => state.step(self, hand, false),
            Action::GoOn(hand) => state.step(self, hand, true),
            Action::Abort(hand) => {
                if let Some(Task { step: Step::Work { page }, .. }) = state.hands[hand] {
                    state.turn_to(hand, Step::Look { page });
                }
            }
            Action::Command(queue, job, at) => state.command_step(self, queue, job, at),
            Action::Take(queue) => state.take_batch(queue),
            Action::Commit(queue) => state.commit_batch(self, queue),
            Action::Register(queue) => state.register(self.variant, queue),
            Action::Sweep(duty, at) => duty.perform(self, state, at),
            Action::Due(slice) => state.slices[slice].due = true,
            Action::Unpause => state.paused = false,
            Action::Cancel(job) if self.queued => {
                state.cancels -= 1;
                state.jobs[job].cancel.publish();
            }
            Action::Cancel(job) => {
                state.cancels -= u8::from(state.cancel(job));
            }
            Action::Fault(fault, at) => {
                state.faults -= 1;
                fault.strike(self, state, at);
            }
        }
    }
}
