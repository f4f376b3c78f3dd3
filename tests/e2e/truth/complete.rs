//! Whether a walk is whole: a list that ends early, or says two things, is not called complete.

use super::{World, at, cause, dates, settings, warned};
use anyhow::Result;
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use testkit::scripted::{List, Scripted, page};

fn by_offset(changes: Value) -> Value {
    let mut settings = settings(json!({
        "next": { "style": "offset", "parameter": "offset" },
        "total": "/total",
        "dates": dates(),
    }));
    super::merge(&mut settings, changes);
    settings
}

/// A list of `there` records that names `named`, and ends after `served`.
async fn capped(there: usize, named: usize, served: usize) -> Result<Scripted> {
    let list = List::hourly(there, at("2024-01-01T00:00:00Z"));
    Ok(Scripted::answering(move |asked| {
        let (items, _) = list.part(asked);
        let left = served.saturating_sub(asked.number("offset").unwrap_or_default());
        page(&items[..items.len().min(left)], json!({ "total": named }))
    })
    .await?)
}

#[tokio::test]
async fn a_list_that_ends_far_before_its_total_fails_the_job() -> Result<()> {
    let world = World::start(capped(2500, 2500, 1000).await?, by_offset(json!({}))).await?;
    let job = world.failed(JobMode::Range).await?;
    let cause = cause(&job);
    assert!(cause.contains("named 2500 records and served 1000"), "{cause}");
    assert!(cause.contains("estimate") && cause.contains("unfiltered"), "{cause}");
    assert!(job.percent().is_some_and(|percent| percent < 100), "{job:#?}");
    assert_eq!(job.upstream_total, Some(2500));
    world.end().await
}

#[tokio::test]
async fn a_small_shortfall_is_told_and_holds_back_what_is_known() -> Result<()> {
    let list = List::hourly(1000, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |asked| {
        let hidden = ["r100", "r101", "r102", "r103", "r104"];
        let shown = List::default();
        shown.change(|items| {
            *items = list.between(None, None);
            items.retain(|item| !hidden.contains(&item.id.as_str()));
        });
        page(&shown.part(asked).0, json!({ "total": list.part(asked).1 }))
    })
    .await?;
    let world = World::start(upstream, by_offset(json!({}))).await?;
    let job = world.completed(JobMode::Incremental).await?;
    assert!(warned(&job).contains(&(WarningKind::Shortfall, 5)), "{job:#?}");
    assert_eq!((job.percent(), job.total), (Some(99), Some(1000)));
    // A second job with the same bounds meets it again: it is how this upstream counts.
    let again = world.completed(JobMode::Incremental).await?;
    assert_eq!(again.date_from, None, "nothing is known without a gap");
    assert!(warned(&again).contains(&(WarningKind::ShortfallAccepted, 5)), "{again:#?}");
    assert_eq!((again.percent(), again.total), (Some(99), Some(1000)));
    let third = world.completed(JobMode::Incremental).await?;
    assert!(third.date_from > Some(at("2024-02-10T00:00:00Z")), "{third:#?}");
    // For a deletion it still is a gap.
    let full = world.completed(JobMode::Full).await?;
    assert!(full.deletion_left_out.is_some() && full.counters.deleted == 0, "{full:#?}");
    world.end().await
}

#[tokio::test]
async fn a_total_that_is_called_an_estimate_judges_nothing() -> Result<()> {
    let estimate = by_offset(json!({ "total_is": "estimate" }));
    let world = World::start(capped(2500, 2500, 1000).await?, estimate).await?;
    let job = world.completed(JobMode::Range).await?;
    assert_eq!((job.counters.inserted, warned(&job)), (1000, Vec::new()));
    world.end().await
}

/// The wrong member is followed: the walk ends after a page, though the total says more.
#[tokio::test]
async fn a_next_pointer_that_leads_nowhere_is_found_out_by_the_total() -> Result<()> {
    let list = List::hourly(300, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |asked| {
        let (items, total) = list.part(asked);
        page(&items, json!({ "total": total, "cursor": "more" }))
    })
    .await?;
    let wrong = settings(json!({
        "page_size": { "parameter": "limit", "size": 200 },
        "total": "/total",
        "next": { "style": "cursor", "pointer": "/next", "parameter": "cursor" },
    }));
    let world = World::start(upstream, wrong).await?;
    let job = world.failed(JobMode::Full).await?;
    assert!(cause(&job).contains("named 300 records and served 200"), "{job:#?}");
    assert_eq!(world.records().await?.1.len(), 0);
    world.end().await
}

#[tokio::test]
async fn a_wrong_id_fails_the_job_with_the_first_reason() -> Result<()> {
    let list = List::hourly(303, at("2024-01-01T00:00:00Z"));
    let upstream = Scripted::answering(move |asked| page(&list.part(asked).0, json!({}))).await?;
    let wrong = settings(json!({
        "records": { "id": "/uuid" },
        "next": { "style": "page_number", "parameter": "page" },
    }));
    let world = World::start(upstream, wrong).await?;
    let job = world.failed(JobMode::Range).await?;
    assert!(cause(&job).contains("all 303 records failed") && cause(&job).contains("/uuid"), "{job:#?}");
    assert_eq!(warned(&job), [(WarningKind::Failed, 303)]);
    assert!(job.warnings[0].text.contains("no id at \"/uuid\""), "{job:#?}");
    world.end().await
}

/// A job that failed at its judgement has walked everything: what it lacks cannot be found by going on.
#[tokio::test]
async fn a_job_that_lacks_too_much_is_not_resumed() -> Result<()> {
    let world = World::start(capped(500, 500, 100).await?, by_offset(json!({}))).await?;
    let job = world.failed(JobMode::Range).await?;
    let outcome = world.fixture.store.jobs().resume(job.id, Some(world.tenant), None, |_| None).await?;
    let anew = store::jobs::ResumeOutcome::Anew { status: JobStatus::Failed };
    assert_eq!(outcome, anew);
    world.end().await
}
