//! Where the protocol stops promising: each limit with the run that shows it, and what holds beyond.

use crate::faults::Fault;
use crate::liveness::{Endless, Graph};
use crate::properties;
use crate::scenarios::{COMMANDS, MESSAGES_ALONE, ONE_FAULT, Scenario};
use stateright::{Checker, Model};

/// A worker whose claim is under way while its connection breaks may take the page from the one that got the message
/// next, which then acks. If it dies too, no message is left, and the sweeper has to end the lease (`ONE_TOO_MANY`).
#[test]
fn three_faults_are_too_many_for_messages_alone() {
    let endless = Graph::of(&Scenario { faults: 3, ..MESSAGES_ALONE }).endless();
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
}

/// After a takeover both workers may ring the next page. Of the two messages with one ring, the second may come back
/// while the first's worker has the page. The page is fetched twice, and settled once.
#[test]
fn two_faults_may_rob_a_holder() {
    let checker = Scenario { faults: 2, slices: 1, ..ONE_FAULT }.checker().spawn_bfs().join();
    checker.assert_any_discovery(properties::NOT_ROBBED);
    checker.assert_no_discovery(properties::SETTLED_ONCE);
}

/// A start that names neither itself nor its job is known again only by the broker's word that it was delivered before,
/// which a queue that was rebuilt does not give. Once its job is over, it makes another.
#[test]
fn a_nameless_command_may_be_applied_twice() {
    let kinds = &[Fault::CommandBack];
    let checker = Scenario { named: false, kinds, ..COMMANDS }.checker().spawn_bfs().join();
    checker.assert_any_discovery(properties::ONE_JOB);
    checker.assert_no_discovery(properties::ONE_ACTIVE);
}
