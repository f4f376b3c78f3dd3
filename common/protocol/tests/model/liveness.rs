//! Whether every run ends. Stateright cannot tell: its `eventually` does not see runs that go round in circles for ever.
//! So the whole graph of states is built here, and searched for the two ways never to end:
//!
//! - a **dead end**: a state that is not over, in which nothing happens any more unless something goes wrong;
//! - a **livelock**: a circle of states that are not over, in which a run may stay for ever although it is *fair*: no
//!   kind of action (see [`kind`]) that can be done all the time is never done.
//!
//! Fairness is all that is assumed: while it can, the broker delivers *some* message, *some* hand does its next step,
//! each duty of the sweeper is done, commands are applied, queues can be consumed again, time passes, and pauses end. Faults and cancels are never counted on, and since each
//! run has finitely many of them none is on a circle. For such fairness a strongly connected component has a fair
//! circle if, and only if, the one that visits all of it is fair.

use crate::actions::Action;
use crate::commands::Queue;
use crate::scenarios::Scenario;
use crate::state::State;
use crate::sweep::Duty;
use stateright::Model;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

/// The kind of an action, as a bit; none for what is never counted on.
fn kind(action: Action) -> u16 {
    match action {
        Action::Deliver(_) => 1,
        Action::MarkerBack(_) => 1 << 1,
        Action::Step(_) | Action::GoOn(_) | Action::Abort(_) => 1 << 2,
        Action::Due(_) => 1 << 4,
        Action::Unpause => 1 << 5,
        Action::Sweep(Duty::Deadline, _) => 0,
        Action::Sweep(duty, _) => 1 << (6 + duty as u16),
        Action::Command(queue, ..) | Action::Take(queue) | Action::Commit(queue) => match queue {
            Queue::Starts => 1 << 3,
            Queue::Cancels => 1 << 14,
        },
        Action::Register(_) => 1 << 15,
        Action::Cancel(_) | Action::Fault(..) => 0,
    }
}

/// Why some run does not end.
#[derive(Clone, Debug)]
pub(crate) enum Endless {
    /// Nothing happens any more after these actions.
    DeadEnd(Vec<Action>),
    /// After these actions a run may go round for ever.
    Livelock(Vec<Action>),
}

impl fmt::Display for Endless {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (what, way) = match self {
            Self::DeadEnd(way) => ("nothing happens any more", way),
            Self::Livelock(way) => ("a run may go round for ever", way),
        };
        write!(f, "{what}, after")?;
        way.iter().try_for_each(|action| write!(f, "\n  {action:?}"))
    }
}

/// Every reachable state, by number, and how they lead to each other.
pub(crate) struct Graph {
    over: Vec<bool>,
    /// The kinds of actions that can be done in each state.
    can: Vec<u16>,
    /// Where the edges of each state begin, and of a state after the last.
    first: Vec<usize>,
    edges: Vec<(u16, usize)>,
    /// How each state was met first.
    found: Vec<Option<(usize, Action)>>,
    /// Which duties and faults took place at all, in words.
    happened: BTreeSet<String>,
}

impl Graph {
    /// Explores a scenario to its end.
    pub(crate) fn of(scenario: &Scenario) -> Self {
        let mut graph = Self {
            over: Vec::new(),
            can: Vec::new(),
            first: vec![0],
            edges: Vec::new(),
            found: Vec::new(),
            happened: BTreeSet::new(),
        };
        let hasher = BuildHasherDefault::<DefaultHasher>::default();
        let mut numbers: HashMap<u64, usize> = HashMap::new();
        let mut to_visit: Vec<State> = scenario.init_states();
        numbers.extend(to_visit.iter().map(|state| (hasher.hash_one(state), 0)));
        graph.found.push(None);
        let (mut next, mut actions) = (0, Vec::new());
        while !to_visit.is_empty() {
            let mut met = Vec::new();
            for state in to_visit {
                let mut can = 0;
                actions.clear();
                scenario.actions(&state, &mut actions);
                for action in actions.iter().copied() {
                    let Some(after) = scenario.next_state(&state, action) else { continue };
                    let number = *numbers.entry(hasher.hash_one(&after)).or_insert_with(|| {
                        graph.found.push(Some((next, action)));
                        met.push(after);
                        graph.found.len() - 1
                    });
                    can |= kind(action);
                    graph.edges.push((kind(action), number));
                    graph.note(action);
                }
                graph.over.push(state.is_over());
                graph.can.push(can);
                graph.first.push(graph.edges.len());
                next += 1;
            }
            to_visit = met;
        }
        graph
    }

