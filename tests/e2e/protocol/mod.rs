//! The rules of claim, settle, release and expiry, one by one, on the real database and without a broker: each
//! interleaving is written down as the order of the calls.

mod claims;
mod raced;
mod together;

use anyhow::{Context, Result, bail};
use chrono::{TimeZone, Utc};
use protocol::ids::{JobId, LeaseToken, TenantId, WorkerId};
use protocol::job::JobError;
use protocol::job::{JobMode, JobStatus};
use protocol::slice::{Ring, Slicing};
use serde_json::{Value, json};
use std::time::Duration;
use store::Store;
use store::connections::{AccountChange, NewConnection, no_credentials};
use store::jobs::{
    CancelOutcome, CancelRequest, CancelTarget, FailRight, Finished, StartOutcome, StartRequest,
};
use store::slices::{
    Attempt, Claim, ClaimRequest, Lease, PageContext, PageRecord, Reach, Reread, Settled, Settlement,
    Suspicion, Verdict,
};
use store::sweep::Expired;
use store::workers::Boot;
use testkit::database::Database;
use testkit::plan::plan;

const LEASE: Duration = Duration::from_secs(20);
const RAMP: Duration = Duration::from_secs(2);

struct World {
    database: Database,
    store: Store,
    tenant: TenantId,
    job: JobId,
}

impl World {
    /// A running job of `days` slices.
    async fn with_slices(days: u32) -> Result<Self> {
        let database = Database::create().await?;
        let store = Database::store_at(&database.url())?;
        let tenant = store.tenants().create("acme", 16).await?.id;
        let job = planned(&store, tenant, "calls", days).await?;
        Ok(Self { database, store, tenant, job })
    }

    async fn rings(&self) -> Result<Vec<Ring>> {
        Ok(self.store.slices().refill(self.tenant, RAMP).await?)
    }

    async fn claim(&self, ring: Ring, redelivered: bool, worker: WorkerId) -> Result<Claim> {
        self.claim_as(ring, redelivered, worker, LeaseToken::random(), Some(true)).await
    }

    async fn claim_as(
        &self,
        ring: Ring,
        redelivered: bool,
        worker: WorkerId,
        token: LeaseToken,
        has_place: Option<bool>,
    ) -> Result<Claim> {
        let mut request = ClaimRequest { redelivered, token, ..request(ring, worker) };
        request.suspicion.has_place = has_place;
        Ok(self.store.slices().claim(&request).await?)
    }

    async fn settle(&self, lease: Lease, page: &Settlement) -> Result<Settled> {
        self.store.slices().settle(lease, page, LEASE).await.map_err(|(_, error)| error.into())
    }

    async fn cancel(&self) -> Result<CancelOutcome> {
        let request = CancelRequest {
            target: CancelTarget::Job(self.job),
            tenant: None,
            reason: Some("enough".to_owned()),
            requested_by: None,
            command: None,
            keep_if_unknown: false,
        };
        Ok(self.store.jobs().cancel(&request).await?)
    }

    async fn status(&self) -> Result<JobStatus> {
        Ok(self.store.jobs().get(self.job, None).await?.context("the job")?.status)
    }

    async fn charges(&self) -> Result<i32> {
        let sql = "select sum(cardinality(charges))::int from slices";
        Ok(sqlx::query_scalar(sql).fetch_one(&self.database.pool).await?)
    }

    async fn end(self) -> Result<()> {
        let broken = self.store.broken_invariants().await?;
        assert!(broken.is_empty(), "{broken:?}");
        self.store.close().await;
        self.database.remove().await
    }
}

/// A connection's running job of `days` slices.
async fn planned(store: &Store, tenant: TenantId, name: &str, days: u32) -> Result<JobId> {
    let connection = store
        .connections()
        .put(
            &NewConnection {
                tenant,
                name: name.to_owned(),
                source: "ultravox".to_owned(),
                base_url: "http://127.0.0.1:1/".to_owned(),
                settings: json!({}),
            },
            AccountChange::Unchanged,
            None,
            no_credentials,
        )
        .await?;
    let from = Utc.with_ymd_and_hms(2026, 1, 1, 0, 0, 0).single().context("a date")?;
    let request = StartRequest {
        job: JobId::random(),
        connection,
        tenant: None,
        date_from: Some(from),
        date_to: Some(from + chrono::TimeDelta::days(i64::from(days))),
        mode: JobMode::Range,
        on_conflict: protocol::command::OnConflict::Reject,
        name: None,
        requested_by: None,
        command: None,
        schema: None,
        documents: Vec::new(),
    };
    assert_eq!(store.jobs().start(&request).await?, StartOutcome::Accepted(request.job));
    let plannable = store.jobs().plannable(request.job).await?.context("pending")?;
    assert!(store.jobs().plan(&plannable, &plan(&plannable, Some(Slicing::days(1, 100)))?).await?);
    assert!(!store.jobs().plan(&plannable, &plan(&plannable, None)?).await?, "planned once");
    Ok(request.job)
}

