//! Pages that are settled in one statement: each of them as if it were alone.

use super::*;
use store::StoreError;
use store::slices::Together;

/// The slices of a world, each in the hands of a worker.
async fn leases(world: &World) -> Result<Vec<Lease>> {
    let mut leases = Vec::new();
    for ring in world.rings().await? {
        leases.push(claimed(world.claim(ring, false, WorkerId::random()).await?)?.0);
    }
    leases.sort_by_key(Lease::slice);
    Ok(leases)
}

fn all(pages: Vec<(Lease, Settlement)>) -> Result<Together> {
    let mut together = Together::default();
    for (lease, page) in pages {
        together.add(lease, page).map_err(|left| anyhow::anyhow!("slice {}", left.0.slice()))?;
    }
    Ok(together)
}

#[tokio::test]
async fn each_page_has_an_answer_of_its_own() -> Result<()> {
    let world = World::with_slices(4).await?;
    let rings = world.rings().await?;
    let mut held = Vec::new();
    for ring in &rings {
        held.push(claimed(world.claim(*ring, false, WorkerId::random()).await?)?.0);
    }
    let lost = held.pop().context("four")?;
    let ring = rings.into_iter().find(|ring| ring.slice == lost.slice()).context("its ring")?;
    let (heir, _) = claimed(world.claim(ring, true, WorkerId::random()).await?)?;

    let pages = [
        page(&["a", "b"], Some("2"), true),
        page(&["c"], Some("2"), false),
        page(&[], None, false),
        page(&["d"], Some("2"), true),
    ];
    let together = all(held.into_iter().chain([lost]).zip(pages).collect())?;
    assert_eq!(together.len(), 4);
    let (pages, settled) = world.store.slices().settle_together(together, LEASE).await;
    assert_eq!(pages.len(), 4, "they are given back");
    let settled = settled.map_err(|(_, error)| error)?;
    let [
        Settled::Kept(kept, two, _),
        Settled::Ring(ring, one),
        Settled::SliceDone(none, job),
        Settled::Fenced(fenced),
    ] = &settled[..]
    else {
        bail!("{settled:?}")
    };
    assert_eq!((kept.page(), two.inserted, one.inserted, none.inserted), (1, 2, 1, 0));
    assert_eq!((ring.page, ring.ring, *job, fenced.page()), (1, 2, world.job, 0));
    let sql = "select string_agg(external_id, '' order by external_id) || (select count(*) from page_log) from records";
    assert_eq!(sqlx::query_scalar::<_, String>(sql).fetch_one(&world.database.pool).await?, "abc3");
    assert!(matches!(world.settle(heir, &page(&["d"], None, true)).await?, Settled::SliceDone(..)));
    world.end().await
}

