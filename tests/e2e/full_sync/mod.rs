//! Full syncs: what the upstream no longer has is deleted, counted and marked, once everything was walked and not before;
//! whatever else happens, nothing is deleted that is there.

mod broken;
mod fence;
mod guards;
mod lost;
mod world;
