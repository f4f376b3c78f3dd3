//! What Backhaul is measured against: the same work done by a bare loop ([`ideal`](ideal()), no queue at all) and by a bare
//! consumer of RabbitMQ ([`reference`](reference())). Both store the same payloads with the same hash by one statement per page, as well as one
//! can; what they leave out is everything that makes a sync survive: leases, fences, retries, limits, cancels in flight.

mod database;
mod ideal;
mod page;
mod reference;

pub use database::{TABLES, job_of, reset, set_up};
pub use ideal::ideal;
pub use reference::reference;

use super::corpus::Kind;
use url::Url;

/// What a bare program is told.
#[derive(Clone, Debug)]
pub struct Task {
    /// A database with the [`TABLES`].
    pub database: Url,
    /// The broker.
    pub amqp: String,
    /// Where the pages are, without a slash at the end.
    pub upstream: String,
    /// Which pages.
    pub kind: Kind,
    /// How many jobs there are.
    pub jobs: u32,
    /// Sessions with the database; of the ideal loop also its tasks.
    pub sessions: usize,
    /// The reference's.
    pub prefetch: u16,
}

/// What a bare program logs when it begins, ready with all its connections.
pub const BEGINS: &str = "begins";
/// What it logs at its end, followed by the seconds that it took.
pub const ENDED: &str = "ended seconds=";
