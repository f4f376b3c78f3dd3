//! Records that somebody else stores while a page with them is settled. A settle inserts what it does not know, and finds
//! out about the others when it is too late.

use super::*;
use sqlx::{Executor, PgConnection};
use store::StoreError;
use store::slices::Together;
use testkit::database::session;

/// Somebody stores this record with other content, and has not committed yet.
async fn being_stored(world: &World, key: &str) -> Result<PgConnection> {
    let mut other = session(&world.database.url()).await?;
    other.execute("begin").await?;
    sqlx::query(
        "insert into records (connection_id, external_id, hash, payload, job_id)
         select connection_id, $1, '', '{}', id from jobs",
    )
    .bind(key)
    .execute(&mut other)
    .await?;
    Ok(other)
}

/// Until a settle waits for such a record.
async fn waited_for(world: &World) -> Result<()> {
    let sql = "select exists (select from pg_stat_activity where datname = current_database()
                                 and wait_event_type = 'Lock' and wait_event = 'transactionid')";
    while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&world.database.pool).await? {
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn outcomes(world: &World) -> Result<String> {
    let sql = "select string_agg(external_id || revision, '' order by external_id) || (select outcomes from page_log) from records";
    Ok(sqlx::query_scalar(sql).fetch_one(&world.database.pool).await?)
}

#[tokio::test]
async fn what_others_store_meanwhile_is_known_at_the_next_look() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let (lease, _) = claimed(world.claim(ring, false, WorkerId::random()).await?)?;
    let (mut first, mut second) = (being_stored(&world, "a").await?, being_stored(&world, "b").await?);
    let contents = page(&["c", "b", "a"], None, true);
    let others = async {
        waited_for(&world).await?;
        first.execute("commit").await?;
        waited_for(&world).await?;
        second.execute("commit").await?;
        anyhow::Ok(())
    };
    let (settled, others) = tokio::join!(world.settle(lease, &contents), others);
    others?;
    let Settled::SliceDone(tally, _) = settled? else { bail!("not done") };
    assert_eq!((tally.inserted, tally.updated, tally.unchanged), (1, 2, 0));
    assert_eq!(outcomes(&world).await?, "a2b2c1+~~");
    world.end().await
}

#[tokio::test]
async fn a_page_that_is_raced_leaves_its_company_to_be_settled_alone() -> Result<()> {
    let world = World::with_slices(2).await?;
    let mut together = Together::default();
    for (ring, contents) in world.rings().await?.into_iter().zip([["a"], ["b"]]) {
        let (lease, _) = claimed(world.claim(ring, false, WorkerId::random()).await?)?;
        assert!(together.add(lease, page(&contents, None, true)).is_ok());
    }
    let mut other = being_stored(&world, "b").await?;
    let others = async {
        waited_for(&world).await?;
        anyhow::Ok(other.execute("commit").await?)
    };
    let ((pages, settled), others) =
        tokio::join!(world.store.slices().settle_together(together, LEASE), others);
    others?;
    let Err((leases, StoreError::Refused(_))) = settled else { bail!("{settled:?}") };
    let mut tallies = Vec::new();
    for (lease, page) in leases.into_iter().zip(&pages) {
        let Settled::SliceDone(tally, _) = world.settle(lease, page).await? else { bail!("not done") };
        tallies.push((tally.inserted, tally.updated));
    }
    assert_eq!(tallies, [(1, 0), (0, 1)]);
    world.end().await
}

/// The claim begins while the slice waits, and has to wait itself for the statement that rings it.
#[tokio::test]
async fn a_claim_that_waits_for_a_ring_finds_the_slice_rung() -> Result<()> {
    let world = World::with_slices(1).await?;
    let ring = world.rings().await?[0];
    let waiting =
        "update slices set status = 'waiting', not_before = now(), rung_at = null, rung_marker = null";
    sqlx::query(waiting).execute(&world.database.pool).await?;
    let mut other = session(&world.database.url()).await?;
    other.execute("begin").await?;
    other
        .execute("update slices set status = 'ready', not_before = null, rung_at = now(), rung_marker = 0")
        .await?;
    let rung = async {
        waited_for(&world).await?;
        anyhow::Ok(other.execute("commit").await?)
    };
    let (claim, rung) = tokio::join!(world.claim(ring, false, WorkerId::random()), rung);
    rung?;
    let (lease, _) = claimed(claim?)?;
    assert!(matches!(world.settle(lease, &page(&["a"], None, true)).await?, Settled::SliceDone(..)));
    world.end().await
}
