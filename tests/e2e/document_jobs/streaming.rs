//! Results read while they come in: exactly once each, whatever is settled between two reads.

use super::api::{World, each_once, sorted};
use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::settle_gate::{PATIENT, SettleGate};

/// The span of the calls, which are ten minutes apart.
fn all(world: &World, calls: u64) -> Result<Value> {
    let created = |ordinal| world.fixture.upstream.created("acme", ordinal).context("it is there");
    Ok(json!({ "date_from": created(0)?, "date_to": created(calls - 1)? + chrono::TimeDelta::seconds(1) }))
}

/// Many slices are walked at the same time, so a page of an early slice is settled after many of later ones.
#[tokio::test]
async fn a_reader_beside_many_writers_meets_every_row_once() -> Result<()> {
    let world = World::with_settings(450, json!({ "slice_days": 1, "page_size": 5 })).await?;
    let consumers = [world.fixture.consumer().await?, world.fixture.consumer().await?];
    // It is not over before it was read twice.
    world.fixture.upstream.hold_if(|asked| asked.number > 40);
    let job = world.start(all(&world, 450)?).await?;
    assert_eq!(world.fixture.until(job, |view| view.slices.total > 0).await?.slices.total, 4);

    let mut rows = Vec::new();
    let mut path = format!("/v1/jobs/{job}/results?limit=7");
    let mut reads_while_it_ran = 0;
    loop {
        let answer = world.api.get(&path).await?;
        let page = answer.body["data"].as_array().context("rows")?;
        rows.extend(page.iter().cloned());
        let over = answer.body["job_status"] == "complete";
        reads_while_it_ran += usize::from(!over && !page.is_empty());
        if reads_while_it_ran == 2 {
            world.fixture.upstream.release();
        }
        match answer.body["links"]["next"].as_str() {
            Some(next) => path = next.to_owned(),
            None if over => break,
            None => {}
        }
        if page.is_empty() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }
    assert!(reads_while_it_ran > 1, "it was read while it ran");
    assert_eq!(each_once(&rows)?, sorted(world.ids(0..450)));
    world.fixture.finish(consumers).await
}

/// A page whose settle has begun, but is not committed yet, keeps later ones out of sight: it will appear before them.
#[tokio::test]
async fn no_row_appears_before_one_that_was_read() -> Result<()> {
    let world = World::with_settings(300, json!({ "slice_days": 1 })).await?;
    let job = world.start(all(&world, 300)?).await?;
    // The first slice's second page stands in the middle of its transaction while the others' go by. They come after it:
    // beside one of them it would be settled in one statement with it, which does not wait for long.
    let first_day =
        world.fixture.upstream.created("acme", 0).context("it is there")?.date_naive().to_string();
    world
        .fixture
        .upstream
        .hold_if(move |asked| asked.parameter("fromDate").is_none_or(|from| !from.starts_with(&first_day)));
    let held = format!("new.job_id = '{job}' and new.slice = 0 and new.page = 2");
    let mut gate = SettleGate::close_when(&world.fixture.database, &held).await?;
    let mut settings = world.fixture.unhurried()?;
    settings.database.lock_timeout = Duration::from_millis(PATIENT);
    settings.database.statement_timeout = Duration::from_millis(PATIENT);
    let consumer = world.fixture.consumer_with(settings).await?;
    gate.until_held(1).await?;
    world.fixture.upstream.release();
    // The other two slices have come to their ends.
    let others = "select count(*) = 2 from slices where slice > 0 and status = 'done'";
    world.fixture.until_sql(others).await?;
    let settled = world.fixture.until(job, |view| view.slices.done == 2).await?.counters.processed();

    let mut rows = Vec::new();
    let mut path = format!("/v1/jobs/{job}/results?limit=7");
    loop {
        let answer = world.api.get(&path).await?.body;
        rows.extend(answer["data"].as_array().context("rows")?.iter().cloned());
        if let Some(next) = answer["links"]["next"].as_str() {
            path = next.to_owned();
        }
        if answer["pagination"]["has_more"] != true {
            break;
        }
    }
    assert!(
        i64::try_from(rows.len())? < settled,
        "what was settled after that page began is not shown before it"
    );

    gate.open().await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let rest = world.api.get(&path.replace("limit=7", "limit=500")).await?.body;
    rows.extend(rest["data"].as_array().context("rows")?.iter().cloned());
    assert_eq!(rest["links"]["next"], Value::Null);
    assert_eq!(each_once(&rows)?, sorted(world.ids(0..300)));
    world.fixture.finish([consumer]).await
}
