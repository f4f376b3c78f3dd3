//! What every cancel must come to, in whatever state it met the job.

use crate::fixture::Fixture;
use anyhow::{Context, Result, ensure};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use store::jobs::JobView;

impl Fixture {
    /// Waits for the end of a cancelled job, and demands what every cancel promises: the reason is stored and told,
    /// nothing is open or leased, and no page was settled after the fence.
    pub async fn until_cancelled(&self, job: JobId, reason: &str) -> Result<JobView> {
        let view = self.until_over(job, JobStatus::Cancelled).await?;
        ensure!(view.cancel_reason.as_deref() == Some(reason), "the reason is {:?}", view.cancel_reason);
        ensure!(
            view.cancel_requested_at.is_some() && view.finished_at >= view.cancel_requested_at,
            "{view:#?}"
        );
        ensure!(!view.paused, "a cancelled job is not paused");
        let slices = &view.slices;
        let left = slices.queued + slices.ready + slices.leased + slices.waiting;
        ensure!(left == 0, "a cancelled job has open slices or leases: {slices:?}");
        // The fence is about the job's own pages, which follow what it carries.
        let fence: i64 = sqlx::query_scalar(
            "select (pages_at_fence + coalesce((select sum(pages) from carried where job_id = $1), 0))::bigint
               from jobs where id = $1",
        )
        .bind(job.0)
        .fetch_one(&self.database.pool)
        .await?;
        ensure!(view.pages_settled == fence, "{} pages, fenced at {fence}", view.pages_settled);

        let events = self.store.events().of_job(job).await?;
        let last = events.last().context("nothing was told of the job")?;
        ensure!(last.kind == "cancelled", "the last word on the job is {last:?}");
        ensure!(last.data["reason"] == reason, "it is told without its reason: {last:?}");
        Ok(view)
    }
}
