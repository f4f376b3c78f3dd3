//! What can happen next, and the stateright model made of it.

use crate::faults::Fault;
use crate::properties;
use crate::scenarios::{Duty, Scenario};
use crate::state::{Doorbell, Job, Markers, Start, State, Step, Task};
use common::job::JobStatus;
use common::slice::SliceStatus;
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
    /// The consumer of a start command does its next step.
    Start(usize),
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
        let waiting = Job { status: None, tombstone: false, pages_at_fence: None, start: Start::Waiting };
        let mut state = State {
            jobs: vec![waiting; self.jobs],
            slices: Vec::new(),
            markers: Markers { published: 0, under_way: Vec::new() },
            paused: false,
            doorbells: Vec::new(),
            hands: vec![None; self.hands],
            faults: self.faults,
            cancels: self.cancels,
            robbed: false,
        };
        if self.begun {
            state.start(self.variant, 0);
            state.plan(0, self.slices, self.pages);
            state.refill(self.window);
            state.jobs[0].start = Start::Over;
        }
        state.normalise();
        vec![state]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        for (at, bell) in state.doorbells.iter().enumerate() {
            if at == 0 || state.doorbells[at - 1] != *bell {
                actions.push(Action::Deliver(*bell));
            }
        }
        actions.extend(state.markers.under_way.iter().map(|number| Action::MarkerBack(*number)));
        for (hand, task) in state.hands.iter().enumerate().filter_map(|(hand, task)| Some((hand, task.as_ref()?))) {
            actions.push(Action::Step(hand));
            if matches!(task.step, Step::Work { .. }) {
                actions.push(Action::GoOn(hand));
                actions.push(Action::Abort(hand));
            }
        }
        let jobs = 0..self.jobs;
        actions.extend(jobs.clone().map(Action::Start));
        actions.extend(jobs.clone().map(Action::Cancel));
        actions.extend((0..state.slices.len()).map(Action::Due));
        actions.push(Action::Unpause);
        for duty in self.duties {
            let places = duty.places(state);
            actions.extend((0..places).map(|at| Action::Sweep(*duty, at)));
        }
        if state.faults > 0 {
            for fault in self.kinds {
                actions.extend((0..fault.places(state)).map(|at| Action::Fault(*fault, at)));
            }
        }
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        if !self.act(&mut state, action) {
            return None;
        }
        state.normalise();
        (state != *last).then_some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        properties::all(self)
    }
}

impl Scenario {
    /// Lets an action happen. False if it cannot, now.
    fn act(&self, state: &mut State, action: Action) -> bool {
        match action {
            Action::Deliver(bell) => {
                let free = state.hands.iter().position(Option::is_none);
                free.inspect(|hand| state.deliver(bell, *hand)).is_some()
            }
            Action::MarkerBack(number) => {
                state.marker_returned(number);
                true
            }
            Action::Step(hand) => {
                state.step(self, hand, false);
                true
            }
            Action::GoOn(hand) => {
                // A stint ends with its connection.
                let attached = state.hands[hand].is_some_and(|task| task.attached);
                state.step(self, hand, true);
                attached
            }
            Action::Abort(hand) => abort(state, hand),
            Action::Start(job) => self.start_step(state, job),
            Action::Sweep(duty, at) => self.sweep(state, duty, at),
            Action::Due(slice) => {
                let row = &mut state.slices[slice];
                row.due = row.status == SliceStatus::Waiting;
                row.due
            }
            Action::Unpause => std::mem::take(&mut state.paused),
            Action::Cancel(job) => {
                state.cancels > 0 && {
                    state.cancels -= 1;
                    state.cancel(job)
                }
            }
            Action::Fault(fault, at) => {
                state.faults -= 1;
                fault.strike(self, state, at)
            }
        }
    }

    fn start_step(&self, state: &mut State, job: usize) -> bool {
        match state.jobs[job].start {
            Start::Waiting => state.start(self.variant, job),
            Start::Unopposed => state.insert(job),
            Start::Inserted => {
                let planned = state.plan(job, self.slices, self.pages);
                state.jobs[job].start = if planned { Start::Planned } else { Start::Over };
            }
            Start::Planned => {
                state.refill(self.window);
                state.jobs[job].start = Start::Over;
            }
            Start::Over => return false,
        }
        true
    }

    fn sweep(&self, state: &mut State, duty: Duty, at: usize) -> bool {
        match duty {
            Duty::EndCancel => state.end_cancel(at),
            Duty::Deadline => state.force_cancel(at),
            Duty::Expire => {
                let abandoned = state.is_abandoned(at);
                if abandoned {
                    state.expire(at);
                }
                abandoned
            }
            Duty::Finish => state.finish(at),
            Duty::Refill => state.refill(self.window),
            Duty::Rering => {
                let lost = state.is_lost(at);
                if lost {
                    state.ring(at);
                }
                lost
            }
            Duty::Marker => {
                let seen_empty = !self.backlog && state.doorbells.is_empty();
                state.send_marker(seen_empty)
            }
            Duty::Plan => {
                let pending = state.jobs[at].status == Some(JobStatus::Pending);
                pending && state.plan(at, self.slices, self.pages) && {
                    state.refill(self.window);
                    true
                }
            }
        }
    }
}

/// The push or the renewal reaches a page that is lost; what became of it is looked up.
fn abort(state: &mut State, hand: usize) -> bool {
    let Some(task) = state.hands[hand] else { return false };
    let Step::Work { page } = task.step else { return false };
    let slice = task.doorbell.slice;
    let lost = state.slices[slice].status != SliceStatus::Ready || !state.holds(hand, slice);
    state.hands[hand] = Some(Task { step: Step::Look { page }, ..task });
    lost
}
