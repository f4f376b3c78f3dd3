//! The ways in which a page ends without a settle, and what follows the end of a slice.

use super::PageHandler;
use super::poison::Poison;
use super::step::End;
use super::stint::Stint;
use crate::disposition::Outcome;
use crate::warnings;
use chrono::SecondsFormat;
use metrics::counter;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobError;
use runtime::telemetry::{CancelEnd, cancel_ended};
use runtime::warn_unless_outage;
use std::time::Duration;
use store::StoreError;
use store::jobs::{FailRight, Finished};
use store::slices::{Attempt, Lease, PageContext, RAMP_STEP, SkipRight};

/// A pause that the upstream asked for without saying how long; each that follows is twice as long, up to an hour.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// How long a page waits for which the process had no room.
const GIVEN_WAY_FOR: Duration = Duration::from_secs(1);

/// A 403 may be about a limit, or about the credentials after all: so many rests are given, each as long as asked for.
const MOST_FORBIDDEN_RESTS: i32 = 3;

/// Whose fault it is that an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The page's own: it was read, and cannot be stored.
    Page,
    /// The upstream's, unless other pages are settled meanwhile.
    Upstream,
}

/// A failure that may pass.
pub(super) struct Failure {
    /// Whose fault it is.
    pub(super) fault: Fault,
    /// What happened, in words; free of secrets.
    pub(super) cause: String,
    /// How the upstream's answer began; free of secrets.
    pub(super) body: Option<String>,
}

impl Failure {
    /// A page that was read and cannot be stored.
    pub(super) const fn of_page(cause: String) -> Self {
        Self { fault: Fault::Page, cause, body: None }
    }
}

/// A rest that the upstream asked for.
pub(super) struct Rest {
    /// For how long, if it said so.
    pub(super) retry_after: Option<Duration>,
    /// Whether it answered 403.
    pub(super) forbidden: bool,
}