fn page(ids: &[&str], next: Option<&str>, go_on: bool) -> Settlement {
    let record = |id: &&str| PageRecord {
        key: (*id).to_owned(),
        time: None,
        version: None,
        verdict: Verdict::Store { hash: [1; 32], payload: json!({ "id": id }).to_string().into() },
    };
    Settlement {
        records: ids.iter().map(record).collect(),
        next: next.map(ToOwned::to_owned),
        go_on,
        whole: true,
        ..Settlement::default()
    }
}

/// A delivery's wish, the first time that it is delivered.
fn request(ring: Ring, worker: WorkerId) -> ClaimRequest {
    let suspicion = Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 };
    ClaimRequest { ring, redelivered: false, worker, token: LeaseToken::random(), lease: LEASE, suspicion }
}

fn claimed(claim: Claim) -> Result<(Lease, PageContext)> {
    if let Claim::Claimed(claimed) = claim { Ok(*claimed) } else { bail!("not claimed: {claim:?}") }
}

#[tokio::test]
async fn one_delivery_wins_and_only_the_lost_holders_message_takes_over() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let (first, second) = (WorkerId::random(), WorkerId::random());
    let (lost, _) = claimed(world.claim(ring, false, first).await?)?;

    // A duplicate, an older page, and a redelivery of another ring find the page leased.
    assert!(matches!(world.claim(ring, false, second).await?, Claim::Stale));
    assert!(matches!(world.claim(Ring { page: 7, ..ring }, false, second).await?, Claim::Stale));
    assert!(matches!(world.claim(Ring { ring: ring.ring + 1, ..ring }, true, second).await?, Claim::Stale));

    // The very message that the lease answers has come back: its holder lost it.
    let (heir, context) = claimed(world.claim(ring, true, second).await?)?;
    assert!(context.taken_over);
    assert_eq!(world.charges().await?, 1, "a death is charged");
    let Settled::Fenced(mut lost) = world.settle(lost, &page(&["a"], Some("2"), true)).await? else {
        bail!("the lost holder settled")
    };
    assert_eq!(world.store.slices().reread(&mut lost).await?.context("a slice")?.found, Reread::Lost);
    world.store.slices().give_back_charge(&lost).await?;
    assert_eq!(world.charges().await?, 0, "it was not dead after all");

    let Settled::SliceDone(tally, _) = world.settle(heir, &page(&["a", "b"], None, true)).await? else {
        bail!("not done")
    };
    assert_eq!(tally.inserted, 2);
    assert!(matches!(world.claim(ring, true, first).await?, Claim::SliceDone));
    assert_eq!(world.store.jobs().finish(world.job).await?, Finished::Completed);
    assert_eq!(world.store.jobs().finish(world.job).await?, Finished::Not);
    world.end().await
}

#[tokio::test]
async fn a_repeated_claim_finds_its_own_lease() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let (worker, token) = (WorkerId::random(), LeaseToken::random());
    claimed(world.claim_as(ring, false, worker, token, Some(true)).await?)?;
    let (lease, context) = claimed(world.claim_as(ring, false, worker, token, Some(true)).await?)?;
    assert!(!context.taken_over);
    assert_eq!((lease.token(), world.charges().await?), (token, 0));
    world.end().await
}

#[tokio::test]
async fn a_redelivery_claims_whatever_page_the_slice_is_at() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let (lease, _) = claimed(world.claim(ring, false, WorkerId::random()).await?)?;
    let Settled::Ring(next, _) = world.settle(lease, &page(&["a"], Some("2"), false)).await? else {
        bail!("not released")
    };
    assert_eq!((next.page, next.ring), (1, ring.ring + 1));
    // The doorbell of page 1 was lost with its publisher; the message of page 0 comes back unacked.
    assert!(matches!(world.claim(ring, false, WorkerId::random()).await?, Claim::Stale));
    let (lease, context) = claimed(world.claim(ring, true, WorkerId::random()).await?)?;
    assert_eq!((lease.page(), context.cursor.as_deref()), (1, Some("2")));
    // The late doorbell of page 1 is then a duplicate.
    assert!(matches!(world.claim(next, false, WorkerId::random()).await?, Claim::Stale));
    world.end().await
}

