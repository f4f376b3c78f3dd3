//! The fleet: takes deliveries in, claims pages, fetches and settles them, and obeys cancels.

pub mod worker;

pub mod intake;
pub mod disposition;
pub mod commands;
pub mod planner;
pub mod page;
pub mod in_flight;
pub mod renewal;
pub mod sweeper;

pub mod bell;
pub mod canary;
pub mod source;
pub mod sources;
