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

use liveness::Graph;
use scenarios::*;
use stateright::{Checker, Model};

#[test]
fn try_all() {
    for (name, scenario) in [
        ("messages", MESSAGES_ALONE),
        ("one", ONE_FAULT),
        ("cancel", CANCEL_ALONE),
        ("lost", LOST_DOORBELLS),
        ("window", WINDOW),
        ("two", TWO_JOBS),
        ("every", EVERYTHING),
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