#[tokio::test]
async fn a_lost_answer_of_a_settle_is_found_out() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let (worker, token) = (WorkerId::random(), LeaseToken::random());
    let (lease, _) = claimed(world.claim_as(ring, false, worker, token, Some(true)).await?)?;
    let (mut twin, _) = claimed(world.claim_as(ring, false, worker, token, Some(true)).await?)?;
    // Kept: the twin, which never saw the answer, finds itself at the next page.
    let Settled::Kept(lease, _, _) = world.settle(lease, &page(&["a"], Some("2"), true)).await? else {
        bail!("not kept")
    };
    let Settled::Fenced(fenced) = world.settle(twin, &page(&["a"], Some("2"), true)).await? else {
        bail!("settled twice")
    };
    twin = fenced;
    let now = world.store.slices().reread(&mut twin).await?.context("a slice")?;
    assert_eq!((now.found, twin.page(), now.cursor.as_deref()), (Reread::Ours, 1, Some("2")));
    // Released: the twin finds a doorbell to ring.
    let Settled::Ring(next, _) = world.settle(lease, &page(&["b"], Some("3"), false)).await? else {
        bail!("not released")
    };
    assert_eq!(
        world.store.slices().reread(&mut twin).await?.context("a slice")?.found,
        Reread::RingNext(next)
    );
    world.end().await
}

#[tokio::test]
async fn from_the_cancel_on_nothing_is_settled() -> Result<()> {
    let world = World::with_slices(3).await?;
    let rings = world.rings().await?;
    let (held, _) = claimed(world.claim(rings[0], false, WorkerId::random()).await?)?;
    let (other, _) = claimed(world.claim(rings[1], false, WorkerId::random()).await?)?;
    let Settled::Kept(other, _, _) = world.settle(other, &page(&["a"], Some("2"), true)).await? else {
        bail!("not kept")
    };
    assert!(matches!(world.cancel().await?, CancelOutcome::Cancelling { newly: true, .. }));
    assert!(matches!(world.cancel().await?, CancelOutcome::Cancelling { newly: false, .. }));
    let Settled::Fenced(mut held) = world.settle(held, &page(&["x"], None, false)).await? else {
        bail!("settled after the cancel")
    };
    assert_eq!(
        world.store.slices().reread(&mut held).await?.context("a slice")?.found,
        Reread::ClosedUnderUs
    );
    assert!(world.store.slices().release(&held).await?);
    assert_eq!(world.store.jobs().end_cancel(world.job).await?, None, "a lease is left");
    // The other holder is gone; its message comes back.
    assert!(matches!(world.claim(rings[1], true, WorkerId::random()).await?, Claim::LeaseEnded));
    assert!(!world.store.slices().release(&other).await?);
    assert!(world.store.jobs().end_cancel(world.job).await?.is_some());
    assert_eq!(world.status().await?, JobStatus::Cancelled);
    assert!(matches!(world.cancel().await?, CancelOutcome::Over { status: JobStatus::Cancelled, .. }));
    world.end().await
}

#[tokio::test]
async fn a_cancel_needs_no_workers_help() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    claimed(world.claim(ring, false, WorkerId::random()).await?)?;
    world.cancel().await?;
    assert!(world.store.sweeps().cancels_due(Duration::from_secs(180), 10).await?.is_empty(), "not yet");
    let due = world.store.sweeps().cancels_due(Duration::ZERO, 10).await?;
    assert!(due[0].overdue);
    assert!(world.store.jobs().force_cancel(due[0].job).await?.is_some());
    assert_eq!(world.status().await?, JobStatus::Cancelled);
    world.end().await
}

#[tokio::test]
async fn a_pause_lets_nothing_be_claimed_and_costs_no_attempt() -> Result<()> {
    let world = World::with_slices(2).await?;
    let rings = world.rings().await?;
    let (lease, context) = claimed(world.claim(rings[0], false, WorkerId::random()).await?)?;
    let asked = Some(Duration::from_secs(60));
    assert!(
        world
            .store
            .slices()
            .rate_limited(&lease, context.connection, asked, Duration::from_secs(1), false)
            .await?
    );
    assert!(matches!(world.claim(rings[1], false, WorkerId::random()).await?, Claim::Paused));
    assert!(world.rings().await?.is_empty(), "a paused connection is not rung");
    let sql = "select bool_and(status = 'queued' and attempts = 0) from slices";
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&world.database.pool).await?);
    // The pause has just ended: the ramp begins with one slice.
    world.database.execute("update connections set paused_until = now()").await?;
    assert_eq!(world.rings().await?.len(), 1);
    world.end().await
}

#[tokio::test]
async fn only_so_many_slices_of_a_tenant_are_rung() -> Result<()> {
    let world = World::with_slices(40).await?;
    assert_eq!(world.rings().await?.len(), 16);
    assert!(world.rings().await?.is_empty());
    let sql = "select array_agg(slice order by slice) from slices where status = 'ready'";
    let ready: Vec<i32> = sqlx::query_scalar(sql).fetch_one(&world.database.pool).await?;
    assert_eq!(ready, (0..16).collect::<Vec<_>>());
    world.end().await
}

