//! What one tenant, key, upstream or reader can do to the others: nothing that they notice.

mod answers;
mod endless;
mod keys;
mod panics;
mod plans;
mod readers;
mod seal;
mod shares;
mod streams;
