//! Work on the database that shares statements: what a statement costs to begin and end, and to reach the disk, is more than
//! most of what it does.

mod batcher;
mod commands;
mod kinds;

pub use batcher::{Batched, Batcher, submit};
pub use commands::Batches;
pub use kinds::{Cancels, Confirms, Kind, Starts};
