//! What the producer and the consumer must agree on: words and states (pure), the broker's topology, and the store.

pub mod amqp;
pub mod batches;
pub mod closing;
pub mod command;
pub mod config;
pub mod contract;
pub mod credentials;
pub mod fitness;
#[cfg(test)]
mod fuzz;
pub mod health;
pub mod ids;
pub mod job;
pub mod json;
pub mod outage;
pub mod payload;
pub mod plain;
mod read_on;
pub mod relay;
pub mod retry;
pub mod schema;
pub mod serve;
pub mod short;
pub mod slice;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod walk;
pub mod warning;