impl PageHandler {
    /// The page failed for now: it waits, and the attempt is counted. A page that is at fault fails its job when its
    /// attempts are used up; while the upstream fails for all, it waits far longer.
    pub(super) async fn back_off(
        &self,
        lease: &Lease,
        stint: &Stint,
        failure: Failure,
    ) -> Result<End, StoreError> {
        let Some(trouble) = self.store.slices().trouble(lease).await? else {
            return self.abandon(lease).await;
        };
        let (context, Failure { fault, cause, body }) = (&stint.context, failure);
        let attempt = trouble.attempts;
        let faults = trouble.faults_with(fault == Fault::Page);
        let given_up = if faults >= self.pages.max_attempts {
            Some(format!("{cause} (attempt {faults} of {})", self.pages.max_attempts))
        } else if attempt >= self.pages.max_attempts && trouble.lasted >= self.pages.give_up_after {
            let since = trouble.since.to_rfc3339_opts(SecondsFormat::Secs, true);
            Some(format!("{cause} (attempt {attempt}, failing since {since})"))
        } else {
            None
        };
        if let Some(cause) = given_up {
            let cause =
                format!("{cause}; once that has been seen to, resume the job: it goes on at this page");
            let next = stint.source.after(context.cursor.as_deref(), &context.walk);
            let poison = Poison { right: SkipRight::Exhausted(lease), cause, body, next };
            return self.give_up(lease, context, poison).await;
        }
        let delay = self.pages.retry.delay_for(attempt);
        let delay_ms = u64::try_from(delay.as_millis()).unwrap_or(u64::MAX);
        tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), attempt, delay_ms, cause, "a page waits");
        if !self.store.slices().back_off(lease, delay, Attempt::Failed { faults }, &cause).await? {
            return self.abandon(lease).await;
        }
        self.refill(context.tenant).await;
        Ok(End::Over(Outcome::BackedOff))
    }

    /// The process had no room for the page. It waits, and no attempt is counted.
    pub(super) async fn give_way(
        &self,
        lease: &Lease,
        context: &PageContext,
        cause: &str,
    ) -> Result<End, StoreError> {
        tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), cause, "a page gives way");
        if !self.store.slices().back_off(lease, GIVEN_WAY_FOR, Attempt::None, cause).await? {
            return self.abandon(lease).await;
        }
        self.refill(context.tenant).await;
        Ok(End::Over(Outcome::BackedOff))
    }

    /// The upstream wants to be left alone: the whole connection rests, in the whole fleet.
    pub(super) async fn rate_limited(
        &self,
        lease: &Lease,
        context: &PageContext,
        asked: Rest,
    ) -> Result<End, StoreError> {
        let Rest { retry_after, forbidden } = asked;
        if forbidden && context.forbidden_rests >= MOST_FORBIDDEN_RESTS {
            let cause = format!(
                "the upstream answered 403 again after {MOST_FORBIDDEN_RESTS} rests that it had asked for: see whether its \
                 limit is used up by others, or whether the credentials may read this"
            );
            return self.fail_page(lease, context, cause, None).await;
        }
        if !self
            .store
            .slices()
            .rate_limited(lease, context.connection, retry_after, FIRST_PAUSE, forbidden)
            .await?
        {
            return self.abandon(lease).await;
        }
        let asked_ms = retry_after.map(|asked| u64::try_from(asked.as_millis()).unwrap_or(u64::MAX));
        tracing::info!(connection = %context.connection, asked_ms, "the upstream asked for a pause");
        self.refill(context.tenant).await;
        Ok(End::Over(Outcome::RateLimited))
    }

    /// The page failed for good, and its job with it.
    pub(super) async fn fail_page(
        &self,
        lease: &Lease,
        context: &PageContext,
        cause: String,
        body: Option<String>,
    ) -> Result<End, StoreError> {
        let error =
            JobError { cause, slice: Some(lease.slice()), page: Some(lease.page()), body, anew: false };
        self.fail_with(lease, context, &error).await
    }

    /// As [`Self::fail_page`], with an error of one's own.
    pub(super) async fn fail_with(
        &self,
        lease: &Lease,
        context: &PageContext,
        error: &JobError,
    ) -> Result<End, StoreError> {
        if !self.fail_job(lease.job(), error, FailRight::Lease(lease)).await? {
            return self.abandon(lease).await;
        }
        self.refill(context.tenant).await;
        Ok(End::Over(Outcome::JobFailed))
    }

    pub(super) async fn fail_job(
        &self,
        job: JobId,
        error: &JobError,
        right: FailRight<'_>,
    ) -> Result<bool, StoreError> {
        let failed = self.store.jobs().fail(job, error, right).await?;
        if failed {
            tracing::warn!(%job, slice = error.slice, page = error.page, cause = error.cause, "a job failed");
            self.outbox.abort(job).await;
            warnings::count(&self.store, job).await;
        }
        Ok(failed)
    }

    /// The fence did not hold: the slice was closed under us, or is somebody else's by now.
    pub(super) async fn abandon(&self, lease: &Lease) -> Result<End, StoreError> {
        if !self.releaser.release(lease).await? {
            // If we were taken for dead, we were not.
            self.store.slices().give_back_charge(lease).await?;
            counter!("pages_fenced_total").increment(1);
        }
        Ok(End::Over(Outcome::GivenUp))
    }

    /// After a slice's last page: the job may be done, and the tenant's next slice may have its turn. Both are repeated
    /// by the sweeper, so a failure here delays them and no more.
    pub(super) async fn finish(&self, job: JobId, tenant: Option<TenantId>) {
        let mut tenant = tenant;
        match self.store.jobs().finish(job).await {
            Ok(Finished::Completed) => {
                tracing::info!(%job, "a job is completed");
                warnings::count(&self.store, job).await;
            }
            Ok(Finished::Failed) => {
                tracing::warn!(%job, "a job failed: not one of its records could be stored");
                warnings::count(&self.store, job).await;
            }
            Ok(Finished::Goes(kind, of)) => {
                tracing::info!(%job, ?kind, "a job has walked everything, and goes on with what follows");
                tenant = Some(of);
            }
            Ok(Finished::Not) => {}
            Err(error) => {
                warn_unless_outage!(error, %job, "the sweeper will see whether the job is finished");
            }
        }
        if let Some(tenant) = tenant {
            self.refill(tenant).await;
        }
    }

    /// After the release of a cancelled page: the cancel may have come to its end.
    pub(super) async fn end_cancel(&self, job: JobId) {
        match self.store.jobs().end_cancel(job).await {
            Ok(Some(took)) => {
                cancel_ended(CancelEnd::Released, took);
                tracing::info!(%job, "a job is cancelled");
            }
            Ok(None) => {}
            Err(error) => warn_unless_outage!(error, %job, "the sweeper will end the cancel"),
        }
    }

    pub(super) async fn refill(&self, tenant: TenantId) {
        match self.store.slices().refill(tenant, RAMP_STEP).await {
            Ok(rings) => self.outbox.ring_all(rings).await,
            Err(error) => {
                warn_unless_outage!(error, %tenant, "the sweeper will ring the tenant's next slices");
            }
        }
    }
}
