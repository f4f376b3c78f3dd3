//! What a full sync may delete: only what is proved gone.

use super::{World, at, cause, dates, settings, warned};
use anyhow::Result;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use chrono::TimeDelta;
use protocol::command::StartCommand;
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use testkit::scripted::{Item, List, Scripted, page};

/// By cursors that name the last record, so that nothing moves under a walk.
fn by_cursor(changes: Value) -> Value {
    let mut settings = settings(json!({
        "next": { "style": "cursor", "pointer": "/next", "parameter": "after" },
        "confirm_after": 0,
    }));
    super::merge(&mut settings, changes);
    settings
}

fn after(list: &List, asked: &testkit::scripted::Asked) -> axum::Json<Value> {
    let all = list.between(asked.time("from"), asked.time("to"));
    let begin = asked
        .query
        .get("after")
        .map_or(0, |last| all.iter().position(|item| item.id > *last).unwrap_or(all.len()));
    let part: Vec<_> = all.iter().skip(begin).take(100).cloned().collect();
    let next = if begin + part.len() < all.len() { part.last().map(|last| last.id.clone()) } else { None };
    page(&part, json!({ "next": next }))
}

async fn serve(list: &List) -> Result<Scripted> {
    let list = list.clone();
    Ok(Scripted::answering(move |asked| after(&list, asked)).await?)
}

fn ids(ids: &[&str]) -> BTreeSet<String> {
    ids.iter().map(|id| (*id).to_owned()).collect()
}

/// By default it takes two passes; whatever is met in between is no longer suspected.
#[tokio::test]
async fn what_two_passes_do_not_meet_is_deleted() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let world = World::start(serve(&list).await?, by_cursor(json!({}))).await?;
    world.completed(JobMode::Full).await?;
    let (gone, hidden) = list.change(|items| (items.remove(10), items.remove(20)));
    let first = world.completed(JobMode::Full).await?;
    assert_eq!((first.counters.deleted, warned(&first)), (0, vec![(WarningKind::Suspected, 2)]));
    list.change(|items| items.insert(20, hidden));
    let second = world.completed(JobMode::Full).await?;
    assert_eq!((second.counters.deleted, warned(&second)), (1, Vec::new()));
    assert_eq!(world.records().await?.1, ids(&[&gone.id]));
    world.end().await
}

#[tokio::test]
async fn one_pass_is_enough_where_the_settings_say_so() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let at_once = by_cursor(json!({ "delete_at_once": true }));
    let world = World::start(serve(&list).await?, at_once).await?;
    world.completed(JobMode::Full).await?;
    let gone = list.change(|items| items.remove(10));
    assert_eq!(world.completed(JobMode::Full).await?.counters.deleted, 1);
    assert_eq!(world.records().await?.1, ids(&[&gone.id]));
    world.end().await
}

/// Beyond the oldest and the newest record that a pass met, its silence says nothing.
#[tokio::test]
async fn what_lies_outside_of_what_was_met_stays() -> Result<()> {
    let list = List::hourly(150, at("2024-01-01T00:00:00Z"));
    let at_once = by_cursor(json!({ "delete_at_once": true }));
    let world = World::start(serve(&list).await?, at_once).await?;
    world.completed(JobMode::Full).await?;
    // A window: the upstream shows no more than the newest hundred.
    list.change(|items| items.drain(..50).for_each(drop));
    let job = world.completed(JobMode::Full).await?;
    assert_eq!((job.counters.deleted, warned(&job)), (0, vec![(WarningKind::OutsideMet, 50)]));
    assert_eq!(world.alive().await?, 150);
    world.end().await
}

/// A cap cuts among records of one time: the newest that it shows is not the only one that is as new.
#[tokio::test]
async fn what_is_as_new_as_the_newest_that_was_met_stays() -> Result<()> {
    let list = List::hourly(10, at("2024-01-01T00:00:00Z"));
    list.change(|items| items.iter_mut().skip(5).for_each(|item| item.time = at("2024-01-02T00:00:00Z")));
    let served = list.clone();
    let upstream =
        Scripted::answering(move |_asked| page(&served.between(None, None)[..10], json!({ "next": null })))
            .await?;
    let world = World::start(upstream, by_cursor(json!({}))).await?;
    world.completed(JobMode::Full).await?;
    // One that is older appears, and the last one falls behind the cap.
    list.change(|items| {
        let late = Item { id: "late".to_owned(), time: at("2024-01-01T00:30:00Z"), text: "late".to_owned() };
        items.insert(1, late);
    });
    for _pass in 0..3 {
        let job = world.completed(JobMode::Full).await?;
        assert_eq!((job.counters.deleted, warned(&job)), (0, vec![(WarningKind::OutsideMet, 1)]));
    }
    assert_eq!(world.alive().await?, 11);
    world.end().await
}

