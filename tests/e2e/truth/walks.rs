//! How walks go on: cursors that die, rests that are asked for by 403, settings that change, stragglers.

use super::{World, at, cause, dates, settings, warned};
use anyhow::{Context, Result};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::{TimeDelta, Utc};
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use testkit::scripted::{List, Scripted, page};
use tokio::sync::Semaphore;

fn by_cursor() -> serde_json::Value {
    settings(json!({ "next": { "style": "cursor", "pointer": "/next", "parameter": "after" } }))
}

/// A page by position, whose cursor is refused while `refuses` says so.
fn answer(list: &List, asked: &testkit::scripted::Asked, refuses: bool) -> Response {
    let begin = asked.number("after").unwrap_or_default();
    if refuses && begin > 0 {
        return (StatusCode::BAD_REQUEST, "cursor expired").into_response();
    }
    let all = list.between(None, None);
    let part: Vec<_> = all.iter().skip(begin).take(100).cloned().collect();
    let next = (begin + part.len() < all.len()).then(|| (begin + part.len()).to_string());
    page(&part, json!({ "next": next })).into_response()
}

#[tokio::test]
async fn a_cursor_that_died_begins_the_walk_anew_once() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let refusals = Arc::new(AtomicUsize::new(1));
    let left = Arc::clone(&refusals);
    let upstream = Scripted::answering(move |asked| {
        let refuses = asked.query.contains_key("after")
            && left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok();
        answer(&list, asked, refuses)
    })
    .await?;
    let world = World::start(upstream, by_cursor()).await?;
    let job = world.completed(JobMode::Range).await?;
    assert_eq!((job.counters.inserted, job.counters.unchanged), (250, 100));
    assert_eq!(warned(&job), [(WarningKind::StartedOver, 1)]);
    assert_eq!(world.alive().await?, 250);

    refusals.store(5, Ordering::SeqCst);
    let job = world.failed(JobMode::Range).await?;
    assert!(cause(&job).contains("begun anew before") && cause(&job).contains("400"), "{job:#?}");
    world.end().await
}

/// As GitHub limits: 403, with nothing left until a moment.
#[tokio::test]
async fn a_403_with_an_exhausted_limit_is_a_rest() -> Result<()> {
    let list = List::hourly(30, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |asked| {
        if asked.nth == 0 {
            let reset = (Utc::now() + TimeDelta::seconds(1)).timestamp().to_string();
            let headers = [("x-ratelimit-remaining", "0".to_owned()), ("x-ratelimit-reset", reset)];
            return (StatusCode::FORBIDDEN, headers, "rate limit exceeded").into_response();
        }
        answer(&list, asked, false)
    })
    .await?;
    let world = World::start(upstream, by_cursor()).await?;
    let job = world.completed(JobMode::Range).await?;
    assert_eq!((job.counters.inserted, job.error), (30, None));
    world.end().await
}

/// A job walks to its end with what it was planned with, and makes that known.
#[tokio::test]
async fn settings_that_change_meanwhile_are_for_the_next_job() -> Result<()> {
    let list = List::hourly(150, at("2024-01-01T00:00:00Z"));
    let gate = Arc::new(Semaphore::new(0));
    let held = Arc::clone(&gate);
    let upstream = Scripted::start(move |asked| {
        let (list, held) = (list.clone(), Arc::clone(&held));
        Box::pin(async move {
            if asked.query.contains_key("after")
                && !asked.query.contains_key("state")
                && let Ok(permit) = held.acquire().await
            {
                permit.forget();
            }
            answer(&list, &asked, false)
        })
    })
    .await?;
    let mut world = World::start(upstream, by_cursor()).await?;
    let command = world.command(JobMode::Incremental);
    world.fixture.publish_start_command(&command).await?;
    let job = command.job_id.context("chosen here")?;
    world.fixture.until(job, |view| view.pages_settled == 1 && view.slices.leased == 1).await?;
    let mut changed = by_cursor();
    changed["query"] = json!([{ "name": "state", "value": "all" }]);
    world.put(changed).await?;
    gate.add_permits(1);
    world.fixture.until_over(job, JobStatus::Completed).await?;
    assert!(world.upstream.asked().iter().all(|asked| !asked.query.contains_key("state")));
    let next = world.completed(JobMode::Incremental).await?;
    assert_eq!(next.date_from, None, "nothing is known in the new scope");
    assert!(world.upstream.asked().iter().any(|asked| asked.query.contains_key("state")));
    world.end().await
}

