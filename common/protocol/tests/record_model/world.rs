//! The upstream, the stored record, the jobs, and what may happen to them.

use crate::rules::{Rules, Stored};
use stateright::{Model, Property};

/// Stored content is what the upstream had at some moment after the newest question whose answer was settled.
pub(crate) const FRESH: &str = "nothing older than the newest answer is stored";
/// A record that is marked deleted was gone at some moment since the first of the passes that missed it began.
pub(crate) const DELETED: &str = "nothing is deleted that was there all the time";
/// A record is marked deleted by a pass that missed it after a completed pass had missed it.
pub(crate) const TWO_PASSES: &str = "two whole passes delete, and nothing was met between them";
/// Some run deletes.
pub(crate) const CHANGE: &str = "something is deleted";

/// What an upstream shows of the record: its content, or nothing.
pub(crate) type Shown = Option<u8>;

/// How far a job is with the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Step {
    /// Not begun.
    Idle,
    /// A pass only: it has begun, and not asked yet.
    Begun,
    /// Asked; no answer yet.
    Asked,
    /// Answered, and not settled.
    Answered(Shown),
    /// Settled. A pass: whether it met the record.
    Settled { met: bool },
    /// A pass only: compared, and what is to become of the record.
    Compared(Fate),
    /// A pass only: marked.
    Marked,
    /// Completed.
    Completed,
    /// Cancelled, or over without a consequence.
    Over,
}

/// What a pass found about a record that it did not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Fate {
    Met,
    Suspected,
    Confirmed,
}

/// A full sync, or a job over documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Job {
    pub(crate) step: Step,
    /// When it began.
    pub(crate) began_at: u8,
    /// What its content is stored with.
    pub(crate) as_of: u8,
}

impl Job {
    const IDLE: Self = Self { step: Step::Idle, began_at: 0, as_of: 0 };

    pub(crate) fn is_open(&self) -> bool {
        !matches!(self.step, Step::Idle | Step::Completed | Step::Over)
    }