/// Page numbers: record 5 disappears after page 1, so that 101 slips to it.
#[tokio::test]
async fn a_record_that_slips_to_a_page_that_was_read_lives() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let (served, moves) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let moving = Arc::clone(&moves);
    let upstream = Scripted::answering(move |asked| {
        if asked.number("page") == Some(2) && moving.swap(false, Ordering::SeqCst) {
            served.change(|items| items.remove(4));
        }
        page(&served.part(asked).0, json!({}))
    })
    .await?;
    let numbered =
        settings(json!({ "next": { "style": "page_number", "parameter": "page" }, "confirm_after": 0 }));
    let world = World::start(upstream, numbered).await?;
    world.completed(JobMode::Full).await?;
    for _ in 0..2 {
        moves.store(true, Ordering::SeqCst);
        world.completed(JobMode::Full).await?;
        assert_eq!(world.records().await?.1, BTreeSet::new());
    }
    world.end().await
}

/// Page numbers: what two passes lack that read the very same pages is gone.
#[tokio::test]
async fn what_two_passes_over_the_same_pages_lack_is_deleted() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let served = list.clone();
    let upstream = Scripted::answering(move |asked| page(&served.part(asked).0, json!({}))).await?;
    let numbered =
        settings(json!({ "next": { "style": "page_number", "parameter": "page" }, "confirm_after": 0 }));
    let world = World::start(upstream, numbered).await?;
    world.completed(JobMode::Full).await?;
    let gone = list.change(|items| items.remove(10));
    let first = world.completed(JobMode::Full).await?;
    assert_eq!(warned(&first), [(WarningKind::Suspected, 1)]);
    // Another one is gone: its pages are others, and show that the list moves.
    let other = list.change(|items| items.remove(120));
    let second = world.completed(JobMode::Full).await?;
    assert_eq!((second.counters.deleted, warned(&second)), (0, vec![(WarningKind::Suspected, 2)]));
    let third = world.completed(JobMode::Full).await?;
    assert_eq!((third.counters.deleted, warned(&third)), (2, Vec::new()));
    assert_eq!(world.records().await?.1, ids(&[&gone.id, &other.id]));
    world.end().await
}

/// A document job meets a record after the second pass has found it missing twice, and before it is marked.
#[tokio::test]
async fn what_was_met_between_the_comparison_and_the_deletion_lives() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let world = World::start(serve(&list).await?, by_cursor(json!({}))).await?;
    world.completed(JobMode::Full).await?;
    let (gone, met) = list.change(|items| (items.remove(10), items.remove(20)));
    world.completed(JobMode::Full).await?;
    // It was asked for before the pass began, so that only the cleared suspicion tells.
    assert_eq!(met.id, "r022");
    sqlx::raw_sql(
        "create function meet() returns trigger language plpgsql as $$ begin
             update records set suspected_by = null where external_id = 'r022';
             return new;
         end $$;
         create trigger meet before insert on slices for each row when (new.kind = 'deletion') execute function meet()",
    )
    .execute(&world.fixture.database.pool)
    .await?;
    let second = world.completed(JobMode::Full).await?;
    assert_eq!((second.counters.deleted, world.records().await?.1), (1, ids(&[&gone.id])));
    world.end().await
}

/// An unstable order: record 100 on two pages, 101 on none.
#[tokio::test]
async fn an_unstable_order_deletes_nothing_and_is_told() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let (served, unstable) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let shaky = Arc::clone(&unstable);
    let upstream = Scripted::answering(move |asked| {
        let (mut items, _) = served.part(asked);
        if asked.number("page") == Some(2) && shaky.load(Ordering::SeqCst) {
            items.remove(0);
            items.insert(5, served.between(None, None)[98].clone());
        }
        page(&items, json!({}))
    })
    .await?;
    let numbered =
        settings(json!({ "next": { "style": "page_number", "parameter": "page" }, "confirm_after": 0 }));
    let world = World::start(upstream, numbered).await?;
    world.completed(JobMode::Full).await?;
    unstable.store(true, Ordering::SeqCst);
    let job = world.completed(JobMode::Full).await?;
    assert_eq!(warned(&job), [(WarningKind::Repeated, 1)]);
    assert!(job.deletion_left_out.is_some(), "{job:#?}");
    assert_eq!(world.alive().await?, 250);
    world.end().await
}

/// 200 with an empty list is no proof.
#[tokio::test]
async fn an_empty_answer_for_a_full_month_is_refused() -> Result<()> {
    let list = List::hourly(1000, at("2024-02-20T00:00:00Z"));
    let (served, empty) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let silent = Arc::clone(&empty);
    let upstream = Scripted::answering(move |asked| {
        if silent.load(Ordering::SeqCst) { page(&[], json!({ "next": null })) } else { after(&served, asked) }
    })
    .await?;
    let world = World::start(upstream, by_cursor(json!({ "dates": dates() }))).await?;
    world.completed(JobMode::Full).await?;
    empty.store(true, Ordering::SeqCst);
    let march = StartCommand {
        date_from: Some(at("2024-03-01T00:00:00Z")),
        date_to: Some(at("2024-04-01T00:00:00Z")),
        ..world.command(JobMode::Full)
    };
    let job = world.job(march, JobStatus::Failed).await?;
    assert!(cause(&job).contains("deleting more than half"), "{job:#?}");
    assert_eq!(world.alive().await?, 1000);
    world.end().await
}

