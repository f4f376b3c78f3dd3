//! The fleet: takes deliveries in, claims pages, fetches and settles them, and obeys cancels.

pub mod troubles;
pub mod worker;

pub mod commands;
pub mod disposition;
pub mod in_flight;
pub mod intake;
pub mod page;
pub mod planner;
pub mod renewal;
pub mod replies;
pub mod slots;
pub mod sweeper;

pub mod canary;
pub mod open_sources;
pub mod outbox;
mod warnings;
