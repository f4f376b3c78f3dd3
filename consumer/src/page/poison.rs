//! Pages that can never be settled: they fail their job, or are skipped if their connection wants that.

use super::PageHandler;
use super::cursors::next_anchor;
use super::step::End;
use crate::disposition::Outcome;
use crate::open_sources::Opened;
use metrics::counter;
use protocol::job::JobError;
use protocol::poison::PoisonPolicy;
use protocol::slice::Ring;
use store::StoreError;
use store::jobs::FailRight;
use store::slices::{Lease, PageContext, Skip, SkipRight, Skipped};

/// A page that can never be settled, for a reason of its own. One of its connection's, such as a refused key, is none.
pub(super) struct Poison<'a> {
    /// By what right it may be skipped.
    pub(super) right: SkipRight<'a>,
    /// Why, in words; free of secrets.
    pub(super) cause: String,
    /// How the upstream's answer began; free of secrets.
    pub(super) body: Option<String>,
    /// What follows the page, if that is known.
    pub(super) next: Option<String>,
}

impl PageHandler {
    /// A page in hand is skipped, or fails its job.
    pub(super) async fn give_up(
        &self,
        lease: &Lease,
        context: &PageContext,
        poison: Poison<'_>,
    ) -> Result<End, StoreError> {
        let place = Ring { job: lease.job(), slice: lease.slice(), page: lease.page(), ring: 0 };
        if let Some(next) = self.skipped(place, context, &poison).await? {
            return Ok(next);
        }
        self.fail_page(lease, context, poison.cause, poison.body).await
    }

    /// The page was in the hands of process after process that died. Nobody holds it now.
    pub(super) async fn poisoned(
        &self,
        ring: Ring,
        deaths: i32,
        context: &PageContext,
    ) -> Result<End, StoreError> {
        let at_least = i32::try_from(self.pages.deaths).unwrap_or(i32::MAX);
        let cause =
            format!("{deaths} workers died or panicked while they held this page; it is not tried again");
        // A source that cannot be opened is the connection's fault.
        if let Ok(Opened { source, .. }) = self.sources.of(context) {
            let right = SkipRight::Deaths { ring, at_least, worker: self.worker };
            let next = source.after(context.cursor.as_deref(), &context.walk);
            let poison = Poison { right, cause: cause.clone(), body: None, next };
            if let Some(next) = self.skipped(ring, context, &poison).await? {
                return Ok(next);
            }
        }
        let error = JobError { slice: Some(ring.slice), page: Some(ring.page), ..JobError::of_job(cause) };
        let right = FailRight::Deaths { slice: ring.slice, at_least };
        self.fail_job(ring.job, &error, right).await?;
        Ok(End::Over(Outcome::JobFailed))
    }

    /// Skips a page. `None` if it is not to be, or not any more.
    async fn skipped(
        &self,
        place: Ring,
        context: &PageContext,
        poison: &Poison<'_>,
    ) -> Result<Option<End>, StoreError> {
        // Asked again by the statement: an operator may have chosen otherwise meanwhile.
        if context.on_poison_page != PoisonPolicy::Skip {
            return Ok(None);
        }
        let anchor = next_anchor(place.page, context, poison.next.as_ref());
        let skip = Skip {
            right: poison.right,
            cause: &poison.cause,
            body: poison.body.as_deref(),
            next: poison.next.as_deref(),
            anchor: anchor.as_deref(),
            walk: context.walk.clone().skipping(place.page),
        };
        let skipped = self.store.slices().skip(&skip).await?;
        if skipped == Skipped::Refused {
            return Ok(None);
        }
        counter!("pages_skipped_total").increment(1);
        tracing::warn!(job = %place.job, slice = place.slice, page = place.page, cause = poison.cause, "a page is skipped");
        Ok(match skipped {
            Skipped::Ring(ring) => Some(self.ring(ring).await),
            Skipped::Queued => Some(End::Over(Outcome::Paused)),
            Skipped::SliceDone => {
                self.finish(place.job, Some(context.tenant)).await;
                Some(End::Over(Outcome::SliceDone))
            }
            Skipped::Refused => None,
        })
    }
}
