//! One record, checked: a model of how an upstream's record, the stored one, and the jobs that meet or miss it move, of which
//! every reachable state is visited.
//!
//! # The model
//!
//! The upstream ([`world`]) changes the record's content back and forth, removes it and brings it back, at any moment. Full
//! syncs follow each other: each begins, asks, is answered, settles what it met, compares, marks, and completes; or it is
//! cancelled anywhere between. Jobs over documents ask for the record by its id beside them. An answer shows what the
//! upstream had between the question and the settle; one answer of a run may miss a record that is there, as a list does that
//! moves while it is read.
//!
//! What a settle, a comparison and a mark do to the stored record ([`rules`]) are the rules of `settle.template.sql`,
//! `check_compare.sql` and `deletion_mark.sql`, for the default of two passes. [`mistakes`] are rules that are wrong on
//! purpose, each of which must be found out.
//!
//! Moments are numbers: each question, answer and change has its own. The history of the upstream is kept, so that what is
//! stored can be compared with what was there to be seen.

mod mistakes;
mod rules;
mod world;

use stateright::{Checker, Model};
use world::{CHANGE, DELETED, FRESH, Scenario, TWO_PASSES};

#[test]
fn what_is_stored_was_there_and_nothing_that_lives_is_deleted() {
    let checker = Scenario::default().checker().threads(2).spawn_bfs().join();
    for property in [FRESH, DELETED, TWO_PASSES] {
        checker.assert_no_discovery(property);
    }
    // A run in which something is deleted, or the silence of the others means nothing.
    checker.assert_any_discovery(CHANGE);
    assert_eq!(checker.unique_state_count(), Scenario::STATES, "the model has changed");
}
