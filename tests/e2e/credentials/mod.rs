//! Credentials of connections: sealed in the database, and nowhere to be seen.

mod canary;
mod echo;
mod hunt;
mod keys;
mod kinds;
mod mirror;
