//! Where an incremental job begins: only what an answer showed is known.

use super::{World, at, cause, dates, settings, warned};
use anyhow::{Context, Result};
use chrono::{TimeDelta, Utc};
use engine::{Engine, EngineError};
use protocol::command::StartCommand;
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use testkit::scripted::{Item, List, Scripted, page};

fn counted(changes: serde_json::Value) -> serde_json::Value {
    let mut settings = settings(json!({
        "next": { "style": "page_number", "parameter": "page" },
        "dates": dates(),
    }));
    super::merge(&mut settings, changes);
    settings
}

async fn serve(list: &List) -> Result<Scripted> {
    let list = list.clone();
    Ok(Scripted::answering(move |asked| page(&list.part(asked).0, json!({}))).await?)
}

/// An empty answer says nothing about what will appear.
#[tokio::test]
async fn an_empty_answer_makes_nothing_known() -> Result<()> {
    let list = List::default();
    let world = World::start(serve(&list).await?, counted(json!({}))).await?;
    world.completed(JobMode::Incremental).await?;
    let year_ago = Utc::now() - TimeDelta::days(300);
    list.change(|items| *items = List::hourly(500, year_ago).between(None, None));
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 500);
    world.end().await
}

#[tokio::test]
async fn a_range_that_met_nothing_makes_nothing_known() -> Result<()> {
    let list = List::hourly(300, at("2024-01-01T00:00:00Z"));
    let world = World::start(serve(&list).await?, counted(json!({}))).await?;
    let early = StartCommand { date_to: Some(at("2020-01-01T00:00:00Z")), ..world.command(JobMode::Range) };
    world.job(early, JobStatus::Completed).await?;
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 300);
    world.end().await
}

#[tokio::test]
async fn a_job_of_which_every_record_fails_fails_and_makes_nothing_known() -> Result<()> {
    let list = List::hourly(100, at("2024-01-01T00:00:00Z"));
    let mut world =
        World::start(serve(&list).await?, counted(json!({ "records": { "time": "/text" } }))).await?;
    let job = world.failed(JobMode::Incremental).await?;
    assert!(cause(&job).contains("all 100 records failed") && cause(&job).contains("/text"), "{job:#?}");
    assert_eq!(warned(&job), [(WarningKind::Failed, 100)]);
    world.put(counted(json!({}))).await?;
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 100);
    world.end().await
}

/// Nothing is known beyond the first job's end, whatever the records' times might have been.
#[tokio::test]
async fn without_times_nothing_is_known_beyond_the_end_that_was_asked_for() -> Result<()> {
    let list = List::hourly(300, Utc::now() - TimeDelta::hours(300));
    let world = World::start(serve(&list).await?, counted(json!({ "records": { "time": null } }))).await?;
    let past = Utc::now() - TimeDelta::minutes(200 * 60 + 30);
    let first = StartCommand { date_to: Some(past), ..world.command(JobMode::Range) };
    assert_eq!(world.job(first, JobStatus::Completed).await?.counters.inserted, 100);
    let second = world.completed(JobMode::Incremental).await?;
    assert!(second.date_from.is_none_or(|from| from <= past), "{second:#?}");
    assert_eq!(world.alive().await?, 300);
    world.end().await
}

/// Newest first, capped: the older ones are asked for again.
#[tokio::test]
async fn what_a_capped_list_left_out_is_asked_for_again() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let served = list.clone();
    let capped = Arc::new(AtomicUsize::new(100));
    let cap = Arc::clone(&capped);
    let upstream = Scripted::answering(move |asked| {
        let (items, total) = served.part(asked);
        let before = asked.number("offset").unwrap_or_default();
        let left = cap.load(Ordering::SeqCst).saturating_sub(before);
        page(&items[..items.len().min(left)], json!({ "total": total }))
    })
    .await?;
    list.change(|items| items.reverse());
    let offset = json!({ "next": { "style": "offset", "parameter": "offset" }, "total": "/total" });
    let world = World::start(upstream, counted(offset)).await?;
    let first = world.failed(JobMode::Incremental).await?;
    assert!(cause(&first).contains("named 250 records and served 100"), "{first:#?}");
    capped.store(1000, Ordering::SeqCst);
    let second = world.completed(JobMode::Incremental).await?;
    assert_eq!((second.date_from, world.alive().await?), (None, 250));
    world.end().await
}

