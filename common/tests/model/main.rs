//! The protocol, checked.

mod actions;
mod faults;
mod hands;
mod jobs;
mod liveness;
mod normal;
mod properties;
mod scenarios;
mod slices;
mod state;
mod sweep;
mod variants;

use faults::Fault as F;
use liveness::Graph;
use scenarios::*;
use stateright::{Checker, Model};
use variants::Variant as V;

#[test]
fn try_all() {
    for (name, scenario) in [
        ("nofence", Scenario { variant: V::SettleWithoutFence, ..LOST_DOORBELLS }),
        ("nofence-cancel", Scenario { variant: V::SettleWithoutFence, ..CANCEL_ALONE }),
        ("ackearly", Scenario { variant: V::AckBeforeCommit, ..MESSAGES_ALONE }),
        ("staleacked", Scenario { variant: V::StaleRedeliveryAcked, ..MESSAGES_ALONE }),
        ("anytakeover", Scenario { variant: V::TakeoverOnAnyRedelivery, ..ONE_FAULT }),
        ("anytakeover-m", Scenario { variant: V::TakeoverOnAnyRedelivery, ..MESSAGES_ALONE }),
        ("newest", Scenario { variant: V::NewestRingOnly, ..LOST_DOORBELLS }),
        ("newest0", Scenario { variant: V::NewestRingOnly, faults: 0, kinds: &[], ..LOST_DOORBELLS }),
        ("skew", Scenario { variant: V::CancelEndedByRelease, ..CANCEL_ALONE }),
        ("readinsert", Scenario { variant: V::StartReadsThenInserts, faults: 0, kinds: &[], ..TWO_JOBS }),
        ("backlog", Scenario { backlog: true, ..LOST_DOORBELLS }),
        ("handback-cancel", Scenario { faults: 1, kinds: &[F::HandBack], ..CANCEL_ALONE }),
        ("disconnect-cancel", Scenario { faults: 1, kinds: &[F::Disconnect], ..CANCEL_ALONE }),
        ("answer-cancel", Scenario { faults: 1, kinds: &[F::AnswerLost], ..CANCEL_ALONE }),
        ("crash-cancel", Scenario { faults: 1, kinds: &[F::Crash], ..CANCEL_ALONE }),
        ("twofaults", Scenario { faults: 2, slices: 1, ..ONE_FAULT }),
        ("three", Scenario { faults: 3, ..MESSAGES_ALONE }),
    ] {
        if std::env::var("ONLY").is_ok_and(|only| !only.split(",").any(|o| o == name)) {
            continue;
        }
        let t = std::time::Instant::now();
        let graph = Graph::of(&scenario);
        println!(
            "{name}: {} states {} steps in {:?}; idle {:?}",
            graph.states(),
            graph.steps(),
            t.elapsed(),
            graph.idle(&scenario)
        );
        match graph.endless() {
            None => println!("  ends ({:?})", t.elapsed()),
            Some(e) => println!("  ENDLESS {e:?}"),
        }
        let t = std::time::Instant::now();
        let c = scenario.checker().spawn_bfs().join();
        println!("  stateright {} in {:?}", c.unique_state_count(), t.elapsed());
        for (name, path) in c.discoveries() {
            println!("  VIOLATED {name}: {:?}", path.into_actions());
        }
    }
}
