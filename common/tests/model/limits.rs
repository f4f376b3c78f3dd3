//! Where the protocol stops promising: each limit with the run that shows it, and what holds beyond.

use crate::faults::Fault;
use crate::liveness::{Endless, Graph};
use crate::properties;
use crate::scenarios::{CANCEL_ALONE, LOST_DOORBELLS, MESSAGES_ALONE, ONE_FAULT, Scenario};
use crate::variants::Variant;
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

/// Between the release of the last lease and the end of the cancel a worker may die, lose the answer, or end and give its
/// message back: the message then meets a closed slice without a lease and is acked. The sweeper ends the cancel at its
/// next tick; if such a message ended it, none of these would need the sweeper.
#[test]
fn a_cancel_may_need_the_sweeper() {
    for fault in [&[Fault::Crash], &[Fault::AnswerLost], &[Fault::HandBack]] {
        let endless = Graph::of(&Scenario { kinds: fault, ..CANCEL_ALONE }).endless();
        assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{fault:?}: {endless:?}");
    }
    let endless = Graph::of(&Scenario {
        variant: Variant::ClosedSliceEndsCancel,
        kinds: &[Fault::Crash, Fault::Disconnect, Fault::AnswerLost, Fault::HandBack],
        ..CANCEL_ALONE
    })
    .endless();
    assert!(endless.is_none(), "{endless:?}");
}

/// A marker that is lost is missed only when the queue is found empty. Behind a backlog that never ends no other follows
/// it, and a doorbell that is lost stays lost. If the marker that is out were sent again, with its number, none would.
#[test]
fn a_backlog_may_hide_that_a_marker_is_lost() {
    let scenario = Scenario { backlog: true, ..LOST_DOORBELLS };
    let endless = Graph::of(&scenario).endless();
    assert!(matches!(endless, Some(Endless::DeadEnd(_))), "{endless:?}");
    let endless = Graph::of(&Scenario { variant: Variant::MarkerSentAgain, ..scenario }).endless();
    assert!(endless.is_none(), "{endless:?}");
}
