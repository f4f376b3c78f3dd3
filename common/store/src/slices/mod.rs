//! Slices and their leases. A [`Lease`] is made only by a claim, and every write of its page carries its token: the
//! fence. Renewal and expiry are liveness; the token is safety.

mod by_id;
mod circling;
mod claim;
mod closing;
mod refill;
mod release;
mod settle;
mod skip;
mod trouble;

pub use by_id::ToConfirm;
pub use claim::{Claim, ClaimRequest, PageContext, Planned, Suspicion};
pub use closing::{ClosingPage, ClosingSettled, Refusal};
pub use release::{Reread, SliceNow};
pub use settle::{PageRecord, Reach, Settled, SettledTogether, Settlement, Tally, Together, Verdict};
pub use skip::{Skip, SkipRight, Skipped};
pub use trouble::{Attempt, Trouble};

use protocol::ids::{ConnectionId, JobId, LeaseToken, WorkerId};
use protocol::slice::Ring;
use std::time::Duration;

/// After a pause that an upstream asked for, the number of a connection's slices that may be rung doubles this often: what
/// [`Slices::refill`](crate::Slices::refill) is given outside of tests.
pub const RAMP_STEP: Duration = Duration::from_secs(2);

/// The right to settle one page of one slice. Not cloneable: whoever holds it answers for the page.
#[derive(Debug, PartialEq, Eq)]
pub struct Lease {
    job: JobId,
    slice: i32,
    page: i32,
    connection: ConnectionId,
    token: LeaseToken,
    worker: WorkerId,
}

impl Lease {
    /// The job.
    #[must_use]
    pub const fn job(&self) -> JobId {
        self.job
    }

    /// The slice within the job.
    #[must_use]
    pub const fn slice(&self) -> i32 {
        self.slice
    }

    /// The page to settle next.
    #[must_use]
    pub const fn page(&self) -> i32 {
        self.page
    }

    /// The slice and the fence: what a release and a renewal name.
    #[must_use]
    pub const fn held(&self) -> (JobId, i32, LeaseToken) {
        (self.job, self.slice, self.token)
    }

    /// The fence.
    #[must_use]
    pub const fn token(&self) -> LeaseToken {
        self.token
    }

    /// A doorbell for this slice with a given ring.
    const fn ring(&self, page: i32, ring: i32) -> Ring {
        Ring { job: self.job, slice: self.slice, page, ring }
    }
}

/// One column of what a statement for several of them is given.
fn each<'a, T, R>(items: &'a [T], part: impl Fn(&'a T) -> R) -> Vec<R> {
    items.iter().map(part).collect()
}
