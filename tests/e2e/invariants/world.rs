//! A sound database, to be corrupted.

use anyhow::{Context, Result, bail};
use chrono::{TimeDelta, TimeZone, Utc};
use protocol::ids::{JobId, LeaseToken, TenantId, WorkerId};
use protocol::job::JobError;
use protocol::job::{JobMode, JobStatus};
use protocol::slice::{SliceKind, Slicing};
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use store::Store;
use store::connections::{AccountChange, NewConnection, no_credentials};
use store::jobs::{
    CancelRequest, CancelTarget, FailRight, Finished, JobFilter, ResumeOutcome, StartOutcome, StartRequest,
};
use store::slices::{
    Claim, ClaimRequest, ClosingPage, ClosingSettled, Lease, PageRecord, Settled, Settlement, Suspicion,
    Verdict,
};
use testkit::database::Database;
use testkit::plan::plan;

const LEASE: Duration = Duration::from_secs(60);

/// A database with one sound job in each state that matters, each of its own connection, whose name says the state.
pub(crate) struct World {
    database: Database,
    store: Store,
    tenant: TenantId,
}

impl World {
    pub(crate) async fn sound() -> Result<Self> {
        let database = Database::create().await?;
        let store = Database::store_at(&database.url())?;
        let tenant = store.tenants().create("acme", 16).await?.id;
        let world = Self { database, store, tenant };

        let (_, leases) = world.running("completed").await?;
        for (number, lease) in leases.into_iter().enumerate() {
            let lease = world.settle(lease, &format!("{number}-a"), Some("next")).await?.context("kept")?;
            world.settle(lease, &format!("{number}-b"), None).await?;
        }
        let (cancelled, leases) = world.running("cancelled").await?;
        for (number, lease) in leases.into_iter().enumerate() {
            let lease = world.settle(lease, &format!("{number}-c"), Some("next")).await?.context("kept")?;
            world.store.slices().release(&lease).await?;
        }
        world.cancel(cancelled).await?;
        let (cancelling, leases) = world.running("cancelling").await?;
        world.cancel(cancelling).await?;
        drop(leases);
        let (failed, _) = world.running("failed").await?;
        let error = JobError::of_job("broken".to_owned());
        assert!(world.store.jobs().fail(failed, &error, FailRight::Job).await?);
        world.running("running").await?;
        world.pending("pending").await?;
        world.resumed().await?;
        world.full().await?;
        world.over_documents().await?;

        let jobs = world.store.jobs().list(&JobFilter { limit: 20, ..JobFilter::default() }).await?;
        let states: Vec<_> = jobs.iter().map(|job| job.status).collect();
        for status in JobStatus::ALL {
            assert!(states.contains(&status), "there is no {status:?} job");
        }
        Ok(world)
    }

