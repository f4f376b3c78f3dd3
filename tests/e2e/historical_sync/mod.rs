//! The agency historical sync, over HTTP, on the real database and broker, with signed tokens: every row and every error
//! of its contract.

mod agency;
mod answers;
mod callers;
mod cancelling;
mod confusion;
mod flow;
mod issuer;
mod key_sets;
mod native;
mod signer;
mod starting;
mod status;
