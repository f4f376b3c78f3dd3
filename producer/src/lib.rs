//! The producer: publishes commands, and hosts the HTTP API.
//!
//! [`engine`] is the one door to what Backhaul can do: plain data in and out, and it knows no HTTP. Each contract in
//! [`http`] is an adapter that maps words and status codes, and holds no logic of its own.

pub mod api_key;
pub mod auth;
pub mod config;
pub mod database;
pub mod deadline;
pub mod engine;
pub mod explain;
pub mod http;