#[tokio::test]
async fn a_page_that_kills_its_workers_is_isolated_and_then_given_up() -> Result<()> {
    let world = World::with_slices(2).await?;
    let rings = world.rings().await?;
    let boot = Boot { host: "test".to_owned(), pid: 1, namespace: "test".to_owned(), keys: Vec::new() };
    let mut deaths = 0;
    let verdict = loop {
        let worker = WorkerId::random();
        world.store.workers().started(worker, &boot).await?;
        let claim = world.claim(rings[0], deaths > 0, worker).await?;
        let Claim::Claimed(_) = claim else { break claim };
        deaths += 1;
        if deaths == 3 {
            // While a suspect is held, the death of its worker is not charged to what else that worker held.
            claimed(world.claim(rings[1], false, worker).await?)?;
            let heir = WorkerId::random();
            claimed(world.claim(rings[1], true, heir).await?)?;
            let sql = "select cardinality(charges) from slices where slice = 1";
            assert_eq!(sqlx::query_scalar::<_, i32>(sql).fetch_one(&world.database.pool).await?, 0);
            // A worker that holds a suspect takes no second one.
            let row = "select to_jsonb(s) from slices s where slice = 0";
            let before: Value = sqlx::query_scalar(row).fetch_one(&world.database.pool).await?;
            let unasked = world.claim_as(rings[0], true, heir, LeaseToken::random(), None).await?;
            assert!(matches!(unasked, Claim::Suspect), "{unasked:?}");
            assert_eq!(sqlx::query_scalar::<_, Value>(row).fetch_one(&world.database.pool).await?, before);
            let second = world.claim_as(rings[0], true, heir, LeaseToken::random(), Some(false)).await?;
            assert!(matches!(second, Claim::SuspectElsewhere), "{second:?}");
            world
                .database
                .execute("update slices set status = 'ready', not_before = null where slice = 0")
                .await?;
        }
    };
    assert!(matches!(verdict, Claim::Poisoned { deaths: 5, page: 0, .. }), "{verdict:?} after {deaths}");
    let error = JobError { slice: Some(0), page: Some(0), ..JobError::of_job("5 workers died".to_owned()) };
    assert!(world.store.jobs().fail(world.job, &error, FailRight::Deaths { slice: 0, at_least: 5 }).await?);
    assert_eq!(world.status().await?, JobStatus::Failed);
    world.end().await
}

#[tokio::test]
async fn an_expired_lease_frees_its_page_and_the_sleeper_is_fenced() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let sleeper = WorkerId::random();
    let (lease, _) = claimed(world.claim(ring, false, sleeper).await?)?;
    assert!(world.store.sweeps().expire_leases(10).await?.is_empty());
    world.database.execute("update slices set leased_until = now() - interval '1 s'").await?;
    let expired = world.store.sweeps().expire_leases(10).await?;
    let [Expired::Ring(again)] = expired[..] else { bail!("{expired:?}") };
    assert_eq!(again.ring, ring.ring + 1);
    let held = [(lease.job(), lease.slice(), lease.token())];
    assert_eq!(
        world.store.slices().renew(sleeper, &held, LEASE).await?,
        [lease.token()],
        "its renewal tells it"
    );
    assert!(!world.store.slices().back_off(&lease, LEASE, Attempt::Failed { faults: 0 }, "late").await?);
    let error = JobError { slice: Some(0), page: Some(0), ..JobError::of_job("late".to_owned()) };
    assert!(
        !world.store.jobs().fail(world.job, &error, FailRight::Lease(&lease)).await?,
        "nor may it fail the job"
    );
    claimed(world.claim(again, false, WorkerId::random()).await?)?;
    world.end().await
}

#[tokio::test]
async fn a_lost_doorbell_is_rung_again_after_two_markers() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    for number in 1..=2 {
        assert!(world.store.sweeps().rering_lost(10).await?.is_empty(), "after {} markers", number - 1);
        assert_eq!(world.store.sweeps().admit_marker(Duration::ZERO).await?, Some(number));
        assert_eq!(world.store.sweeps().admit_marker(LEASE).await?, None, "not yet due");
        assert_eq!(
            world.store.sweeps().admit_marker(Duration::ZERO).await?,
            Some(number),
            "out, and sent again"
        );
        world.store.sweeps().marker_returned(number).await?;
    }
    let rung = world.store.sweeps().rering_lost(10).await?;
    assert_eq!(rung, [Ring { ring: ring.ring + 1, ..ring }]);
    // A page in the hands of a worker is not rung, however many markers pass.
    claimed(world.claim(rung[0], false, WorkerId::random()).await?)?;
    assert_eq!(world.store.sweeps().admit_marker(Duration::ZERO).await?, None, "nothing is rung");
    assert!(world.store.sweeps().rering_lost(10).await?.is_empty());
    world.end().await
}