/// Everything that two rounds of pages leave behind, of every kind of record.
async fn traces(together: bool) -> Result<String> {
    let world = World::with_slices(3).await?;
    let mut held = leases(&world).await?;
    let record = |key: &str, hash: u8, payload: &str| PageRecord {
        key: key.to_owned(),
        time: Utc.with_ymd_and_hms(2026, 1, 1, hash.into(), 0, 0).single(),
        version: None,
        verdict: Verdict::Store { hash: [hash; 32], payload: payload.into() },
    };
    let other = |key: &str, verdict| PageRecord { key: key.to_owned(), time: None, version: None, verdict };
    let failed = |reason: &str| Verdict::Fail { reason: reason.to_owned() };
    for round in 0..2_u8 {
        let contents = [
            vec![
                record("a", 1, "[1]"),
                record("b", 1 + round, if round == 0 { "[2]" } else { "[2, 2]" }),
                other("c", Verdict::Defer),
            ],
            vec![
                record("d", 3, "[3]"),
                record("d", 4, "[4]"),
                other("", failed("none")),
                other("", failed("nor")),
            ],
            vec![],
        ];
        let pages = contents.into_iter().enumerate().map(|(place, records)| Settlement {
            records,
            anchor: Some(format!("anchor {round}")),
            total: (place == 0).then_some(10),
            reach: Reach {
                newest: Utc.with_ymd_and_hms(2026, 1, 2, round.into(), 0, 0).single(),
                ..Reach::default()
            },
            filled: i64::from(round),
            ..page(&[], Some("next").filter(|_| place < 2 || round == 0), round == 0)
        });
        let pages: Vec<_> = held.into_iter().zip(pages).collect();
        let settled = if together {
            world.store.slices().settle_together(all(pages)?, LEASE).await.1.map_err(|(_, error)| error)?
        } else {
            let mut settled = Vec::new();
            for (lease, page) in pages {
                settled.push(world.settle(lease, &page).await?);
            }
            settled
        };
        held = settled
            .into_iter()
            .filter_map(|settled| if let Settled::Kept(lease, _, _) = settled { Some(lease) } else { None })
            .collect();
        assert_eq!(held.len(), if round == 0 { 3 } else { 0 });
    }
    let sql = "select string_agg(line, E'\\n' order by line) from (
                   select (slice, page, keys, outcomes, reasons, filled)::text from page_log
                   union all select (slice, status, page, cursor, anchor, total, ring, inserted, updated, unchanged, deferred,
                                     failed, filled, newest_at, walk, whole, upstream_total, lease_token is null)::text from slices
                   union all select (slice, kind, count, text)::text from warnings
                   union all select (external_id, hash, payload, revision, happened_at)::text from records) lines (line)";
    let traces = sqlx::query_scalar(sql).fetch_one(&world.database.pool).await?;
    world.end().await?;
    Ok(traces)
}

#[tokio::test]
async fn nothing_tells_whether_pages_were_settled_together() -> Result<()> {
    let (alone, together) = (traces(false).await?, traces(true).await?);
    assert!(alone.contains("=~d") && alone.contains("=+ff"), "{alone}");
    assert_eq!(together, alone);
    Ok(())
}

#[tokio::test]
async fn pages_with_a_record_in_common_are_not_settled_together() -> Result<()> {
    let world = World::with_slices(2).await?;
    let mut held = leases(&world).await?;
    let mut together = Together::default();
    let (second, first) = (held.pop().context("two")?, held.pop().context("one")?);
    assert!(together.add(first, page(&["a", "b"], None, true)).is_ok());
    let Err(left) = together.add(second, page(&["c", "b"], None, true)) else {
        bail!("b would be written twice by one statement")
    };
    let (second, refused) = *left;
    assert!(matches!(world.settle(second, &refused).await?, Settled::SliceDone(..)));
    let (_, settled) = world.store.slices().settle_together(together, LEASE).await;
    let settled = settled.map_err(|(_, error)| error)?;
    let [Settled::SliceDone(tally, _)] = &settled[..] else { bail!("{settled:?}") };
    assert_eq!((tally.inserted, tally.unchanged), (1, 1));
    world.end().await
}

#[tokio::test]
async fn the_same_id_at_two_connections_is_two_records() -> Result<()> {
    let world = World::with_slices(1).await?;
    let other = planned(&world.store, world.tenant, "others", 1).await?;
    let together =
        all(leases(&world).await?.into_iter().map(|lease| (lease, page(&["a"], None, true))).collect())?;
    assert_eq!(together.len(), 2);
    let (_, settled) = world.store.slices().settle_together(together, LEASE).await;
    for settled in settled.map_err(|(_, error)| error)? {
        let Settled::SliceDone(tally, job) = settled else { bail!("{settled:?}") };
        assert_eq!(tally.inserted, 1);
        assert_eq!(world.store.jobs().finish(job).await?, Finished::Completed);
    }
    assert_eq!(world.store.jobs().get(other, None).await?.context("the other")?.counters.inserted, 1);
    let sql = "select count(distinct connection_id) = 2 and count(*) = 2 from records";
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&world.database.pool).await?);
    world.end().await
}

