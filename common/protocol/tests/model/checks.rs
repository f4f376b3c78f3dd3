//! The protocol as it is, in every scenario: stateright looks for a state that must not be, the graph for a run that
//! does not end. Both count the same states, or one of them is wrong.

use crate::liveness::Graph;
use crate::scenarios::{
    BATCHES, CANCEL_ALONE, COMMANDS, EVERYTHING, FULL_SYNC, LOST_DOORBELLS, MESSAGES_ALONE, ONE_FAULT,
    ONE_TOO_MANY, PAGES_LOST, PAGES_LOST_IN_HANDS, Scenario, TWO_JOBS, WINDOW,
};
use stateright::{Checker, Model};

fn holds(scenario: Scenario) {
    let checker = scenario.checker().spawn_bfs().join();
    checker.assert_properties();
    let graph = Graph::of(&scenario);
    let endless = graph.endless().map(|endless| endless.to_string());
    assert!(endless.is_none(), "{}", endless.unwrap_or_default());
    let idle = graph.idle(&scenario);
    assert!(idle.is_empty(), "the scenario says more than it does: {idle:?} never take place");
    assert_eq!((graph.states(), checker.unique_state_count()), (scenario.states, scenario.states));
}

#[test]
fn messages_alone_bring_every_page_back() {
    holds(MESSAGES_ALONE);
}

#[test]
fn where_messages_fail_the_sweeper_does_not() {
    holds(ONE_TOO_MANY);
}

#[test]
fn whoever_has_its_message_keeps_its_page() {
    holds(ONE_FAULT);
}

#[test]
fn a_cancel_is_ended_by_its_workers() {
    holds(CANCEL_ALONE);
}

#[test]
fn lost_doorbells_are_rung_again() {
    holds(LOST_DOORBELLS);
}

#[test]
fn every_slice_has_its_turn() {
    holds(WINDOW);
}

#[test]
fn two_jobs_of_a_connection() {
    holds(TWO_JOBS);
}

#[test]
fn commands_that_come_again_are_applied_once() {
    holds(COMMANDS);
}

#[test]
fn commands_that_are_applied_together_are_applied_once() {
    holds(BATCHES);
}

#[test]
fn a_lost_queue_of_doorbells_is_made_good() {
    holds(PAGES_LOST);
}

#[test]
fn a_queue_of_doorbells_lost_under_its_workers() {
    holds(PAGES_LOST_IN_HANDS);
}

#[test]
fn a_full_sync_deletes_last() {
    holds(FULL_SYNC);
}

#[test]
fn everything_at_once() {
    holds(EVERYTHING);
}
