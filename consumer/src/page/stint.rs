//! A stint: pages of one slice, one after the other, by one worker.

use super::PageHandler;
use super::admission::Admitted;
use super::clock::Reading;
use super::fetching::Asked;
use super::step::{End, Step};
use crate::disposition::Outcome;
use crate::in_flight::{Held, SuspectPlace};
use crate::open_sources::Opened;
use metrics::counter;
use protocol::slice::SliceKind;
use sealing::Redactor;
use sources::{Fetcher, Source};
use std::sync::Arc;
use store::StoreError;
use store::slices::{Lease, PageContext};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// A stint in a slot that nobody waits for lasts so many quanta at most: then its doorbell may go to another process, so
/// that new processes get work.
const QUANTA_UNDISTURBED: u32 = 8;

/// Where a stint stands: what is needed for its next page.
pub(super) struct Stint {
    pub(super) context: PageContext,
    pub(super) held: Held,
    /// Kept until the first page is settled, if that is a suspect.
    pub(super) suspect: Option<SuspectPlace>,
    pub(super) source: Arc<dyn Source>,
    /// Takes turns with those of other tenants.
    pub(super) http: Fetcher,
    pub(super) redactor: Arc<Redactor>,
    pub(super) started: Instant,
    pub(super) clock: Reading,
}

impl PageHandler {
    /// Works on the pages of a claimed slice, until the stint ends.
    pub(super) async fn work(
        &self,
        lease: Lease,
        context: PageContext,
        mut suspect: Option<SuspectPlace>,
        asked: Instant,
        ending: &CancellationToken,
    ) -> Result<End, StoreError> {
        if context.taken_over {
            counter!("lease_takeovers_total").increment(1);
            tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), "took a page over from a lost holder");
        }
        let held = self.in_flight.enter(&lease);
        let Opened { source, redactor } = match self.sources.of(&context) {
            Ok(opened) => opened,
            Err(error) => {
                let failed = self.fail_page(&lease, &context, error.to_string(), None).await?;
                self.leave_suspect_place(&mut suspect).await?;
                return Ok(failed);
            }
        };
        let clock = Reading::new(context.read_at, asked);
        let http = self.fetcher.of_tenant(context.tenant);
        let mut stint =
            Stint { context, held, suspect, source, http, redactor, started: Instant::now(), clock };
        let mut lease = lease;
        loop {
            match self.page(lease, &mut stint, ending).await? {
                Step::Next(next) => lease = next,
                Step::End(end) => {
                    self.leave_suspect_place(&mut stint.suspect).await?;
                    return Ok(end);
                }
            }
        }
    }

    /// A suspect is settled, or no longer in hand: what this worker holds besides is to blame again if it dies.
    pub(super) async fn leave_suspect_place(
        &self,
        suspect: &mut Option<SuspectPlace>,
    ) -> Result<(), StoreError> {
        if suspect.is_some() {
            self.store.workers().suspect_cleared(self.worker).await?;
            *suspect = None;
        }
        Ok(())
    }

    /// One page of a stint: fetched if its kind has something to fetch, then settled.
    async fn page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Step, StoreError> {
        if matches!(stint.context.kind, SliceKind::Check | SliceKind::Deletion) {
            return self.closing_page(lease, stint, ending).await;
        }
        if stint.context.limited {
            match self.admission(&lease, stint).await? {
                Admitted::Now => {}
                Admitted::Later => return Ok(Step::End(End::Over(Outcome::BackedOff))),
                Admitted::Aborted(abort) => return self.aborted(lease, stint, abort).await,
            }
        }
        let asked = match stint.context.kind {
            SliceKind::Stragglers | SliceKind::Confirm => self.asking_page(lease, stint).await?,
            SliceKind::Walk | SliceKind::Documents | SliceKind::Check | SliceKind::Deletion => {
                self.fetch_page(lease, stint).await?
            }
        };
        match asked {
            Asked::Fetched(fetched) => self.settle_page(*fetched, stint, ending).await,
            Asked::Ended(step) => Ok(step),
        }
    }

    /// Whether a stint goes on after its page: while its quantum lasts, and for some more if no other slice is kept waiting.
    pub(super) fn goes_on(&self, stint: &Stint, ending: &CancellationToken) -> bool {
        let quanta = if self.slots.are_waited_for() { 1 } else { QUANTA_UNDISTURBED };
        !ending.is_cancelled() && stint.started.elapsed() < self.pages.quantum * quanta
    }
}
