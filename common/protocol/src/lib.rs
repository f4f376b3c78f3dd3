//! The words that the programs of a fleet agree on, and the rules of their states: identifiers, jobs and slices, messages and
//! their contract, the broker's names. Nothing here does I/O.

pub mod closing;
pub mod command;
pub mod contract;
#[cfg(test)]
mod fuzz;
pub mod ids;
pub mod job;
pub mod json;
pub mod millis;
pub mod outage;
pub mod payload;
pub mod plain;
pub mod plan;
pub mod poison;
pub mod retry;
pub mod role;
pub mod schema;
pub mod short;
pub mod slice;
pub mod topology;
pub mod trace;
pub mod walk;
pub mod warning;
