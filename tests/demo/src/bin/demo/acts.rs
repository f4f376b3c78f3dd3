//! What happens in the demo, each act with its measurements.

use crate::tenants::Tenant;
use anyhow::{Context, Result};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use stage::{Board, Comparison, Fleet, Stage, compare, milliseconds, thousands};
use std::fmt;
use std::time::Duration;
use store::jobs::JobView;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Pages that the consumer must hold when it is killed.
const HELD_AT_LEAST: usize = 3;

/// Where the acts are played.
pub(crate) struct Acts<'a> {
    pub(crate) stage: &'a Stage,
    pub(crate) board: &'a Board,
    pub(crate) api: String,
    pub(crate) client: reqwest::Client,
}

/// What became of all acts.
pub(crate) struct Outcome {
    pub(crate) pulled: [JobView; 2],
    pub(crate) again: CancelledOnce,
    pub(crate) cancels: CancelledOften,
    pub(crate) crash: Crash,
}

/// A job that was cancelled in the middle, and the one after it.
pub(crate) struct CancelledOnce {
    pub(crate) cancelled: JobView,
    pub(crate) latency: Duration,
    pub(crate) after: AfterCancel,
    pub(crate) completed: JobView,
}

/// Jobs that were cancelled one after the other, and the last one, which was not.
pub(crate) struct CancelledOften {
    pub(crate) cancelled: Vec<JobView>,
    pub(crate) by_message: Vec<Duration>,
    pub(crate) over_http: Vec<Duration>,
    pub(crate) after: AfterCancel,
    pub(crate) completed: JobView,
}

/// What was stored when a cancel had ended.
pub(crate) struct AfterCancel {
    found: Comparison,
    counted: i64,
}

/// A consumer that was killed.
pub(crate) struct Crash {
    pub(crate) held: usize,
    /// Until another consumer had the first of its pages.
    pub(crate) first: Duration,
    /// Until it had none left.
    pub(crate) last: Duration,
}

impl AfterCancel {
    /// What is stored is right as far as it goes, and the counters said how far that is.
    pub(crate) fn is_right(&self) -> bool {
        self.found.is_part() && i64::try_from(self.found.equal) == Ok(self.counted)
    }
}

impl fmt::Display for AfterCancel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, and {} were counted", self.found, thousands(self.counted))
    }
}

impl Acts<'_> {
    /// Publishes a tenant's first start.
    pub(crate) async fn start(&self, tenant: &Tenant) -> Result<JobId> {
        self.start_as(tenant, &tenant.account.name).await
    }

    /// Waits for the good end of a job.
    pub(crate) async fn until_completed(&self, job: JobId) -> Result<JobView> {
        self.stage.until(job, |view| view.status == JobStatus::Completed).await
    }

    /// A job is cancelled over HTTP in the middle, and another one is started right after it.
    pub(crate) async fn cancel_and_start_again(&self, tenant: &Tenant, job: JobId) -> Result<CancelledOnce> {
        let name = &tenant.account.name;
        let half = half_of(tenant)?;
        self.stage.until(job, |view| view.counters.processed() >= half && view.slices.leased > 1).await?;
        let latency = self.cancel_over_http(tenant, job).await?;
        let cancelled = self.view(job).await?;
        self.board
            .say(format!("{name}: cancelled over HTTP in the middle, within {}", milliseconds(latency)));
        let after = self.after_cancel(tenant, std::slice::from_ref(&cancelled)).await?;
        let again = self.start_as(tenant, &format!("{name} again")).await?;
        Ok(CancelledOnce { cancelled, latency, after, completed: self.until_completed(again).await? })
    }

    /// Jobs that are cancelled as soon as they are at work, by a message or over HTTP in turn, until the others are done.
    pub(crate) async fn cancel_over_and_over(
        &self,
        tenant: &Tenant,
        others_are_done: &CancellationToken,
    ) -> Result<CancelledOften> {
        let name = &tenant.account.name;
        let (mut cancelled, mut by_message, mut over_http) = (Vec::new(), Vec::new(), Vec::new());
        while !others_are_done.is_cancelled() {
            let job = self.start_as(tenant, name).await?;
            self.stage.until(job, |view| view.pages_settled > 0 && view.slices.leased > 1).await?;
            if by_message.len() > over_http.len() {
                over_http.push(self.cancel_over_http(tenant, job).await?);
            } else {
                by_message.push(self.stage.cancel(job).await?);
            }
            cancelled.push(self.view(job).await?);
        }
        let after = self.after_cancel(tenant, &cancelled).await?;
        let again = self.start_as(tenant, &format!("{name} again")).await?;
        let completed = self.until_completed(again).await?;
        Ok(CancelledOften { cancelled, by_message, over_http, after, completed })
    }

    /// A consumer is killed when these jobs are half done, and another one is started.
    pub(crate) async fn kill_a_consumer(
        &self,
        fleet: &mut Fleet,
        jobs: [(&Tenant, JobId); 2],
    ) -> Result<Crash> {
        for (tenant, job) in jobs {
            let half = half_of(tenant)?;
            self.stage.until(job, |view| view.counters.processed() >= half).await?;
        }
        let killed = fleet.kill_oldest(self.stage, HELD_AT_LEAST).await?;
        let held = killed.held.len();
        self.board.say(format!(
            "{}: killed (SIGKILL) with {} pages in hand",
            killed.name,
            thousands(held.try_into()?)
        ));
        let (first, last) = killed.taken_over(self.stage).await?;
        self.board.say(format!(
            "its pages are taken over after {} to {}",
            milliseconds(first),
            milliseconds(last)
        ));
        let started = fleet.add_consumer(self.stage).await?;
        self.board.say(format!("{started}: up in its place"));
        Ok(Crash { held, first, last })
    }

    async fn start_as(&self, tenant: &Tenant, name: &str) -> Result<JobId> {
        let job = self.stage.start(&tenant.account, tenant.span, name).await?;
        self.board.show(name, job, tenant.expected.len().try_into()?);
        Ok(job)
    }

    async fn view(&self, job: JobId) -> Result<JobView> {
        self.stage.store.jobs().get(job, None).await?.context("a job does not vanish")
    }

    /// The time from the call until the job is cancelled.
    async fn cancel_over_http(&self, tenant: &Tenant, job: JobId) -> Result<Duration> {
        let call = self
            .client
            .post(format!("{}/jobs/{job}/cancel", self.api))
            .bearer_auth(&tenant.account.key)
            .json(&json!({ "reason": "seen enough" }));
        let asked = Instant::now();
        let (answer, latency) = tokio::join!(call.send(), self.stage.time_until_cancelled(job, asked));
        answer?.error_for_status()?;
        latency
    }

    async fn after_cancel(&self, tenant: &Tenant, cancelled: &[JobView]) -> Result<AfterCancel> {
        let found = compare(&self.stage.store, tenant.account.connection, &tenant.expected).await?;
        Ok(AfterCancel { found, counted: cancelled.iter().map(|job| job.counters.imported()).sum() })
    }
}

fn half_of(tenant: &Tenant) -> Result<i64> {
    Ok(i64::try_from(tenant.expected.len())? / 2)
}
