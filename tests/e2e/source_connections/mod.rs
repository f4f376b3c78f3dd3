//! Source connections and their sync jobs, over HTTP, on the real database, broker and consumers: every row and every
//! error of the contract.

mod cancelling;
mod client;
mod connections;
mod reading;
mod running;
