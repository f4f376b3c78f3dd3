//! The transition function and the store's guards state the same rule: every state of a job meets every event.

use anyhow::{Context, Result, bail};
use protocol::ids::{JobId, TenantId};
use protocol::job::JobError;
use protocol::job::{JobEvent, JobStatus};
use serde_json::json;
use store::Store;
use store::connections::{AccountChange, NewConnection, no_credentials};
use store::jobs::{CancelRequest, CancelTarget, FailRight, PauseOutcome, ResumeOutcome};
use testkit::database::Database;
use testkit::plan::plan;
use uuid::Uuid;

struct World {
    database: Database,
    store: Store,
    tenant: TenantId,
}

impl World {
    /// A job in a state, with one slice that fits the state and the event to come.
    async fn job(&self, status: JobStatus, event: JobEvent) -> Result<JobId> {
        let (tenant, job) = (self.tenant, JobId::random());
        let new = NewConnection {
            tenant,
            name: job.to_string(),
            source: "ultravox".to_owned(),
            base_url: "http://127.0.0.1:1/".to_owned(),
            settings: json!({}),
        };
        let connection =
            self.store.connections().put(&new, AccountChange::Unchanged, None, no_credentials).await?;
        let word = serde_json::to_value(status)?.as_str().context("a word")?.to_owned();
        let (over, fenced) =
            (status.is_terminal(), matches!(status, JobStatus::Cancelling | JobStatus::Cancelled));
        let slice = match (status, event) {
            (JobStatus::Cancelling | JobStatus::Cancelled, _) => "cancelled",
            (JobStatus::Failed, _) => "failed",
            (JobStatus::Completed, _) | (_, JobEvent::AllDone { .. }) => "done",
            (JobStatus::Pending | JobStatus::Running, _) => "ready",
        };
        let leased = matches!(event, JobEvent::CancelRequested { leased: true }) && slice == "ready"
            || status == JobStatus::Cancelling && event == JobEvent::CancelOverdue;
        let full = status == JobStatus::Running && event == (JobEvent::AllDone { slice_due: true });
        let mode = if full { "full" } else { "range" };
        let (tenant, connection) = (tenant.0, connection.0);
        self.database
            .execute(&format!(
                "insert into jobs (id, tenant_id, connection_id, mode, date_to, status, started_at, finished_at,
                                   cancel_requested_at, pages_at_fence, error)
                 values ('{job}', '{tenant}', '{connection}', '{mode}', now(), '{word}', now(), {}, {}, {}, {})",
                if over { "now()" } else { "null" },
                if fenced { "now()" } else { "null" },
                if fenced { "0" } else { "null" },
                if status == JobStatus::Failed { "'{}'" } else { "null" },
            ))
            .await?;
        let token = Uuid::new_v4();
        // A pending job has no slices.
        if status != JobStatus::Pending || leased {
            self.database
                .execute(&format!(
                    "insert into slices (job_id, slice, tenant_id, connection_id, span_to, status, rung_at, rung_marker,
                                         whole, lease_token, leased_ring, worker, leased_until)
                     values ('{job}', 0, '{tenant}', '{connection}', now(), '{slice}', now(), 0, case when '{slice}' = 'done' then true end, {})",
                    if leased { format!("'{token}', 1, '{token}', now()") } else { "null, null, null, null".to_owned() }
                ))
                .await?;
        }
        Ok(job)
    }

    async fn apply(&self, job: JobId, event: JobEvent) -> Result<()> {
        match event {
            JobEvent::Planned => {
                if let Some(plannable) = self.store.jobs().plannable(job).await? {
                    self.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?;
                }
            }
            JobEvent::AllDone { .. } => drop(self.store.jobs().finish(job).await?),
            JobEvent::CancelRequested { .. } => {
                let request = CancelRequest {
                    target: CancelTarget::Job(job),
                    tenant: None,
                    reason: None,
                    requested_by: None,
                    command: None,
                    keep_if_unknown: false,
                };
                self.store.jobs().cancel(&request).await?;
            }
            JobEvent::LastLeaseEnded => drop(self.store.jobs().end_cancel(job).await?),
            JobEvent::CancelOverdue => drop(self.store.jobs().force_cancel(job).await?),
            JobEvent::Failed => {
                let error = JobError::of_job("broken".to_owned());
                self.store.jobs().fail(job, &error, FailRight::Job).await?;
            }
        }
        Ok(())
    }
}

#[tokio::test]
async fn the_store_obeys_the_transition_function() -> Result<()> {
    let database = Database::create().await?;
    let store = Database::store_at(&database.url())?;
    let tenant = store.tenants().create("acme", 16).await?.id;
    let world = World { database, store, tenant };
    let events = [
        JobEvent::Planned,
        JobEvent::AllDone { slice_due: false },
        JobEvent::AllDone { slice_due: true },
        JobEvent::CancelRequested { leased: false },
        JobEvent::CancelRequested { leased: true },
        JobEvent::LastLeaseEnded,
        JobEvent::CancelOverdue,
        JobEvent::Failed,
    ];
    for state in JobStatus::ALL {
        for event in events {
            // A pending job has no slice, so none of it can be leased.
            if state == JobStatus::Pending && event == (JobEvent::CancelRequested { leased: true }) {
                continue;
            }
            let job = world.job(state, event).await?;
            world.apply(job, event).await.with_context(|| format!("{state:?} {event:?}"))?;
            let seen = world.store.jobs().get(job, None).await?.context("the job")?.status;
            assert_eq!(seen, state.next(event).unwrap_or(state), "{state:?} {event:?}");
        }
    }
    let broken = world.store.broken_invariants().await?;
    assert!(broken.is_empty(), "{broken:?}");
    world.store.close().await;
    world.database.remove().await
}

/// Neither is a transition: a pause is a flag of an active job, and a resume makes another job.
#[tokio::test]
async fn only_an_active_job_is_paused_and_only_one_that_fell_short_is_resumed() -> Result<()> {
    let database = Database::create().await?;
    let store = Database::store_at(&database.url())?;
    let tenant = store.tenants().create("acme", 16).await?.id;
    let world = World { database, store, tenant };
    for state in JobStatus::ALL {
        let job = world.job(state, JobEvent::Failed).await?;
        let paused = world.store.jobs().pause(job, None, None).await?;
        let unpaused = world.store.jobs().unpause(job, None, None).await?;
        let expected = match state.is_active() {
            true => PauseOutcome::Done { tenant, newly: true },
            false => PauseOutcome::NotActive { status: state },
        };
        assert_eq!((paused, unpaused), (expected, expected), "{state:?}");

        let resumed = world.store.jobs().resume(job, None, None, |_| None).await?;
        match state {
            JobStatus::Failed | JobStatus::Cancelled => {
                let ResumeOutcome::Accepted { job: new, .. } = resumed else {
                    bail!("{state:?}: {resumed:?}")
                };
                let view = world.store.jobs().get(new, None).await?.context("the new job")?;
                assert_eq!((view.status, view.resumed_from), (JobStatus::Pending, Some(job)));
            }
            JobStatus::Pending | JobStatus::Running | JobStatus::Cancelling | JobStatus::Completed => {
                assert_eq!(resumed, ResumeOutcome::NotEnded { status: state });
            }
        }
        let seen = world.store.jobs().get(job, None).await?.context("the job")?;
        assert_eq!((seen.status, seen.paused), (state, false), "the job is what it was");
    }
    let broken = world.store.broken_invariants().await?;
    assert!(broken.is_empty(), "{broken:?}");
    world.store.close().await;
    world.database.remove().await
}
