//! Newer wins: what was asked for earlier never overwrites what was asked for later.

use super::{World, at, settings, warned};
use anyhow::{Context, Result};
use axum::response::IntoResponse;
use engine::Engine;
use protocol::command::StartCommand;
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use std::sync::Arc;
use store::known::{StragglerCause, StragglerEnd, StragglerQuery};
use testkit::scripted::{List, Scripted, page};
use tokio::sync::Semaphore;

async fn text(world: &World, id: &str) -> Result<Value> {
    Ok(sqlx::query_scalar("select payload -> 'text' from records where external_id = $1")
        .bind(id)
        .fetch_one(&world.fixture.database.pool)
        .await?)
}

/// A page that carries the first content is on its way while another job stores the second.
#[tokio::test]
async fn a_page_that_was_asked_for_earlier_overwrites_nothing() -> Result<()> {
    let list = List::hourly(3, at("2024-01-01T00:00:00Z"));
    let released = Arc::new(Semaphore::new(0));
    let (served, gate) = (list.clone(), Arc::clone(&released));
    let upstream = Scripted::start(move |asked| {
        let (served, gate) = (served.clone(), Arc::clone(&gate));
        Box::pin(async move {
            if let Some(id) = asked.path.strip_prefix("/items/") {
                let found = served.between(None, None).into_iter().find(|item| item.id == id);
                return axum::Json(found.map(|item| item.json())).into_response();
            }
            let answer = page(&served.part(&asked).0, json!({ "next": null }));
            if let Ok(permit) = gate.acquire().await {
                permit.forget();
            }
            answer.into_response()
        })
    })
    .await?;
    let world = World::start(upstream, settings(json!({ "item": { "path": "/items/{id}" } }))).await?;
    released.add_permits(1);
    world.completed(JobMode::Range).await?;

    let held = world.command(JobMode::Range);
    world.fixture.publish_start_command(&held).await?;
    let walk = held.job_id.context("chosen here")?;
    world.fixture.until(walk, |view| view.slices.leased == 1 && world.upstream.asked().len() == 2).await?;
    list.change(|items| items[1].text = "second".to_owned());
    let documents =
        StartCommand { document_ids: Some(vec!["r002".to_owned()]), ..world.command(JobMode::Range) };
    let stored = world.job(documents, JobStatus::Completed).await?;
    assert_eq!(stored.counters.updated, 1);
    released.add_permits(1);
    let job = world.fixture.until_over(walk, JobStatus::Completed).await?;
    assert_eq!(text(&world, "r002").await?, json!("second"));
    assert_eq!((job.counters.updated, job.counters.unchanged), (0, 3));
    // Which of the two is newer, the answer for the id decides, in the next job.
    assert_eq!(warned(&job), []);
    let engine = Engine::new(world.fixture.store.clone(), world.fixture.publisher.clone());
    let all = StragglerQuery { closed: true, after: String::new(), limit: 10 };
    let open = engine.stragglers(world.tenant, world.connection, &all).await?;
    let open: Vec<_> = open.iter().map(|one| (one.external_id.as_str(), one.cause, one.closed_by)).collect();
    assert_eq!(open, [("r002", StragglerCause::Overtaken, None)]);
    released.add_permits(1);
    world.completed(JobMode::Incremental).await?;
    let closed = engine.stragglers(world.tenant, world.connection, &all).await?;
    assert_eq!(closed[0].closed_by, Some(StragglerEnd::Stored));
    world.end().await
}

/// Where nothing can be fetched by its id, the doubt is told.
#[tokio::test]
async fn two_answers_that_differ_are_told_where_no_id_can_be_asked_for() -> Result<()> {
    let list = List::hourly(3, at("2024-01-01T00:00:00Z"));
    let served = list.clone();
    let upstream =
        Scripted::answering(move |asked| page(&served.part(asked).0, json!({ "next": null }))).await?;
    let world = World::start(upstream, settings(json!({}))).await?;
    world.completed(JobMode::Range).await?;
    // As if another job had stored it with an answer that was asked for later.
    sqlx::query("update records set as_of = now() + interval '1 hour' where external_id = 'r002'")
        .execute(&world.fixture.database.pool)
        .await?;
    list.change(|items| items[1].text = "second".to_owned());
    let job = world.completed(JobMode::Range).await?;
    assert_eq!(warned(&job), [(WarningKind::Overtaken, 1)]);
    assert_eq!(text(&world, "r002").await?, json!("first"));
    world.end().await
}

#[tokio::test]
async fn the_same_content_in_another_order_is_unchanged() -> Result<()> {
    let upstream = Scripted::answering(|asked| {
        let record = if asked.nth == 0 {
            r#"{"id": "a", "created_at": "2024-01-01T00:00:00Z", "n": 1, "m": [1, 2]}"#
        } else {
            r#"{"m": [1, 2], "n": 1, "created_at": "2024-01-01T00:00:00Z", "id": "a"}"#
        };
        ([("content-type", "application/json")], format!(r#"{{"data": [{record}], "next": null}}"#))
    })
    .await?;
    let world = World::start(upstream, settings(json!({}))).await?;
    assert_eq!(world.completed(JobMode::Range).await?.counters.inserted, 1);
    let again = world.completed(JobMode::Range).await?;
    assert_eq!((again.counters.updated, again.counters.unchanged), (0, 1));
    let revision: i32 =
        sqlx::query_scalar("select revision from records").fetch_one(&world.fixture.database.pool).await?;
    assert_eq!(revision, 1);
    world.end().await
}
