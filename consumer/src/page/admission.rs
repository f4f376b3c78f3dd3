//! The time of a page's request, when its connection has a limit of requests per second.

use super::PageHandler;
use super::stint::Stint;
use crate::in_flight::Abort;
use std::time::Duration;
use store::StoreError;
use store::limits::Admission;
use store::slices::{Attempt, Lease};

/// The longest that a page sits in its slot for its time. Long enough to bridge the time until a sweeper rings others
/// that wait, short enough not to fill the slots with pages that only wait.
const LONGEST: Duration = Duration::from_secs(1);
/// Why a page waits whose time is further off.
const USED_UP: &str = "the connection's limit of requests per second is used up for now";

/// What became of the wish to ask the upstream.
pub(super) enum Admitted {
    /// Its time has come.
    Now,
    /// It is too far off: the slice waits in Postgres.
    Later,
    /// Aborted while it waited.
    Aborted(Abort),
}

impl PageHandler {
    pub(super) async fn admission(&self, lease: &Lease, stint: &mut Stint) -> Result<Admitted, StoreError> {
        match self.store.connections().admit_request(stint.context.connection, LONGEST).await? {
            Admission::After(wait) => Ok(tokio::select! {
                biased;
                abort = stint.held.aborted() => Admitted::Aborted(abort),
                () = tokio::time::sleep(wait) => Admitted::Now,
            }),
            Admission::NotBefore(wait) => {
                self.store.slices().back_off(lease, wait, Attempt::None, USED_UP).await?;
                Ok(Admitted::Later)
            }
        }
    }
}