/// Capped at 1,000 of 2,000: nothing is deleted.
#[tokio::test]
async fn a_list_that_is_cut_off_deletes_nothing() -> Result<()> {
    let list = List::hourly(2000, at("2024-01-01T00:00:00Z"));
    let (served, capped) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let cut = Arc::clone(&capped);
    let upstream = Scripted::answering(move |asked| {
        let (items, total) = served.part(asked);
        let over = cut.load(Ordering::SeqCst) && asked.number("offset").unwrap_or_default() >= 1000;
        page(if over { &[] } else { &items }, json!({ "total": total }))
    })
    .await?;
    let offset = settings(json!({ "next": { "style": "offset", "parameter": "offset" }, "total": "/total" }));
    let world = World::start(upstream, offset).await?;
    world.completed(JobMode::Full).await?;
    capped.store(true, Ordering::SeqCst);
    world.failed(JobMode::Full).await?;
    assert_eq!(world.alive().await?, 2000);
    world.end().await
}

/// Times are those of the last change: a record that is touched while the list is read lives.
#[tokio::test]
async fn a_record_that_is_touched_during_a_full_sync_lives() -> Result<()> {
    let list = List::hourly(250, at("2024-01-01T00:00:00Z"));
    let (served, touch) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let touches = Arc::clone(&touch);
    let upstream = Scripted::answering(move |asked| {
        if asked.query.contains_key("after") && touches.swap(false, Ordering::SeqCst) {
            served.change(|items| {
                let mut touched = items.remove(149);
                touched.time = chrono::Utc::now() + TimeDelta::seconds(5);
                items.push(touched);
            });
        }
        // By position, since the order is that of the last change.
        let all = served.between(asked.time("from"), asked.time("to"));
        let begin = asked.number("after").unwrap_or_default();
        let part: Vec<_> = all.iter().skip(begin).take(100).cloned().collect();
        let next = (begin + part.len() < all.len()).then(|| (begin + part.len()).to_string());
        page(&part, json!({ "next": next }))
    })
    .await?;
    let updated = by_cursor(json!({
        "records": { "time_is": "updated" }, "dates": dates(), "delete_at_once": true
    }));
    let world = World::start(upstream, updated).await?;
    world.completed(JobMode::Full).await?;
    touch.store(true, Ordering::SeqCst);
    world.completed(JobMode::Full).await?;
    assert!(!world.records().await?.1.contains("r150"));
    world.end().await
}

/// Where records can be fetched by their ids, the id's answer decides, beside ids that are there.
#[tokio::test]
async fn an_ids_answer_confirms_a_deletion() -> Result<()> {
    let list = List::hourly(150, at("2024-01-01T00:00:00Z"));
    let (served, moved) = (list.clone(), Arc::new(AtomicBool::new(false)));
    let all_404 = Arc::clone(&moved);
    let hidden = list.between(None, None)[7].clone();
    let still_there = hidden.clone();
    let upstream = Scripted::answering(move |asked| -> Response {
        let Some(id) = asked.path.strip_prefix("/items/") else {
            return after(&served, asked).into_response();
        };
        let found = served.between(None, None).into_iter().find(|item| item.id == id);
        let found = found.or_else(|| (still_there.id == id).then(|| still_there.clone()));
        match found.filter(|_| !all_404.load(Ordering::SeqCst)) {
            Some(item) => axum::Json(item.json()).into_response(),
            None => StatusCode::NOT_FOUND.into_response(),
        }
    })
    .await?;
    let item = by_cursor(json!({ "item": { "path": "/items/{id}" } }));
    let world = World::start(upstream, item).await?;
    world.completed(JobMode::Full).await?;
    // One is gone, another one is only not listed.
    let gone = list.change(|items| {
        items.retain(|item| item.id != hidden.id);
        items.remove(99)
    });
    moved.store(true, Ordering::SeqCst);
    let job = world.completed(JobMode::Full).await?;
    assert_eq!((job.counters.deleted, warned(&job)), (0, vec![(WarningKind::Unconfirmed, 2)]));
    moved.store(false, Ordering::SeqCst);
    let job = world.completed(JobMode::Full).await?;
    assert_eq!((job.counters.deleted, warned(&job)), (1, vec![(WarningKind::Unconfirmed, 1)]));
    assert_eq!(world.records().await?.1, ids(&[&gone.id]));
    world.end().await
}
