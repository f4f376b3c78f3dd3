//! The protocol with a mistake in it: the checker must find each, or its silence elsewhere means nothing.

use crate::actions::Action;
use crate::commands::Queue;
use crate::faults::Fault;
use crate::liveness::{Endless, Graph};
use crate::properties;
use crate::scenarios::{
    BATCHES, CANCEL_ALONE, COMMANDS, FULL_SYNC, LOST_DOORBELLS, MESSAGES_ALONE, ONE_FAULT, PAGES_LOST,
    PAGES_LOST_IN_HANDS, Scenario, TWO_JOBS,
};
use crate::sweep::Duty;
use crate::variants::Variant;
use stateright::{Checker, HasDiscoveries, Model};
use std::collections::BTreeSet;

/// Asserts that some run breaks a property.
fn breaks(property: &'static str, scenario: Scenario) {
    let found = HasDiscoveries::AnyOf(BTreeSet::from([property]));
    let checker = scenario.checker().finish_when(found).spawn_bfs().join();
    checker.assert_any_discovery(property);
}

/// How a run of the scenario fails to end.
fn endless(scenario: Scenario) -> Option<Endless> {
    Graph::of(&scenario).endless()
}

/// Two workers that both think the page is theirs settle it twice; one that was not told of the cancel settles after it.
#[test]
fn a_settle_without_the_fence() {
    let variant = Variant::SettleWithoutFence;
    breaks(properties::SETTLED_ONCE, Scenario { variant, ..LOST_DOORBELLS });
    breaks(properties::FENCE, Scenario { variant, ..CANCEL_ALONE });
}

/// The worker dies after its ack: no message is left that brings the page back. (The lease runs out in the end, so that
/// with the sweeper this is a delay of seconds for each page of a worker that dies; hence the scenario without it.)
#[test]
fn an_ack_before_the_commit() {
    let endless = endless(Scenario { variant: Variant::AckBeforeCommit, ..MESSAGES_ALONE });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// The worker dies after its settle, before it has rung the next page: the message in its hand, of the page before, was
/// the only one.
#[test]
fn a_stale_redelivery_that_is_acked() {
    let endless = endless(Scenario { variant: Variant::StaleRedeliveryAcked, ..MESSAGES_ALONE });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// The next page is rung and claimed; then the message of the page before comes back, its ack being lost, and takes the
/// page from a worker that is well. Nothing is written twice, but the page is fetched twice and the worker charged.
#[test]
fn a_takeover_on_any_redelivery() {
    breaks(properties::NOT_ROBBED, Scenario { variant: Variant::TakeoverOnAnyRedelivery, ..ONE_FAULT });
}

/// While a doorbell is in a hand, markers come back in a bunch and its slice is rung again; by the time that it claims it
/// is outdated, and so is the next. Nothing goes wrong, and nothing is ever settled.
#[test]
fn a_claim_that_only_the_newest_ring_may_make() {
    let endless =
        endless(Scenario { variant: Variant::NewestRingOnly, faults: 0, kinds: &[], ..LOST_DOORBELLS });
    assert!(matches!(endless, Some(Endless::Livelock(_))), "{endless:?}");
}

/// Write skew: two workers release in the same moment, each sees the other's lease, and neither ends the cancel.
#[test]
fn a_cancel_ended_by_the_statement_that_releases() {
    let endless = endless(Scenario { variant: Variant::CancelEndedByRelease, ..CANCEL_ALONE });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// Between the release of the last lease and the end of the cancel a worker dies, loses the answer, or ends and gives its
/// message back; whoever gets it finds nothing to do, and nobody ends the cancel but the sweeper at its next tick.
#[test]
fn a_redelivery_of_a_closed_slice_that_is_acked() {
    let endless = endless(Scenario { variant: Variant::ClosedSliceAcked, ..CANCEL_ALONE });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// Behind a backlog that never ends the queue is never found empty, no marker follows the lost one, and a doorbell that
/// is lost stays lost.
#[test]
fn a_marker_that_is_missed_only_in_an_empty_queue() {
    let endless = endless(Scenario { variant: Variant::MarkerMissedInEmptyQueue, ..LOST_DOORBELLS });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// A page of the deletion is settled while the walk is under way: what is yet to be seen is deleted.
#[test]
fn a_deletion_that_is_planned_with_the_walk() {
    let variant = Variant::DeletionWithTheWalk;
    breaks(properties::DELETION_LAST, Scenario { variant, faults: 0, kinds: &[], ..FULL_SYNC });
}

#[test]
fn a_start_that_reads_and_then_inserts() {
    breaks(
        properties::ONE_ACTIVE,
        Scenario { variant: Variant::StartReadsThenInserts, faults: 0, kinds: &[], ..TWO_JOBS },
    );
}

/// The queue of a cancelled job's start is rebuilt, its start comes again, and the job runs once more.
#[test]
fn a_start_that_revives_its_job() {
    let (variant, kinds) = (Variant::StartRevives, &[Fault::CommandBack]);
    breaks(properties::STAYS_CANCELLED, Scenario { variant, kinds, ..COMMANDS });
}

/// The commands in the queue were confirmed, so that nobody sends them again: no job is made, or a job runs on.
#[test]
fn a_queue_that_is_deleted_because_it_refuses() {
    let world = Scenario { variant: Variant::RefusingQueueDeleted, kinds: &[Fault::Refusal], ..COMMANDS };
    let running = Scenario { jobs: 1, begun: true, ..world };
    for (queue, scenario) in [(Queue::Starts, Scenario { cancels: 0, ..world }), (Queue::Cancels, running)] {
        let Some(Endless::DeadEnd(way)) = endless(scenario) else { panic!("{queue:?}: no dead end") };
        assert!(way.contains(&Action::Register(queue)), "{way:?}");
        assert_eq!(endless(Scenario { variant: Variant::AsItIs, ..scenario }).map(|_| queue), None);
    }
}

/// The consumer dies after its acks and before its commit: nobody has the commands any more.
#[test]
fn a_batch_that_is_acked_before_its_commit() {
    let endless = endless(Scenario { variant: Variant::BatchAckedBeforeCommit, ..BATCHES });
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// Markers come and go, and show that the doorbells are lost; or no marker comes back to show it.
#[test]
fn a_lost_queue_of_doorbells_that_is_not_rung_again() {
    let no_ring = endless(Scenario { duties: &[Duty::Finish, Duty::Marker], ..PAGES_LOST });
    assert!(matches!(no_ring, Some(Endless::Livelock(_))), "{no_ring:?}");
    let no_marker = endless(Scenario { variant: Variant::LostMarkerAwaited, ..PAGES_LOST });
    assert!(matches!(no_marker, Some(Endless::DeadEnd(_))), "{no_marker:?}");
}

/// A slice whose doorbell is in a hand is not rung, since it is leased. Then its worker dies after a settle, before it has
/// rung the next page, or gives the page back to a broker that has forgotten it.
#[test]
fn a_lost_queue_of_doorbells_that_is_rung_again_only_once() {
    let endless = endless(Scenario { variant: Variant::RungOnceWhenLost, ..PAGES_LOST_IN_HANDS });
    assert!(matches!(endless, Some(Endless::Livelock(_))), "{endless:?}");
}
