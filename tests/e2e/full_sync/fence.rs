//! The statements of a deletion, one by one and without a broker: the order of the calls is the interleaving.

use super::world::{ROWS, World};
use anyhow::{Result, bail};
use protocol::ids::{JobId, LeaseToken, WorkerId};
use protocol::job::JobError;
use protocol::job::{JobMode, JobStatus};
use protocol::slice::SliceKind;
use std::time::Duration;
use store::Store;
use store::jobs::{
    CancelOutcome, CancelRequest, CancelTarget, FailRight, Finished, StartOutcome, StartRequest,
};
use store::slices::{
    Claim, ClaimRequest, ClosingPage, ClosingSettled, Lease, PageContext, PageRecord, Reach, Refusal,
    Settled, Settlement, Suspicion, Verdict,
};
use testkit::plan::plan;

const LEASE: Duration = Duration::from_secs(300);
/// No record is spared for its number.
const ANY: ClosingPage = ClosingPage {
    rows: ROWS,
    any_number: true,
    at_once: true,
    confirm_after: Duration::ZERO,
    go_on: true,
    renewal: LEASE,
};
const GUARDED: ClosingPage = ClosingPage { any_number: false, ..ANY };

async fn claim(world: &World, redelivered: bool) -> Result<(Lease, PageContext)> {
    let store = &world.fixture.store;
    let ring = match store.slices().refill(world.account.tenant, Duration::from_secs(2)).await?.pop() {
        Some(ring) => ring,
        None => rung(world).await?,
    };
    let request = ClaimRequest {
        ring,
        redelivered,
        worker: WorkerId::random(),
        token: LeaseToken::random(),
        lease: LEASE,
        suspicion: Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 },
    };
    let Claim::Claimed(claimed) = store.slices().claim(&request).await? else { bail!("not claimed") };
    Ok(*claimed)
}

/// The doorbell of the one slice that is ready.
async fn rung(world: &World) -> Result<protocol::slice::Ring> {
    let (job, slice, page, ring) =
        sqlx::query_as("select job_id, slice, page, ring from slices where status = 'ready'")
            .fetch_one(&world.fixture.database.pool)
            .await?;
    Ok(protocol::slice::Ring { job: JobId(job), slice, page, ring })
}

/// Of 30 records that are stored a full sync has met the first and the last: its check, claimed.
async fn check() -> Result<(World, JobId, Lease)> {
    let (world, consumer) = World::synced(30).await?;
    consumer.stop().await?;
    let store = &world.fixture.store;
    let request = StartRequest {
        job: JobId::random(),
        connection: world.account.connection,
        tenant: None,
        date_from: None,
        date_to: None,
        mode: JobMode::Full,
        on_conflict: protocol::command::OnConflict::Reject,
        name: None,
        requested_by: None,
        command: None,
        schema: None,
        documents: Vec::new(),
    };
    let job = request.job;
    assert_eq!(store.jobs().start(&request).await?, StartOutcome::Accepted(job));
    let Some(plannable) = store.jobs().plannable(job).await? else { bail!("not pending") };
    assert!(store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    let (lease, context) = claim(&world, false).await?;
    assert_eq!(context.kind, SliceKind::Walk);
    assert_eq!(
        store.jobs().finish(job).await?,
        Finished::Not,
        "nothing is deleted before everything is walked"
    );
    let ends = [0, 29].map(|ordinal| world.fixture.upstream.created("acme", ordinal));
    let met = |ordinal: u64, time| PageRecord {
        key: world.fixture.upstream.id("acme", ordinal),
        time,
        version: None,
        verdict: Verdict::Store { hash: [7; 32], payload: "{}".into() },
    };
    let page = Settlement {
        records: vec![met(0, ends[0]), met(29, ends[1])],
        as_of: store.clock().await?,
        scope: context.scope,
        reach: Reach { newest: ends[1], oldest_met: ends[0], newest_met: ends[1] },
        go_on: true,
        whole: true,
        ..Settlement::default()
    };
    // A page of the walk is no page of a deletion.
    let settled = store.slices().settle_closing(lease, &ANY).await.map_err(|(_, error)| error)?;
    let ClosingSettled::Settled(Settled::Fenced(lease)) = settled else { bail!("not fenced: {settled:?}") };
    let settled = store.slices().settle(lease, &page, LEASE).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, Settled::SliceDone(..)), "{settled:?}");
    assert_eq!(store.jobs().finish(job).await?, Finished::Goes(SliceKind::Check, world.account.tenant));
    assert_eq!(store.jobs().finish(job).await?, Finished::Not, "the check is made once");
    let (lease, context) = claim(&world, false).await?;
    assert_eq!(context.kind, SliceKind::Check);
    Ok((world, job, lease))
}