#[tokio::test]
async fn a_pause_ends_the_stint_of_its_own_pages_only() -> Result<()> {
    let world = World::with_slices(1).await?;
    planned(&world.store, world.tenant, "others", 1).await?;
    let held = leases(&world).await?;
    let paused = held[0].job();
    let sql = "update connections set paused_until = now() + '1 h'::interval
                where id = (select connection_id from jobs where id = $1)";
    sqlx::query(sql).bind(paused.0).execute(&world.database.pool).await?;
    let together = all(held.into_iter().map(|lease| (lease, page(&["a"], Some("2"), true))).collect())?;
    let (_, settled) = world.store.slices().settle_together(together, LEASE).await;
    let settled = settled.map_err(|(_, error)| error)?;
    assert!(matches!(settled[..], [Settled::Queued(_), Settled::Kept(..)]), "{settled:?}");
    world.end().await
}

#[tokio::test]
async fn a_record_that_postgres_refuses_leaves_every_page_as_it_was() -> Result<()> {
    let world = World::with_slices(2).await?;
    let held = leases(&world).await?;
    let mut bad = page(&["b"], None, true);
    bad.records[0].verdict = Verdict::Store { hash: [2; 32], payload: r#""\u0000""#.into() };
    let together = all(held.into_iter().zip([page(&["a"], None, true), bad]).collect())?;
    let (pages, result) = world.store.slices().settle_together(together, LEASE).await;
    let Err((held, StoreError::Refused(_))) = result else { bail!("{result:?}") };
    let written =
        "select (select count(*) from records) + (select count(*) from page_log) + sum(page) from slices";
    assert_eq!(sqlx::query_scalar::<_, i64>(written).fetch_one(&world.database.pool).await?, 0);
    // Each alone, the good one is settled.
    let mut answers = Vec::new();
    for (lease, page) in held.into_iter().zip(&pages) {
        answers.push(world.store.slices().settle(lease, page, LEASE).await.map_err(|(_, error)| error));
    }
    assert!(matches!(answers[..], [Ok(Settled::SliceDone(..)), Err(StoreError::Refused(_))]), "{answers:?}");
    world.end().await
}

#[tokio::test]
async fn a_slice_that_is_locked_is_not_waited_for() -> Result<()> {
    let world = World::with_slices(2).await?;
    let held = leases(&world).await?;
    let mut other = world.database.pool.begin().await?;
    sqlx::query("select from slices where slice = 1 for update").execute(&mut *other).await?;
    let together = all(held.into_iter().zip([page(&["a"], None, true), page(&["b"], None, true)]).collect())?;
    let (_, settled) = world.store.slices().settle_together(together, LEASE).await;
    let settled = settled.map_err(|(_, error)| error)?;
    assert!(matches!(settled[..], [Settled::SliceDone(..), Settled::Fenced(_)]), "{settled:?}");
    other.rollback().await?;
    world.end().await
}

#[tokio::test]
async fn after_a_cancel_none_of_them_is_settled() -> Result<()> {
    let world = World::with_slices(2).await?;
    let held = leases(&world).await?;
    world.cancel().await?;
    let together = all(held.into_iter().zip([page(&["a"], None, true), page(&["b"], None, true)]).collect())?;
    let (_, settled) = world.store.slices().settle_together(together, LEASE).await;
    for settled in settled.map_err(|(_, error)| error)? {
        let Settled::Fenced(lease) = settled else { bail!("{settled:?}") };
        world.store.slices().release(&lease).await?;
    }
    assert!(world.store.jobs().end_cancel(world.job).await?.is_some());
    let sql = "select not exists (select from records) and not exists (select from page_log)";
    assert!(sqlx::query_scalar::<_, bool>(sql).fetch_one(&world.database.pool).await?);
    world.end().await
}