    /// A completed job over two documents, called `documents`.
    async fn over_documents(&self) -> Result<()> {
        let job = self.accepted("documents", vec!["d-a".to_owned(), "d-b".to_owned()]).await?;
        let plannable = self.store.jobs().plannable(job).await?.context("pending")?;
        assert!(self.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
        let [lease]: [Lease; 1] = self.claim_all().await?.try_into().ok().context("one slice")?;
        let lease = self.settle(lease, "d-a", Some("1")).await?.context("kept")?;
        assert!(self.settle(lease, "d-b", None).await?.is_none());
        Ok(())
    }

    async fn pending(&self, name: &str) -> Result<JobId> {
        self.accepted(name, Vec::new()).await
    }

    async fn accepted(&self, name: &str, documents: Vec<String>) -> Result<JobId> {
        let new = NewConnection {
            tenant: self.tenant,
            name: name.to_owned(),
            source: "ultravox".to_owned(),
            base_url: "http://127.0.0.1:1/".to_owned(),
            settings: json!({}),
        };
        let connection =
            self.store.connections().put(&new, AccountChange::Unchanged, None, no_credentials).await?;
        let from = Utc.with_ymd_and_hms(2025, 1, 1, 0, 0, 0).single().filter(|_| documents.is_empty());
        let request = StartRequest {
            job: JobId::random(),
            connection,
            tenant: None,
            date_from: from,
            date_to: from.map(|from| from + TimeDelta::days(2)),
            mode: JobMode::Range,
            on_conflict: protocol::command::OnConflict::Reject,
            name: None,
            requested_by: None,
            command: None,
            schema: None,
            documents,
        };
        assert_eq!(self.store.jobs().start(&request).await?, StartOutcome::Accepted(request.job));
        Ok(request.job)
    }

    /// A job of two slices, both leased.
    async fn running(&self, name: &str) -> Result<(JobId, Vec<Lease>)> {
        let job = self.pending(name).await?;
        let plannable = self.store.jobs().plannable(job).await?.context("pending")?;
        assert!(self.store.jobs().plan(&plannable, &plan(&plannable, Some(Slicing::days(1, 10)))?).await?);
        let leases = self.claim_all().await?;
        assert_eq!(leases.len(), 2);
        Ok((job, leases))
    }

    async fn claim_all(&self) -> Result<Vec<Lease>> {
        let mut leases = Vec::new();
        for ring in self.store.slices().refill(self.tenant, LEASE).await? {
            let request = ClaimRequest {
                ring,
                redelivered: false,
                worker: WorkerId::random(),
                token: LeaseToken::random(),
                lease: LEASE,
                suspicion: Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 },
            };
            let Claim::Claimed(claimed) = self.store.slices().claim(&request).await? else {
                bail!("not claimed")
            };
            leases.push(claimed.0);
        }
        Ok(leases)
    }