/// The same, checked: its deletion slice, claimed.
async fn deletion() -> Result<(World, JobId, Lease)> {
    let (world, job, mut lease) = check().await?;
    let store = &world.fixture.store;
    loop {
        match store.slices().settle_closing(lease, &ANY).await.map_err(|(_, error)| error)? {
            ClosingSettled::Settled(Settled::Kept(kept, tally, _)) => {
                assert_eq!(tally.deleted, 0);
                lease = kept;
            }
            ClosingSettled::Settled(Settled::SliceDone(..)) => break,
            other @ (ClosingSettled::Settled(_)
            | ClosingSettled::Refused { .. }
            | ClosingSettled::Astray(_)) => {
                bail!("neither kept nor done: {other:?}")
            }
        }
    }
    assert_eq!(store.jobs().finish(job).await?, Finished::Goes(SliceKind::Deletion, world.account.tenant));
    let (lease, context) = claim(&world, false).await?;
    assert_eq!(context.kind, SliceKind::Deletion);
    Ok((world, job, lease))
}

/// Goes on until a page has deleted something.
async fn until_deleted(store: &Store, mut lease: Lease) -> Result<Lease> {
    loop {
        let settled = store.slices().settle_closing(lease, &ANY).await.map_err(|(_, error)| error)?;
        let ClosingSettled::Settled(Settled::Kept(kept, tally, _)) = settled else {
            bail!("not kept: {settled:?}")
        };
        lease = kept;
        if tally.deleted > 0 {
            return Ok(lease);
        }
    }
}

fn cancel(job: JobId) -> CancelRequest {
    CancelRequest {
        target: CancelTarget::Job(job),
        tenant: None,
        reason: None,
        requested_by: None,
        command: None,
        keep_if_unknown: false,
    }
}

#[tokio::test]
async fn after_a_cancel_no_page_deletes() -> Result<()> {
    let (world, job, lease) = deletion().await?;
    let store = &world.fixture.store;
    let lease = until_deleted(store, lease).await?;
    assert_eq!(store.jobs().cancel(&cancel(job)).await?, CancelOutcome::Cancelling { job, newly: true });
    let settled = store.slices().settle_closing(lease, &ANY).await.map_err(|(_, error)| error)?;
    let ClosingSettled::Settled(Settled::Fenced(lease)) = settled else { bail!("not fenced: {settled:?}") };
    assert_eq!(world.deleted().await?.len(), 10);
    assert!(store.slices().release(&lease).await?);
    assert!(store.jobs().end_cancel(job).await?.is_some());
    let view = world.fixture.until_over(job, JobStatus::Cancelled).await?;
    assert_eq!(view.counters.deleted, 10);
    world.fixture.finish([]).await
}

#[tokio::test]
async fn after_a_failure_and_a_takeover_no_page_deletes() -> Result<()> {
    let (world, job, lease) = deletion().await?;
    let store = &world.fixture.store;
    let lost = until_deleted(store, lease).await?;
    // The message comes back: another worker has the page by now.
    let (taken, _) = claim(&world, true).await?;
    let settled = store.slices().settle_closing(lost, &ANY).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, ClosingSettled::Settled(Settled::Fenced(_))), "{settled:?}");
    let error = JobError::of_job("broken".to_owned());
    assert!(store.jobs().fail(job, &error, FailRight::Lease(&taken)).await?);
    let settled = store.slices().settle_closing(taken, &ANY).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, ClosingSettled::Settled(Settled::Fenced(_))), "{settled:?}");
    assert_eq!(world.deleted().await?.len(), 10);
    world.fixture.finish([]).await
}

/// Whoever has the page after a refusal finds the same: it is not got over by dying.
#[tokio::test]
async fn a_refusal_is_found_again() -> Result<()> {
    let (world, job, mut lease) = check().await?;
    let store = &world.fixture.store;
    for again in 0..3 {
        let refused = loop {
            match store.slices().settle_closing(lease, &GUARDED).await.map_err(|(_, error)| error)? {
                ClosingSettled::Settled(Settled::Kept(kept, tally, _)) => {
                    assert_eq!((tally.deleted, again), (0, 0));
                    lease = kept;
                }
                ClosingSettled::Refused { lease, refusal } => {
                    assert_eq!(refusal, Refusal::TooMany { unseen: 28, records: 30 });
                    break lease;
                }
                other @ (ClosingSettled::Settled(_) | ClosingSettled::Astray(_)) => {
                    bail!("neither kept nor refused: {other:?}")
                }
            }
        };
        assert_eq!(refused.job(), job);
        lease = claim(&world, true).await?.0;
    }
    assert!(world.deleted().await?.is_empty());
    let error = JobError::of_job("too many".to_owned());
    assert!(store.jobs().fail(job, &error, FailRight::Lease(&lease)).await?);
    world.fixture.finish([]).await
}
