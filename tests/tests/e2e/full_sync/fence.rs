//! The statements of a deletion, one by one and without a broker: the order of the calls is the interleaving.

use super::world::{ROWS, World};
use anyhow::{Result, bail};
use common::ids::{JobId, LeaseToken, WorkerId};
use common::job::{JobMode, JobStatus};
use common::store::Store;
use common::store::jobs::{
    CancelOutcome, CancelRequest, CancelTarget, FailRight, Finished, JobError, StartOutcome, StartRequest,
};
use common::store::slices::{
    Claim, ClaimRequest, DeletionPage, DeletionSettled, Lease, PageContext, Reach, Settled, Settlement,
    Suspicion,
};
use std::time::Duration;

const LEASE: Duration = Duration::from_secs(300);
/// No record is spared for its number.
const ANY: DeletionPage = DeletionPage { rows: ROWS, any_number: true, go_on: true, renewal: LEASE };
const GUARDED: DeletionPage = DeletionPage { any_number: false, ..ANY };

async fn claim(world: &World, redelivered: bool) -> Result<(Lease, PageContext)> {
    let store = &world.fixture.store;
    let ring = match store.refill(world.account.tenant, Duration::from_secs(2)).await?.pop() {
        Some(ring) => ring,
        None => rung(world).await?,
    };
    let request = ClaimRequest {
        ring,
        redelivered,
        worker: WorkerId::random(),
        token: LeaseToken::random(),
        lease: LEASE,
        suspicion: Suspicion { may_hold: true, suspect_after: 2, fail_after: 5 },
    };
    let Claim::Claimed(claimed) = store.claim(&request).await? else { bail!("not claimed") };
    Ok(*claimed)
}

/// The doorbell of the one slice that is ready.
async fn rung(world: &World) -> Result<common::slice::Ring> {
    let (job, slice, page, ring) =
        sqlx::query_as("select job_id, slice, page, ring from slices where status = 'ready'")
            .fetch_one(&world.fixture.database.pool)
            .await?;
    Ok(common::slice::Ring { job: JobId(job), slice, page, ring })
}

/// Of 30 records that are stored a full sync has seen none: its deletion slice, claimed.
async fn deletion() -> Result<(World, JobId, Lease)> {
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
        on_conflict: common::command::OnConflict::Reject,
        name: None,
        requested_by: None,
        command: None,
        schema: None,
        documents: Vec::new(),
    };
    let job = request.job;
    assert_eq!(store.start(&request).await?, StartOutcome::Accepted(job));
    let Some(plannable) = store.plannable(job).await? else { bail!("not pending") };
    assert!(store.plan(&plannable, None).await?);
    let (lease, context) = claim(&world, false).await?;
    assert!(!context.deletion);
    assert_eq!(store.finish(job).await?, Finished::Not, "nothing is deleted before everything is walked");
    let empty = Settlement {
        records: Vec::new(),
        next: None,
        anchor: None,
        total: None,
        reach: Reach::default(),
        go_on: true,
        filled: 0,
    };
    // A page of the walk is no page of a deletion.
    let settled = store.settle_deletion(lease, &ANY).await.map_err(|(_, error)| error)?;
    let DeletionSettled::Settled(Settled::Fenced(lease)) = settled else { bail!("not fenced: {settled:?}") };
    let settled = store.settle(lease, &empty, LEASE).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, Settled::SliceDone(..)), "{settled:?}");
    assert_eq!(store.finish(job).await?, Finished::Deleting(world.account.tenant));
    assert_eq!(store.finish(job).await?, Finished::Not, "the deletion slice is made once");
    let (lease, context) = claim(&world, false).await?;
    assert!(context.deletion);
    Ok((world, job, lease))
}

/// Goes on until a page has deleted something.
async fn until_deleted(store: &Store, mut lease: Lease) -> Result<Lease> {
    loop {
        let settled = store.settle_deletion(lease, &ANY).await.map_err(|(_, error)| error)?;
        let DeletionSettled::Settled(Settled::Kept(kept, tally)) = settled else {
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
    assert_eq!(store.cancel(&cancel(job)).await?, CancelOutcome::Cancelling { job, newly: true });
    let settled = store.settle_deletion(lease, &ANY).await.map_err(|(_, error)| error)?;
    let DeletionSettled::Settled(Settled::Fenced(lease)) = settled else { bail!("not fenced: {settled:?}") };
    assert_eq!(world.deleted().await?.len(), 10);
    assert!(store.release(&lease).await?);
    assert!(store.end_cancel(job).await?.is_some());
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
    let settled = store.settle_deletion(lost, &ANY).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, DeletionSettled::Settled(Settled::Fenced(_))), "{settled:?}");
    let error = JobError { cause: "broken".to_owned(), slice: None, page: None, body: None };
    assert!(store.fail(job, &error, FailRight::Lease(&taken)).await?);
    let settled = store.settle_deletion(taken, &ANY).await.map_err(|(_, error)| error)?;
    assert!(matches!(settled, DeletionSettled::Settled(Settled::Fenced(_))), "{settled:?}");
    assert_eq!(world.deleted().await?.len(), 10);
    world.fixture.finish([]).await
}

/// Whoever has the page after a refusal finds the same: it is not got over by dying.
#[tokio::test]
async fn a_refusal_is_found_again() -> Result<()> {
    let (world, job, mut lease) = deletion().await?;
    let store = &world.fixture.store;
    for again in 0..3 {
        let refused = loop {
            match store.settle_deletion(lease, &GUARDED).await.map_err(|(_, error)| error)? {
                DeletionSettled::Settled(Settled::Kept(kept, tally)) => {
                    assert_eq!((tally.deleted, again), (0, 0));
                    lease = kept;
                }
                DeletionSettled::Refused { lease, unseen, records } => {
                    assert_eq!((unseen, records), (30, 30));
                    break lease;
                }
                other @ (DeletionSettled::Settled(_) | DeletionSettled::Astray(_)) => {
                    bail!("neither kept nor refused: {other:?}")
                }
            }
        };
        assert_eq!(refused.job(), job);
        lease = claim(&world, true).await?.0;
    }
    assert!(world.deleted().await?.is_empty());
    let error = JobError { cause: "too many".to_owned(), slice: None, page: None, body: None };
    assert!(store.fail(job, &error, FailRight::Lease(&lease)).await?);
    world.fixture.finish([]).await
}