/// One record of long ago never becomes importable: it is asked for by its id, and holds nothing back.
#[tokio::test]
async fn a_straggler_is_asked_for_by_its_id_and_holds_nothing_back() -> Result<()> {
    let from = Utc::now() - TimeDelta::hours(200);
    let list = List::hourly(190, from);
    let (served, ended) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let done = Arc::clone(&ended);
    let shown = move |item: &testkit::scripted::Item| {
        let mut json = item.json();
        if item.id != "r003" || done.load(Ordering::SeqCst) {
            json["ended"] = json!(true);
        }
        json
    };
    let upstream = Scripted::answering(move |asked| {
        let all = served.between(asked.time("from"), asked.time("to"));
        if let Some(id) = asked.path.strip_prefix("/items/") {
            let found = served.between(None, None).into_iter().find(|item| item.id == id);
            return found.map_or(StatusCode::NOT_FOUND.into_response(), |item| {
                axum::Json(shown(&item)).into_response()
            });
        }
        let data: Vec<_> = all.iter().map(&shown).collect();
        axum::Json(json!({ "data": data, "next": null })).into_response()
    })
    .await?;
    let world = World::start(
        upstream,
        settings(json!({
            "records": { "deferred_when_null": "/ended" },
            "item": { "path": "/items/{id}" },
            "dates": dates(),
        })),
    )
    .await?;
    let first = world.completed(JobMode::Incremental).await?;
    assert_eq!((first.counters.inserted, first.counters.deferred), (189, 1));
    let second = world.completed(JobMode::Incremental).await?;
    assert!(second.date_from.is_some_and(|begin| begin > from + TimeDelta::hours(150)), "{second:#?}");
    assert_eq!(second.counters.deferred, 1, "asked for by its id");
    ended.store(true, Ordering::SeqCst);
    let third = world.completed(JobMode::Incremental).await?;
    assert_eq!((third.counters.inserted, third.counters.deferred), (1, 0));
    let fourth = world.completed(JobMode::Incremental).await?;
    assert_eq!((fourth.counters.inserted, fourth.slices.total), (0, 1), "nothing is left to ask for");
    assert_eq!(world.alive().await?, 190);
    world.end().await
}

/// The upstream does not know the parameter of the next page, and shuffles: no page is like another, and none is the last.
#[tokio::test]
async fn a_walk_of_pages_that_are_all_different_and_bring_nothing_new_ends() -> Result<()> {
    let list = List::hourly(20, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |asked| {
        let mut all = list.between(None, None);
        let nth = asked.nth;
        all.sort_by_key(|item| blake3::hash(format!("{} {nth}", item.id).as_bytes()).to_hex().to_string());
        page(&all[..10], json!({}))
    })
    .await?;
    let unknown = settings(json!({ "next": { "style": "page_number", "parameter": "unheard_of" } }));
    let world = World::start(upstream, unknown).await?;
    let job = world.failed(JobMode::Range).await?;
    assert!(cause(&job).contains("goes in circles: pages 64 to 127"), "{job:#?}");
    assert_eq!((world.alive().await?, world.upstream.asked().len()), (20, 128));
    world.end().await
}

/// The id is not where the settings say, and the last page comes again for ever: nothing shows that it is the same one.
#[tokio::test]
async fn a_walk_of_pages_without_ids_ends() -> Result<()> {
    let list = List::hourly(20, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |_asked| page(&list.between(None, None), json!({}))).await?;
    let wrong = settings(json!({
        "records": { "id": "/uuid" },
        "next": { "style": "page_number", "parameter": "page" },
    }));
    let world = World::start(upstream, wrong).await?;
    let job = world.failed(JobMode::Range).await?;
    assert!(cause(&job).contains("goes in circles") && cause(&job).contains("records.id"), "{job:#?}");
    assert_eq!((world.alive().await?, world.upstream.asked().len()), (0, 128));
    world.end().await
}
