//! What the upstream has lost, and what it has not.

use super::world::{World, full};
use anyhow::{Context, Result};
use chrono::TimeDelta;
use protocol::command::StartCommand;
use protocol::ids::JobId;
use protocol::job::JobMode;
use std::collections::BTreeSet;
use testkit::sample_upstream::Answer;

#[tokio::test]
async fn what_is_gone_is_deleted_and_counted() -> Result<()> {
    let (world, consumer) = World::synced(60).await?;
    let upstream = &world.fixture.upstream;
    let lost = world.lose([0, 1, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 59]);
    upstream.edit("acme", 30);
    upstream.set_running("acme", 31, true);
    upstream.add("acme", upstream.created("acme", 30).context("there")? + TimeDelta::minutes(1));

    let view = world.full().await?;
    let counters = view.counters;
    assert_eq!((counters.inserted, counters.updated, counters.unchanged, counters.deferred), (1, 1, 45, 1));
    assert_eq!((counters.failed, counters.deleted, counters.processed()), (0, 13, 48));
    assert_eq!((view.total, view.percent(), view.deletion_left_out), (Some(48), Some(100), None));
    assert_eq!(world.deleted().await?, lost);
    // Its results are what it has met.
    let results = world.fixture.store.jobs().results(&[view.id], world.account.connection, None, 100).await?;
    assert_eq!(results.rows.len(), 48);
    assert!(results.rows.iter().all(|row| !lost.contains(&row.key)), "{results:?}");
    // It is stored, has changed into one that is not importable, and was seen.
    upstream.set_running("acme", 31, false);
    world.fixture.exact(world.account, "acme").await?;

    // What is deleted stays so, and is counted once.
    let again = world.full().await?;
    assert_eq!((again.counters.deleted, again.counters.imported()), (0, 0));
    world.exact(&lost).await?;
    world
        .fixture
        .until_sql(
            "select not exists (select from seen) and not exists (select from unseen) and not exists (select from checks)",
        )
        .await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn an_incremental_pass_and_a_range_delete_nothing() -> Result<()> {
    let (world, consumer) = World::synced(30).await?;
    world.lose([3, 29]);
    for mode in [JobMode::Incremental, JobMode::Range] {
        let command = StartCommand { mode, ..full(world.account.connection) };
        assert_eq!(world.completed(command).await?.counters.deleted, 0);
    }
    assert_eq!(world.deleted().await?, BTreeSet::new());
    world.fixture.finish([consumer]).await
}

/// An upstream that loses a page in passing contradicts its own total: nothing is deleted.
#[tokio::test]
async fn what_only_the_list_does_not_show_stays() -> Result<()> {
    let (world, consumer) = World::synced(15).await?;
    world
        .fixture
        .upstream
        .script(|asked| !asked.is_first_page(), Answer::json(r#"{"results": [], "next": null}"#));
    let cut = world.full().await?;
    assert_eq!((cut.counters.unchanged, cut.counters.deleted), (10, 0));
    assert!(
        cut.deletion_left_out.is_some() && cut.percent().is_some_and(|percent| percent < 100),
        "{cut:#?}"
    );
    world.exact(&BTreeSet::new()).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn what_comes_back_is_written_again() -> Result<()> {
    let (world, consumer) = World::synced(15).await?;
    let lost = world.lose(10..15);
    assert_eq!(world.full().await?.counters.deleted, 5);
    world.exact(&lost).await?;
    (10..15).for_each(|ordinal| world.fixture.upstream.restore("acme", ordinal));
    let back = world.full().await?;
    assert_eq!((back.counters.updated, back.counters.unchanged, back.counters.deleted), (5, 10, 0));
    world.exact(&BTreeSet::new()).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn records_outside_the_range_are_never_touched() -> Result<()> {
    let (world, consumer) = World::synced(60).await?;
    let created = |ordinal| world.fixture.upstream.created("acme", ordinal).context("the call is there");
    let (from, to) = (created(20)?, created(40)?);
    world.lose([5, 19, 20, 21, 22, 39, 40, 41]);
    let id = |ordinal| world.fixture.upstream.id("acme", ordinal);
    // Of what was stored by an older version the time is not known.
    let forget = "update records set happened_at = null where external_id = any ($1)";
    sqlx::query(forget).bind(vec![id(22), id(30), id(45)]).execute(&world.fixture.database.pool).await?;

    let bounded = StartCommand {
        date_from: Some(from),
        date_to: Some(to),
        job_id: Some(JobId::random()),
        ..full(world.account.connection)
    };
    let view = world.completed(bounded).await?;
    assert_eq!((view.counters.deleted, view.counters.processed()), (3, 16));
    assert_eq!(world.deleted().await?, BTreeSet::from([id(20), id(21), id(39)]));

    // To the end of time: what has no time may lie before its begin.
    let open_ended = StartCommand { date_from: Some(from), ..full(world.account.connection) };
    assert_eq!(world.completed(open_ended).await?.counters.deleted, 2);
    assert_eq!(world.deleted().await?, [20, 21, 39, 40, 41].map(id).into_iter().collect());

    assert_eq!(world.full().await?.counters.deleted, 3);
    world.exact(&[5, 19, 20, 21, 22, 39, 40, 41].map(id).into_iter().collect()).await?;
    world.fixture.finish([consumer]).await
}
