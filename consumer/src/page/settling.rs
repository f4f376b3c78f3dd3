//! Settling, again and again while the database is away, and finding out what became of it when the answer does not say.

use super::clock::Reading;
use super::ending::Failure;
use super::settle::count;
use super::step::{End, Step};
use super::stint::Stint;
use super::{BETWEEN_TRIES, PageHandler};
use crate::disposition::Outcome;
use protocol::slice::Ring;
use protocol::walk::Walk;
use std::time::Duration;
use store::StoreError;
use store::slices::{Lease, Reread, Settled};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A page that is to be settled: the records of a fetched one, or a step of a check or a deletion.
pub(super) trait Page {
    /// Tries once.
    async fn settle(
        &mut self,
        handler: &PageHandler,
        lease: Lease,
        stint: &Stint,
    ) -> Result<Tried, StoreError>;

    /// Where the slice stands once it is settled.
    fn state(self) -> State;

    /// The database refuses the page: how the stint ends, or `None` if the page is another one now.
    async fn refused(
        &mut self,
        handler: &PageHandler,
        lease: &Lease,
        stint: &Stint,
        error: StoreError,
    ) -> Result<Option<End>, StoreError>;

    /// What cannot be done, in words, when an error was not foreseen.
    fn cannot(error: &StoreError) -> String;
}

/// How one try went.
pub(super) enum Tried {
    /// It is settled, or fenced.
    Settled(Settled),
    /// It is not to be settled: how the stint ends.
    Ended(End),
    /// It failed, and the lease is still ours as far as is known.
    Failed(Lease, StoreError),
}

/// How long settles of a page are tried again.
struct Patience<'a> {
    begun: Instant,
    longest: Duration,
    ending: &'a CancellationToken,
}

impl Patience<'_> {
    /// Whether it is worth another try after this error.
    fn lasts(&self, error: &StoreError) -> bool {
        error.is_transient() && !self.ending.is_cancelled() && self.begun.elapsed() < self.longest
    }
}

/// Where a slice stands after a settle.
#[derive(Default)]
pub(super) struct State {
    pub(super) cursor: Option<String>,
    pub(super) anchor: Option<String>,
    pub(super) walk: Walk,
}

/// What becomes of a page whose settle may have happened.
enum Doubt {
    /// It has not: settle it again.
    Again(Lease),
    /// It has, or is nobody's business any more.
    Over(Step),
}

impl PageHandler {
    /// Settles, again and again while the database is away: the page is fetched, and its lease outlives a restart of
    /// Postgres. After the lease's time somebody else may have the page, so the delivery asks anew.
    pub(super) async fn settle<P: Page>(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        mut page: P,
        ending: &CancellationToken,
    ) -> Result<Step, StoreError> {
        let patience = Patience { begun: Instant::now(), longest: self.leases.duration, ending };
        let mut said = false;
        loop {
            let number = lease.page();
            let asked = Instant::now();
            match page.settle(self, lease, stint).await? {
                Tried::Settled(Settled::Fenced(fenced)) => lease = fenced,
                Tried::Settled(settled) => return self.settled(settled, stint, page.state(), asked).await,
                Tried::Ended(end) => return Ok(Step::End(end)),
                Tried::Failed(kept, error @ StoreError::Refused(_)) => {
                    if let Some(end) = page.refused(self, &kept, stint, error).await? {
                        return Ok(Step::End(end));
                    }
                    lease = kept;
                    continue;
                }
                Tried::Failed(kept, error @ StoreError::Unforeseen(_)) => {
                    let cause = stint.redactor.redact(&P::cannot(&error)).into_owned();
                    return self.back_off(&kept, stint, Failure::of_page(cause)).await.map(Step::End);
                }
                Tried::Failed(_, error) if !patience.lasts(&error) => return Err(error),
                Tried::Failed(kept, error) => {
                    if !said {
                        tracing::info!(job = %kept.job(), slice = kept.slice(), page = number, %error, "a settle is tried again");
                        said = true;
                    }
                    lease = kept;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            }
            match self.in_doubt(lease, stint, &patience).await? {
                Doubt::Again(free) => lease = free,
                Doubt::Over(step) => return Ok(step),
            }
        }
    }

    /// After a settle that was fenced, or whose answer was lost: what the slice says about it.
    async fn in_doubt(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        patience: &Patience<'_>,
    ) -> Result<Doubt, StoreError> {
        let page = lease.page();
        match self.reread(&mut lease, stint).await {
            Ok(Some(end)) => return Ok(Doubt::Over(Step::End(end))),
            Err(error) if !patience.lasts(&error) => return Err(error),
            // The next settle finds out.
            Err(_passing) => tokio::time::sleep(BETWEEN_TRIES).await,
            // Our settle had happened, and only its answer was lost.
            Ok(None) if lease.page() != page => return Ok(Doubt::Over(Step::Next(lease))),
            Ok(None) => {}
        }
        Ok(Doubt::Again(lease))
    }

    /// What follows a settle that was asked for at this time.
    async fn settled(
        &self,
        settled: Settled,
        stint: &mut Stint,
        state: State,
        asked: Instant,
    ) -> Result<Step, StoreError> {
        // The page did not kill us after all.
        self.leave_suspect_place(&mut stint.suspect).await?;
        Ok(match settled {
            Settled::Kept(lease, tally, at) => {
                count(&tally);
                if let Some(at) = at {
                    stint.clock = Reading::new(at, asked);
                }
                stint.context.cursor = state.cursor;
                stint.context.anchor = state.anchor;
                stint.context.walk = state.walk;
                stint.context.forbidden_rests = 0;
                Step::Next(lease)
            }
            Settled::Ring(ring, tally) => {
                count(&tally);
                Step::End(self.ring(ring).await)
            }
            Settled::Queued(tally) => {
                count(&tally);
                Step::End(End::Over(Outcome::Paused))
            }
            Settled::SliceDone(tally, job) => {
                count(&tally);
                self.finish(job, Some(stint.context.tenant)).await;
                Step::End(End::Over(Outcome::SliceDone))
            }
            Settled::Fenced(lease) => Step::Next(lease),
        })
    }

    /// Where the slice stands, after an abort or a settle that says nothing. `None`: go on, the lease is ours.
    pub(super) async fn reread(
        &self,
        lease: &mut Lease,
        stint: &mut Stint,
    ) -> Result<Option<End>, StoreError> {
        let asked = Instant::now();
        let Some(now) = self.store.slices().reread(lease).await? else {
            return Ok(Some(End::Over(Outcome::GivenUp)));
        };
        Ok(Some(match now.found {
            Reread::Ours => {
                stint.context.cursor = now.cursor;
                stint.context.anchor = now.anchor;
                stint.context.walk = now.walk;
                stint.clock = Reading::new(now.read_at, asked);
                stint.held.go_on();
                return Ok(None);
            }
            Reread::RingNext(ring) => self.ring(ring).await,
            Reread::ClaimAgain => End::ClaimAgain,
            Reread::SliceDone => {
                self.finish(lease.job(), Some(stint.context.tenant)).await;
                End::Over(Outcome::SliceDone)
            }
            Reread::ClosedUnderUs | Reread::Lost => self.abandon(lease).await?,
        }))
    }

    pub(super) async fn ring(&self, ring: Ring) -> End {
        match self.outbox.ring(ring).await {
            Ok(()) => End::Over(Outcome::Settled),
            Err(error) => {
                tracing::warn!(job = %ring.job, slice = ring.slice, %error, "the next page's doorbell is not confirmed");
                End::Over(Outcome::Unrung)
            }
        }
    }
}
