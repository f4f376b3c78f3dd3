//! Random upstreams: what a consumer makes of upstreams that are drawn from a seed, with their styles, orders, caps, clamps,
//! windows, zones, lies and failures, while they change. Whatever differs afterwards must be explained; [`law`] says how.
//!
//! A case is a [`world::World`], which is a pure function of a seed and a number ([`draw`]). It is run for real
//! (`case`): PostgreSQL, RabbitMQ, a consumer, and jobs of all three modes. The upstream keeps its own history
//! ([`history`]), which is the oracle. What fails is made smaller by running smaller worlds ([`shrink`]).

mod case;
pub mod draw;
mod ground;
pub mod history;
pub mod law;
mod listing;
mod play;
pub mod settings;
pub mod shrink;
pub mod times;
pub mod upstream;
mod watch;
pub mod world;

pub use play::{Plan, Score, play};