    fn is_over(&self) -> bool {
        matches!(self.step, Step::Completed | Step::Over)
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct State {
    pub(crate) now: u8,
    /// What the upstream had from which moment on.
    pub(crate) history: Vec<(u8, Shown)>,
    pub(crate) stored: Stored,
    /// Full syncs, one after the other.
    pub(crate) passes: Vec<Job>,
    /// Jobs over documents.
    pub(crate) fetches: Vec<Job>,
    /// When the newest question was asked whose answer showed the record and was settled.
    pub(crate) newest: u8,
    /// The pass that first missed the record, of the two that deleted it; and whether it was met in between.
    pub(crate) deleted_by: Option<(usize, usize)>,
    pub(crate) met_between: bool,
    pub(crate) misses: u8,
    pub(crate) cancels: u8,
    /// How many changes are forgotten.
    pub(crate) changed: usize,
}

impl State {
    pub(crate) fn shown(&self) -> Shown {
        self.history.last().and_then(|(_, shown)| *shown)
    }

    /// What the upstream had at some moment from this one on.
    fn since(&self, moment: u8) -> impl Iterator<Item = Shown> + '_ {
        let begin = self.history.iter().rposition(|(at, _)| *at <= moment).unwrap_or_default();
        self.history[begin..].iter().map(|(_, shown)| *shown)
    }

    fn tick(&mut self) -> u8 {
        self.now += 1;
        self.now
    }

    /// Forgets the moments that nothing asks for any more, and numbers the others in their order: so that states which differ
    /// in them only are one.
    fn normalise(&mut self) {
        let (suspected, deleted) = (self.stored.suspected_by, self.deleted_by.map(|(first, _)| first));
        for (at, pass) in self.passes.iter_mut().enumerate() {
            if !pass.is_open() {
                pass.as_of = 0;
                pass.began_at = if [suspected, deleted].contains(&Some(at)) { pass.began_at } else { 0 };
            }
        }
        self.fetches.iter_mut().filter(|fetch| !fetch.is_open()).for_each(|fetch| fetch.as_of = 0);
        self.fetches.sort_unstable();
        // Of a job, 0 is no moment.
        let jobs = self.passes.iter().chain(&self.fetches).flat_map(|job| [job.began_at, job.as_of]);
        let mut moments: Vec<u8> = jobs.filter(|moment| *moment > 0).collect();
        moments.extend([self.stored.as_of, self.newest]);
        let oldest = moments.iter().copied().min().unwrap_or_default();
        let kept = self.history.iter().rposition(|(at, _)| *at <= oldest).unwrap_or_default();
        self.changed += kept;
        self.history.drain(..kept);
        self.history[0].0 = 0;
        moments.extend(self.history.iter().map(|(at, _)| *at));
        moments.push(0);
        moments.sort_unstable();
        moments.dedup();
        let rank = |moment: &mut u8| {
            *moment = u8::try_from(moments.iter().position(|at| at == moment).unwrap_or_default())
                .unwrap_or(u8::MAX);
        };
        self.history.iter_mut().for_each(|(at, _)| rank(at));
        self.passes.iter_mut().chain(&mut self.fetches).for_each(|job| {
            rank(&mut job.began_at);
            rank(&mut job.as_of);
        });
        rank(&mut self.stored.as_of);
        rank(&mut self.newest);
        self.now = u8::try_from(moments.len()).unwrap_or(u8::MAX);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Action {
    /// The upstream's record is changed, removed or brought back.
    Change(Shown),
    /// A pass goes on.
    Pass(usize),
    /// A pass's answer does not show the record, though it is there.
    Miss(usize),
    Cancel(usize),
    /// A job over documents goes on.
    Fetch(usize),
}

/// How much may happen, and by which rules.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) rules: Rules,
    pub(crate) passes: usize,
    pub(crate) fetches: usize,
    pub(crate) changes: usize,
    pub(crate) misses: u8,
    pub(crate) cancels: u8,
}

impl Scenario {
    /// How many states there are: the size of what was checked.
    pub(crate) const STATES: usize = 684_396;
}

impl Default for Scenario {
    fn default() -> Self {
        Self { rules: Rules::AsTheyAre, passes: 2, fetches: 2, changes: 2, misses: 1, cancels: 1 }
    }
}

impl Model for Scenario {
    type State = State;
    type Action = Action;

    fn init_states(&self) -> Vec<State> {
        vec![State {
            now: 1,
            history: vec![(0, Some(0))],
            stored: Stored { content: 0, as_of: 0, deleted: false, suspected_by: None },
            passes: vec![Job::IDLE; self.passes],
            fetches: vec![Job::IDLE; self.fetches],
            newest: 0,
            deleted_by: None,
            met_between: false,
            misses: self.misses,
            cancels: self.cancels,
            changed: 0,
        }]
    }

    fn actions(&self, state: &State, actions: &mut Vec<Action>) {
        if state.changed + state.history.len() <= self.changes {
            let others: [Shown; 3] = [Some(0), Some(1), None];
            actions.extend(others.into_iter().filter(|shown| *shown != state.shown()).map(Action::Change));
        }
        // One full sync of a connection at a time.
        if let Some(pass) = state.passes.iter().position(|pass| !pass.is_over()) {
            actions.push(Action::Pass(pass));
            if state.passes[pass].step == Step::Asked && state.shown().is_some() && state.misses > 0 {
                actions.push(Action::Miss(pass));
            }
            if state.passes[pass].is_open() && state.cancels > 0 {
                actions.push(Action::Cancel(pass));
            }
        }
        // Those that have not begun are all alike.
        let idle = state.fetches.iter().position(|fetch| fetch.step == Step::Idle);
        let goes_on = |(at, fetch): &(usize, &Job)| Some(*at) == idle || fetch.is_open();
        actions.extend(state.fetches.iter().enumerate().filter(goes_on).map(|(at, _)| Action::Fetch(at)));
    }

    fn next_state(&self, last: &State, action: Action) -> Option<State> {
        let mut state = last.clone();
        match action {
            Action::Change(shown) => {
                let now = state.tick();
                state.history.push((now, shown));
            }
            Action::Pass(pass) => self.rules.pass(&mut state, pass),
            Action::Miss(pass) => {
                state.misses -= 1;
                state.passes[pass].step = Step::Answered(None);
            }
            Action::Cancel(pass) => {
                state.cancels -= 1;
                state.passes[pass].step = Step::Over;
            }
            Action::Fetch(fetch) => self.rules.fetch(&mut state, fetch),
        }
        state.normalise();
        Some(state)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::always(FRESH, |_, state: &State| {
                state.stored.deleted
                    || state.since(state.newest).any(|shown| shown == Some(state.stored.content))
            }),
            Property::always(DELETED, |_, state: &State| {
                state.deleted_by.is_none_or(|(first, _)| {
                    let began_at = state.passes[first].began_at;
                    state.since(began_at).any(|shown| shown.is_none())
                })
            }),
            Property::always(TWO_PASSES, |_, state: &State| {
                state.deleted_by.is_none_or(|(first, second)| {
                    first != second && state.passes[first].step == Step::Completed && !state.met_between
                })
            }),
            Property::sometimes(CHANGE, |_, state: &State| state.stored.deleted),
        ]
    }
}

/// Reads the clock.
pub(crate) fn clock(state: &mut State) -> u8 {
    state.tick()
}
