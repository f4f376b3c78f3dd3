//! Jobs with results, over HTTP, on the real database, broker and consumers: every row and every error of their contract.

mod api;
mod cancelling;
mod documents;
mod grid;
mod keys;
mod listing;
mod messages;
mod results;
mod schemas;
mod starting;
mod states;
mod streaming;