    pub(crate) fn states(&self) -> usize {
        self.over.len()
    }

    /// A run that does not end, if there is any.
    pub(crate) fn endless(&self) -> Option<Endless> {
        let dead = |state: &usize| !self.over[*state] && self.can[*state] == 0;
        if let Some(state) = (0..self.states()).find(dead) {
            return Some(Endless::DeadEnd(self.way_to(state)));
        }
        let circle = self.components().into_iter().find(|component| self.has_fair_circle(component))?;
        Some(Endless::Livelock(self.way_to(circle.into_iter().min()?)))
    }

    /// The duties and faults of the scenario that never took place: a scenario that tests less than it says.
    pub(crate) fn idle(&self, scenario: &Scenario) -> Vec<String> {
        let duties = scenario.duties.iter().map(|duty| format!("{duty:?}"));
        let faults = scenario.kinds.iter().map(|fault| format!("{fault:?}"));
        duties.chain(faults).filter(|word| !self.happened.contains(word)).collect()
    }

    fn note(&mut self, action: Action) {
        match action {
            Action::Sweep(duty, _) => self.happened.insert(format!("{duty:?}")),
            Action::Fault(fault, _) => self.happened.insert(format!("{fault:?}")),
            Action::Deliver(_)
            | Action::MarkerBack(_)
            | Action::Step(_)
            | Action::GoOn(_)
            | Action::Abort(_)
            | Action::Command(..)
            | Action::Take(_)
            | Action::Commit(_)
            | Action::Register(_)
            | Action::Due(_)
            | Action::Unpause
            | Action::Cancel(_) => false,
        };
    }

    fn way_to(&self, state: usize) -> Vec<Action> {
        let mut way: Vec<Action> = std::iter::successors(self.found[state], |(from, _)| self.found[*from])
            .map(|step| step.1)
            .collect();
        way.reverse();
        way
    }

    fn edges_of(&self, state: usize) -> &[(u16, usize)] {
        &self.edges[self.first[state]..self.first[state + 1]]
    }

    fn has_fair_circle(&self, component: &[usize]) -> bool {
        let inside: BTreeSet<usize> = component.iter().copied().collect();
        let taken = component.iter().flat_map(|state| self.edges_of(*state));
        let taken = taken.filter(|(_, to)| inside.contains(to)).fold(0, |taken, (kind, _)| taken | kind);
        let always = component.iter().fold(u16::MAX, |always, state| always & self.can[*state]);
        component.len() > 1 && always & !taken == 0
    }

    /// The strongly connected components among the states that are not over (Tarjan, without recursion).
    fn components(&self) -> Vec<Vec<usize>> {
        const UNSEEN: usize = usize::MAX;
        let mut order = vec![UNSEEN; self.states()];
        let mut low = vec![0; self.states()];
        let mut on_stack = vec![false; self.states()];
        let (mut stack, mut components, mut seen) = (Vec::new(), Vec::new(), 0);
        for root in (0..self.states()).filter(|state| !self.over[*state]) {
            if order[root] != UNSEEN {
                continue;
            }
            let mut path = vec![(root, 0)];
            while let Some((state, edge)) = path.last_mut() {
                let state = *state;
                if *edge == 0 {
                    (order[state], low[state], on_stack[state]) = (seen, seen, true);
                    seen += 1;
                    stack.push(state);
                }
                let next = self.edges_of(state).get(*edge).map(|(_, to)| *to);
                *edge += 1;
                match next {
                    Some(to) if self.over[to] => {}
                    Some(to) if order[to] == UNSEEN => path.push((to, 0)),
                    Some(to) if on_stack[to] => low[state] = low[state].min(order[to]),
                    Some(_) => {}
                    None => {
                        path.pop();
                        if let Some((parent, _)) = path.last() {
                            low[*parent] = low[*parent].min(low[state]);
                        }
                        if low[state] == order[state] {
                            let from = stack.iter().rposition(|other| *other == state).unwrap_or_default();
                            let component = stack.split_off(from);
                            component.iter().for_each(|member| on_stack[*member] = false);
                            components.push(component);
                        }
                    }
                }
            }
        }
        components
    }
}
