//! The harness of Backhaul's end-to-end tests and demos: a sample upstream, a proxy that breaks connections, and
//! the project's own programs as processes.

pub mod api;
pub mod bench;
pub mod cancelled;
pub mod chaos;
pub mod clients;
pub mod command_line;
pub mod database;
pub mod demo;
pub mod fixture;
pub mod listener;
pub mod plan;
pub mod private;
pub mod process;
pub mod proxy;
mod quick;
pub mod random_upstreams;
pub mod readme;
pub mod sample_upstream;
pub mod scripted;
pub mod servers;
pub mod settle_gate;
pub mod wiretap;
