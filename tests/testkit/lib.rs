//! What Backhaul's end-to-end tests, benchmarks and demos run on: services per test, a sample upstream, a proxy that breaks
//! connections, and the project's own programs as processes.

pub mod api;
pub mod cancelled;
pub mod clients;
pub mod command_line;
pub mod database;
pub mod fixture;
pub mod listener;
pub mod plan;
pub mod private;
pub mod process;
pub mod proxy;
mod quick;
pub mod readme;
pub mod sample_upstream;
pub mod scripted;
pub mod servers;
pub mod settle_gate;
pub mod wiretap;
