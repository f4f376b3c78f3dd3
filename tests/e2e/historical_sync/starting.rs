//! `start-historical-sync`.

use super::agency::{Agency, CANCEL, START, STATUS, calls_of};
use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::job::JobStatus;
use protocol::role::Role;
use serde_json::{Value, json};

#[tokio::test]
async fn a_span_is_taken_as_it_is_given() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let body = json!({ "date_from": "2025-01-01T01:00:00+01:00", "date_to": "2025-02-01T00:00:00Z" });
    let answer = agency.call(START, &body).await?;
    let job = answer.job()?;
    assert_eq!((answer.status, &answer.body), (200, &json!({ "job_id": job, "status": "pending" })));
    let view =
        agency.fixture.store.jobs().get(job, Some(agency.account.tenant)).await?.context("it is there")?;
    assert_eq!(view.connection, agency.account.connection);
    let active = agency.status().await?;
    assert_eq!(active["job"]["date_from"], "2025-01-01T00:00:00Z");
    assert_eq!(active["job"]["date_to"], "2025-02-01T00:00:00Z");
    agency.call(CANCEL, &json!({ "job_id": job })).await?;
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_date_is_taken_in_any_common_form() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (from, to) in [
        ("2025-01-01", "2025-02-01"),
        ("20250101", "20250201T000000Z"),
        ("2025-01-01T00:00", "2025-02-01t00:00:00,000z"),
        ("2025-001", "2025-W05-6"),
        ("2025-01-01 01:00:00.000000+01:00", "2025-01-31T19:00:00-0500"),
    ] {
        let answer = agency.call(START, &json!({ "date_from": from, "date_to": to })).await?;
        let active = agency.status().await?;
        assert_eq!(
            (answer.status, &active["job"]["date_from"], &active["job"]["date_to"]),
            (200, &json!("2025-01-01T00:00:00Z"), &json!("2025-02-01T00:00:00Z")),
            "{from} {to}: {answer:?}"
        );
        agency.call(CANCEL, &json!({ "job_id": answer.job()? })).await?;
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn an_empty_body_means_everything_until_now() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for body in ["", "{}", r#"{"date_from": null}"#] {
        let answer = agency.api.call(START, Some(&agency.ann), body).await?;
        assert_eq!(answer.status, 200, "{body:?}: {answer:?}");
        let active = agency.status().await?;
        assert_eq!((&active["active"], &active["job"]["date_from"]), (&json!(true), &Value::Null));
        let until: DateTime<Utc> = active["job"]["date_to"].as_str().context("a time")?.parse()?;
        assert!((Utc::now() - until).abs() < TimeDelta::minutes(5), "{until}");
        agency.call(CANCEL, &json!({ "job_id": answer.job()? })).await?;
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_body_that_makes_no_sense_starts_nothing() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (body, words) in [
        ("{", "not a JSON object"),
        ("[]", "not a JSON object"),
        ("\"2025-01-01T00:00:00Z\"", "not a JSON object"),
        (r#"{"date_from": "yesterday"}"#, "date_from is not an RFC 3339 time"),
        (r#"{"date_to": "2025-02-30T00:00:00Z"}"#, "date_to is not an RFC 3339 time"),
        (r#"{"date_to": 1735689600}"#, "date_to is not an RFC 3339 time"),
        (r#"{"date_from": "2025-02-01T00:00:00Z", "date_to": "2025-01-01T00:00:00Z"}"#, "must be before"),
        (r#"{"date_from": "2025-02-01T00:00:00Z", "date_to": "2025-02-01T00:00:00Z"}"#, "must be before"),
        (r#"{"date_from": "2999-01-01T00:00:00Z"}"#, "must be before"),
    ] {
        let answer = agency.api.call(START, Some(&agency.ann), body).await?;
        assert_eq!((answer.status, answer.error().contains(words)), (400, true), "{body}: {answer:?}");
    }
    let large = format!("{{\"x\": \"{}\"}}", "x".repeat(300 * 1024));
    let answer = agency.api.call(START, Some(&agency.ann), &large).await?;
    assert_eq!((answer.status, answer.error().contains("larger than")), (413, true), "{answer:?}");
    assert_eq!(agency.status().await?, json!({ "active": false, "recent_job": null }));
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn without_a_designated_connection_it_says_so() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let bare = agency.fixture.store.tenants().create("bare", 16).await?.id;
    // It has a connection, but nobody said that it is the one.
    calls_of(&agency.fixture, bare, "calls").await?;
    let token = agency.user("bea", Some(bare), Role::Member).await?;
    let answer = agency.api.call(START, Some(&token), "{}").await?;
    assert_eq!(
        (answer.status, answer.error().contains("no connection for the historical sync")),
        (400, true)
    );
    let seen = agency.api.call(STATUS, Some(&token), "").await?;
    assert_eq!((seen.status, seen.body), (200, json!({ "active": false, "recent_job": null })));
    let bad = agency.api.call(START, Some(&token), "{").await?;
    assert!(bad.status == 400 && bad.error().contains("JSON object"), "the body comes first: {bad:?}");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn one_job_of_the_connection_at_a_time() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    // A job of another connection of the agency is no obstacle, and is not shown.
    let second = calls_of(&agency.fixture, agency.account.tenant, "second").await?;
    let elsewhere = agency.fixture.accept(second).await?;
    assert_eq!(agency.status().await?, json!({ "active": false, "recent_job": null }));

    let job = agency.start().await?;
    let refused = agency.call(START, &json!({})).await?;
    assert_eq!((refused.status, refused.job()?), (409, job), "pending: {refused:?}");
    agency.hold_page(job).await?;
    agency.fixture.until(job, |view| view.status == JobStatus::Running).await?;
    let refused = agency.call(START, &json!({})).await?;
    assert_eq!((refused.status, refused.job()?), (409, job), "in progress: {refused:?}");

    // Another agency's job is no obstacle either.
    let (_, _, bob) = agency.other().await?;
    let theirs = agency.api.call(START, Some(&bob), "").await?;
    assert_eq!(theirs.status, 200, "{theirs:?}");

    // The fence holds from the cancel on, so a new start is allowed while the page is still held.
    assert_eq!(agency.call(CANCEL, &json!({ "job_id": job })).await?.status, 200);
    let view = agency.fixture.store.jobs().get(job, None).await?.context("it is there")?;
    assert_eq!(view.status, JobStatus::Cancelling);
    let next = agency.start().await?;
    assert_ne!(next, job);

    assert!(agency.fixture.store.jobs().force_cancel(job).await?.is_some());
    for (job, token) in [(next, &agency.ann), (elsewhere, &agency.ann), (theirs.job()?, &bob)] {
        let body = json!({ "job_id": job }).to_string();
        assert_eq!(agency.api.call(CANCEL, Some(token), &body).await?.status, 200);
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_moved_designation_moves_what_is_started_and_seen() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let first = agency.start().await?;
    let connection = calls_of(&agency.fixture, agency.account.tenant, "second").await?;
    agency
        .fixture
        .store
        .connections()
        .designate_for_historical_sync(agency.account.tenant, connection)
        .await?;
    assert_eq!(agency.status().await?, json!({ "active": false, "recent_job": null }));
    let job = agency.start().await?;
    let view = agency.fixture.store.jobs().get(job, None).await?.context("it is there")?;
    assert_eq!(view.connection, connection);
    let told = agency.fixture.store.events().of_job(job).await?;
    assert_eq!(told.first().context("it was accepted")?.data["requested_by"], "ann");
    let flags = agency.fixture.store.connections().list(Some(agency.account.tenant)).await?;
    let flagged: Vec<_> = flags.iter().filter(|connection| connection.historical_sync).collect();
    assert_eq!(flagged.iter().map(|connection| connection.id).collect::<Vec<_>>(), [connection]);
    for job in [first, job] {
        assert_eq!(agency.call(CANCEL, &json!({ "job_id": job })).await?.status, 200);
    }
    agency.fixture.finish([]).await
}
