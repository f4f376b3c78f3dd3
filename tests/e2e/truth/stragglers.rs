//! Stragglers: what could not be stored when it was met is counted, listed, and closed by what becomes of it.

use super::{World, at, dates, settings, warned};
use anyhow::{Context, Result};
use axum::http::header::CONTENT_TYPE;
use engine::Engine;
use protocol::job::JobMode;
use protocol::warning::WarningKind;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use store::known::{StragglerCause, StragglerEnd, StragglerQuery, StragglerView};
use testkit::scripted::{List, Scripted};

/// A list of three records, of which the second is enormous while `broken`.
async fn serve(broken: &Arc<AtomicBool>, there: &Arc<AtomicBool>) -> Result<Scripted> {
    let (broken, there) = (Arc::clone(broken), Arc::clone(there));
    let list = List::hourly(3, at("2024-01-01T00:00:00Z"));
    Ok(Scripted::answering(move |asked| {
        let records: Vec<String> = list
            .between(asked.time("from"), asked.time("to"))
            .iter()
            .filter(|item| item.id != "r002" || there.load(Ordering::SeqCst))
            .map(|item| {
                let number = if item.id == "r002" && broken.load(Ordering::SeqCst) { "1e5000" } else { "1" };
                format!(
                    r#"{{"id": "{}", "created_at": "{}", "n": {number}}}"#,
                    item.id,
                    item.time.to_rfc3339()
                )
            })
            .collect();
        (
            [(CONTENT_TYPE, "application/json")],
            format!(r#"{{"data": [{}], "next": null}}"#, records.join(",")),
        )
    })
    .await?)
}

async fn listed(world: &World, closed: bool) -> Result<Vec<StragglerView>> {
    let engine = Engine::new(world.fixture.store.clone(), world.fixture.publisher.clone());
    let query = StragglerQuery { closed, after: String::new(), limit: 100 };
    Ok(engine.stragglers(world.tenant, world.connection, &query).await?)
}

#[tokio::test]
async fn a_straggler_is_told_listed_and_closed_by_the_job_that_stores_it() -> Result<()> {
    let (broken, there) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let world = World::start(serve(&broken, &there).await?, settings(json!({ "dates": dates() }))).await?;
    let first = world.completed(JobMode::Incremental).await?;
    assert_eq!(warned(&first), [(WarningKind::Failed, 1)]);
    let second = world.completed(JobMode::Incremental).await?;
    assert_eq!(warned(&second), [(WarningKind::Failed, 1), (WarningKind::Stragglers, 1)]);
    assert!(second.warnings[1].text.contains("r002"), "{second:#?}");
    let open = listed(&world, false).await?.pop().context("one is listed")?;
    assert_eq!(
        (open.external_id.as_str(), open.cause, open.closed_at),
        ("r002", StragglerCause::Failed, None)
    );
    assert_eq!(open.happened_at, Some(at("2024-01-01T01:00:00Z")));
    assert!(open.reason.is_some_and(|reason| reason.contains("number")), "the reason is kept");

    broken.store(false, Ordering::SeqCst);
    let third = world.completed(JobMode::Incremental).await?;
    assert_eq!((warned(&third), world.alive().await?), (Vec::new(), 3));
    assert_eq!(listed(&world, false).await?.len(), 0);
    let closed = listed(&world, true).await?.pop().context("it stays listed")?;
    assert_eq!(closed.closed_by, Some(StragglerEnd::Stored));
    world.end().await
}

/// A straggler that the upstream has deleted: what would delete a stored record closes it, and no less.
#[tokio::test]
async fn a_full_sync_closes_a_straggler_that_is_gone() -> Result<()> {
    let (broken, there) = (Arc::new(AtomicBool::new(true)), Arc::new(AtomicBool::new(true)));
    let two_passes = settings(json!({ "dates": dates(), "confirm_after": 0 }));
    let world = World::start(serve(&broken, &there).await?, two_passes).await?;
    world.completed(JobMode::Incremental).await?;
    there.store(false, Ordering::SeqCst);
    let first = world.completed(JobMode::Full).await?;
    assert_eq!(warned(&first), [(WarningKind::Stragglers, 1)]);
    assert_eq!(listed(&world, false).await?.len(), 1);
    let second = world.completed(JobMode::Full).await?;
    assert_eq!(warned(&second), []);
    let closed = listed(&world, true).await?.pop().context("it stays listed")?;
    assert_eq!(closed.closed_by, Some(StragglerEnd::Deleted));
    world.end().await
}