    /// Three jobs of a connection of their own, each of which resumes the one before: `broken`, in which one slice was
    /// done and the other at its second page; `half`, which came a page further; and `rest`, which is pending.
    async fn resumed(&self) -> Result<()> {
        let (broken, leases) = self.running("broken").await?;
        let [one, other]: [Lease; 2] = leases.try_into().ok().context("two slices")?;
        let one = self.settle(one, "s-a", Some("next")).await?.context("kept")?;
        assert!(self.settle(other, "s-b", None).await?.is_none());
        self.store.slices().release(&one).await?;
        self.cancel(broken).await?;
        let half = self.resume(broken, "half").await?;
        let plannable = self.store.jobs().plannable(half).await?.context("pending")?;
        assert!(self.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
        let [lease]: [Lease; 1] = self.claim_all().await?.try_into().ok().context("one open slice")?;
        let lease = self.settle(lease, "s-c", Some("third")).await?.context("kept")?;
        self.store.slices().release(&lease).await?;
        self.cancel(half).await?;
        self.resume(half, "rest").await?;
        Ok(())
    }

    /// A full sync that has not seen one of two records, and has deleted it.
    async fn full(&self) -> Result<()> {
        let (before, leases) = self.running("full").await?;
        for (lease, key) in leases.into_iter().zip(["f-a", "f-b"]) {
            assert!(self.settle(lease, key, None).await?.is_none());
        }
        let name = |job: JobId, name: &str| format!("update jobs set name = '{name}' where id = '{job}'");
        self.database.execute(&name(before, "before")).await?;
        self.database
            .execute("update records set happened_at = '2025-01-01 12:00Z', scope = 1 where external_id in ('f-a', 'f-b')")
            .await?;
        let job = self.pending("full").await?;
        self.database.execute(&format!("update jobs set mode = 'full' where id = '{job}'")).await?;
        self.database.execute(&name(job, "full")).await?;
        let plannable = self.store.jobs().plannable(job).await?.context("pending")?;
        assert!(self.store.jobs().plan(&plannable, &plan(&plannable, Some(Slicing::days(1, 10)))?).await?);
        for lease in self.claim_all().await? {
            assert!(self.settle(lease, "f-a", None).await?.is_none());
        }
        // What it met lies around both.
        let around = "oldest_met_at = '2025-01-01Z', newest_met_at = '2025-01-03Z'";
        self.database.execute(&format!("update slices set {around} where job_id = '{job}'")).await?;
        assert_eq!(self.close(job).await?, Finished::Goes(SliceKind::Deletion, self.tenant));
        assert_eq!(self.close(job).await?, Finished::Completed);
        Ok(())
    }

    /// Walks the slice that follows a job's walks to its end.
    async fn close(&self, job: JobId) -> Result<Finished> {
        let [mut lease]: [Lease; 1] = self.claim_all().await?.try_into().ok().context("one slice")?;
        let page = ClosingPage {
            rows: 100,
            any_number: false,
            at_once: true,
            confirm_after: LEASE,
            go_on: true,
            renewal: LEASE,
        };
        loop {
            match self.store.slices().settle_closing(lease, &page).await.map_err(|(_, error)| error)? {
                ClosingSettled::Settled(Settled::Kept(kept, _, _)) => lease = kept,
                ClosingSettled::Settled(Settled::SliceDone(..)) => break,
                other @ (ClosingSettled::Settled(_)
                | ClosingSettled::Refused { .. }
                | ClosingSettled::Astray(_)) => bail!("neither kept nor done: {other:?}"),
            }
        }
        Ok(self.store.jobs().finish(job).await?)
    }

    async fn resume(&self, ended: JobId, name: &str) -> Result<JobId> {
        let outcome = self.store.jobs().resume(ended, Some(self.tenant), None, |_| None).await?;
        let ResumeOutcome::Accepted { job, .. } = outcome else { bail!("not resumed: {outcome:?}") };
        self.database.execute(&format!("update jobs set name = '{name}' where id = '{job}'")).await?;
        Ok(job)
    }

    async fn settle(&self, lease: Lease, key: &str, next: Option<&str>) -> Result<Option<Lease>> {
        let verdict = Verdict::Store { hash: [7; 32], payload: "{}".into() };
        let page = Settlement {
            records: vec![PageRecord { key: key.to_owned(), time: None, version: None, verdict }],
            next: next.map(ToOwned::to_owned),
            go_on: true,
            whole: true,
            ..Settlement::default()
        };
        let settled = self.store.slices().settle(lease, &page, LEASE).await.map_err(|(_, error)| error)?;
        if let Settled::SliceDone(_, job) = settled {
            self.store.jobs().finish(job).await?;
            return Ok(None);
        }
        let Settled::Kept(lease, _, _) = settled else { bail!("not kept: {settled:?}") };
        Ok(Some(lease))
    }

    async fn cancel(&self, job: JobId) -> Result<()> {
        let request = CancelRequest {
            target: CancelTarget::Job(job),
            tenant: None,
            reason: None,
            requested_by: None,
            command: None,
            keep_if_unknown: false,
        };
        self.store.jobs().cancel(&request).await?;
        Ok(())
    }

    /// Runs statements in which `$completed` and so on stand for the job of that name, or of that connection.
    pub(crate) async fn run(&self, sql: &str) -> Result<()> {
        let names = [
            "completed",
            "cancelled",
            "cancelling",
            "failed",
            "running",
            "pending",
            "broken",
            "half",
            "rest",
            "full",
            "documents",
        ];
        let sql = names.iter().fold(sql.to_owned(), |sql, name| {
            let job = format!(
                "(select j.id from jobs j join connections c on c.id = j.connection_id
                   where coalesce(j.name, c.name) = '{name}')"
            );
            sql.replace(&format!("${name}"), &job)
        });
        self.database.execute(&sql).await.with_context(|| sql)
    }

    /// The numbers of the invariants that are broken, and all that is said of them.
    pub(crate) async fn broken(&self) -> Result<(BTreeSet<u8>, String)> {
        let rows = self.store.broken_invariants().await?;
        let number = |row: &String| {
            let digits = row.strip_prefix("invariant ").and_then(|rest| rest.split(':').next());
            digits.and_then(|digits| digits.parse().ok()).with_context(|| format!("no number: {row}"))
        };
        Ok((rows.iter().map(number).collect::<Result<_>>()?, rows.join("\n")))
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.store.close().await;
        self.database.remove().await
    }
}
