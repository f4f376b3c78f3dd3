//! Rules with a mistake in them: the checker must find each, or its silence elsewhere means nothing.

use crate::rules::Rules;
use crate::world::{DELETED, FRESH, Scenario, TWO_PASSES};
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// Asserts that some run breaks a property.
fn breaks(property: &'static str, rules: Rules) {
    let found = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let scenario = Scenario { rules, fetches: 1, ..Scenario::default() };
    scenario.checker().finish_when(found).spawn_bfs().join().assert_any_discovery(property);
}

/// A page that was asked for before a document, and is settled after it.
#[test]
fn older_content_overwrites_newer() {
    breaks(FRESH, Rules::OlderOverwrites);
}

/// The content is what it was before: an answer that was on its way meanwhile has something else, and looks newer than what is
/// stored.
#[test]
fn an_unchanged_record_keeps_its_as_of_beside_other_jobs() {
    breaks(FRESH, Rules::AsOfStays);
}

/// A change between the answer and the clock looks as if the answer had it.
#[test]
fn the_clock_is_read_after_the_answer() {
    breaks(FRESH, Rules::AsOfAfterTheAnswer);
}

/// A list that moves while it is read hides a record once.
#[test]
fn one_pass_deletes() {
    breaks(DELETED, Rules::OnePass);
}

/// Two passes missed it, and it was met between them.
#[test]
fn a_suspicion_outlives_a_meeting() {
    breaks(TWO_PASSES, Rules::SuspicionStays);
}

/// A cancelled pass may have missed it for being cancelled.
#[test]
fn a_cancelled_pass_is_a_witness() {
    breaks(TWO_PASSES, Rules::CancelledPassCounts);
}

/// A document job meets the record between the comparison and the mark.
#[test]
fn a_mark_does_not_look() {
    breaks(DELETED, Rules::MarkDoesNotLook);
}