/// Ordered by the last change, only the lower bound is sent: what slips past is read by the next job.
#[tokio::test]
async fn what_slipped_to_a_page_that_was_read_is_met_by_the_next_job() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let served = list.clone();
    let upstream = Scripted::answering(move |asked| {
        if asked.nth == 1 {
            served.change(|items| {
                let mut touched = items.remove(4);
                touched.time = at("2024-03-01T00:00:00Z");
                items.push(touched);
            });
        }
        let from_only = testkit::scripted::Asked {
            query: asked
                .query
                .iter()
                .filter(|(name, _)| *name != "to")
                .map(|(n, v)| (n.clone(), v.clone()))
                .collect(),
            ..asked.clone()
        };
        page(&served.part(&from_only).0, json!({}))
    })
    .await?;
    let updated = json!({ "records": { "time_is": "updated" } });
    let world = World::start(upstream, counted(updated)).await?;
    let first = world.completed(JobMode::Incremental).await?;
    assert!(warned(&first).iter().any(|(kind, _)| *kind == WarningKind::Repeated), "{first:#?}");
    assert_eq!(world.alive().await?, 249);
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 250);
    world.end().await
}

#[tokio::test]
async fn settings_that_list_more_begin_anew() -> Result<()> {
    let list = List::hourly(100, at("2024-01-01T00:00:00Z"));
    let closed: Vec<Item> = List::hourly(50, at("2020-01-01T00:00:00Z"))
        .between(None, None)
        .into_iter()
        .map(|item| Item { id: format!("closed-{}", item.id), ..item })
        .collect();
    let served = list.clone();
    let upstream = Scripted::answering(move |asked| {
        let all = List::default();
        all.change(|items| {
            if asked.query.contains_key("state") {
                items.extend(closed.clone());
            }
            items.extend(served.between(None, None));
        });
        page(&all.part(asked).0, json!({}))
    })
    .await?;
    let mut world = World::start(upstream, counted(json!({}))).await?;
    world.completed(JobMode::Incremental).await?;
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 100);
    world.put(counted(json!({ "query": [{ "name": "state", "value": "all" }] }))).await?;
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 150);
    world.end().await
}

/// What whole walks found empty is one slice, however long it is.
#[tokio::test]
async fn an_idle_connection_stays_cheap() -> Result<()> {
    let list = List::hourly(48, at("2024-01-01T00:00:00Z"));
    let slices = json!({ "slicing": { "days": 10, "max_slices": 200 } });
    let world = World::start(serve(&list).await?, counted(slices)).await?;
    world.completed(JobMode::Incremental).await?;
    let second = world.completed(JobMode::Incremental).await?;
    assert!(second.slices.total < 6, "the first job has found two years empty: {second:#?}");
    let situation = world.fixture.store.jobs().situation(second.id, None).await?.context("it is there")?;
    let reasons = engine::explain::explain(&situation);
    assert!(reasons.iter().any(|reason| reason.code == "idle_span"), "{reasons:#?}");
    // What appears there is met all the same, and cut again from then on.
    list.change(|items| {
        items.push(Item { id: "late".to_owned(), time: at("2024-06-01T00:00:00Z"), text: String::new() });
    });
    world.completed(JobMode::Incremental).await?;
    assert_eq!(world.alive().await?, 49);
    world.end().await
}

/// What a job lacks is looked for in the list that it walked: with settings that list others, there is nothing to go on with.
#[tokio::test]
async fn a_job_is_not_resumed_after_its_settings_changed() -> Result<()> {
    let upstream = Scripted::answering(|_| axum::http::StatusCode::FORBIDDEN).await?;
    let mut world = World::start(upstream, counted(json!({}))).await?;
    let job = world.failed(JobMode::Range).await?;
    let engine = Engine::new(world.fixture.store.clone(), world.fixture.publisher.clone());
    world.put(counted(json!({ "query": [{ "name": "state", "value": "all" }] }))).await?;
    let refused = engine.resume(world.tenant, job.id, "test").await;
    assert!(matches!(refused, Err(EngineError::SettingsChanged { .. })), "{refused:?}");
    // A page size changes no list.
    world.put(counted(json!({ "page_size": { "parameter": "limit", "size": 10 } }))).await?;
    let resumed = engine.resume(world.tenant, job.id, "test").await?;
    world.fixture.until_over(resumed.id, JobStatus::Failed).await?;
    world.end().await
}
