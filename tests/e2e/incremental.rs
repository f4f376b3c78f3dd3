//! Incremental jobs: they begin where everything before is known, whatever was cancelled or not importable, and what they
//! pull can be read as calls.

use anyhow::{Context, Result};
use chrono::TimeDelta;
use protocol::command::StartCommand;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobMode, JobStatus};
use serde_json::json;
use sqlx::Row;
use store::jobs::JobView;
use testkit::fixture::Fixture;

fn incremental(connection: ConnectionId) -> StartCommand {
    StartCommand { mode: JobMode::Incremental, ..Fixture::start_command(connection, JobId::random()) }
}

async fn completed(fixture: &Fixture, command: StartCommand) -> Result<JobView> {
    fixture.publish_start_command(&command).await?;
    fixture.until_over(command.job_id.context("chosen here")?, JobStatus::Completed).await
}

#[tokio::test]
async fn an_ended_call_is_picked_up_and_a_changed_one_updated() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({ "overlap_hours": 1 })).await?;
    let consumer = fixture.consumer().await?;
    let created = |ordinal| fixture.upstream.created("acme", ordinal).context("the call is there");
    fixture.upstream.set_running("acme", 40, true);

    let first = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(first.date_from, None, "nothing is known yet");
    assert_eq!((first.counters.inserted, first.counters.deferred), (59, 1));

    // Still running: it is asked for by its id, and holds nothing back.
    let second = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(second.date_from, Some(created(59)? - TimeDelta::hours(1)));
    assert_eq!((second.counters.imported(), second.counters.deferred), (0, 1));
    assert!(second.counters.unchanged < 30, "{second:#?}");

    fixture.upstream.set_running("acme", 40, false);
    fixture.upstream.edit("acme", 59);
    let newest = fixture.upstream.add("acme", created(59)? + TimeDelta::minutes(10));
    let third = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(third.date_from, second.date_from);
    assert_eq!((third.counters.inserted, third.counters.updated, third.counters.deferred), (2, 1, 0));
    fixture.exact(account, "acme").await?;

    let fourth = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(fourth.date_from, Some(created(newest)? - TimeDelta::hours(1)));
    assert_eq!(fourth.counters.imported(), 0);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn what_a_cancelled_job_or_a_later_range_left_out_is_not_skipped() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({ "overlap_hours": 1 })).await?;
    let consumer = fixture.consumer().await?;
    let created = |ordinal| fixture.upstream.created("acme", ordinal).context("the call is there");

    // A range knows nothing of what is before it.
    let range = |from, to| StartCommand {
        mode: JobMode::Range,
        date_from: Some(from),
        date_to: to,
        ..incremental(account.connection)
    };
    let oldest = range(created(0)?, Some(created(10)?));
    assert_eq!(completed(&fixture, oldest).await?.counters.inserted, 10);

    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let cut = incremental(account.connection);
    fixture.publish_start_command(&cut).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let cut = cut.job_id.context("chosen here")?;
    fixture.publish_cancel(cut, "enough").await?;
    let view = fixture.until_over(cut, JobStatus::Cancelled).await?;
    assert_eq!((view.date_from, view.counters.processed()), (None, 10));
    fixture.upstream.release();

    let whole = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(whole.date_from, None);
    assert_eq!((whole.counters.inserted, whole.counters.unchanged), (40, 20));
    fixture.exact(account, "acme").await?;

    // A range that begins within what is known moves its end, and one that lies before it does not.
    let newest = fixture.upstream.add("acme", created(59)? + TimeDelta::days(3));
    assert_eq!(completed(&fixture, range(created(30)?, None)).await?.counters.inserted, 1);
    completed(&fixture, range(created(3)?, Some(created(9)?))).await?;
    let last = completed(&fixture, incremental(account.connection)).await?;
    assert_eq!(last.date_from, Some(created(newest)? - TimeDelta::hours(1)));
    assert_eq!(last.counters.processed(), 1);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn calls_are_typed_and_an_odd_one_hides_nothing() -> Result<()> {
    let fixture = Fixture::with_calls(20).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let known = json!({
        "callId": "known", "created": "2025-01-01T00:00:01.000002Z", "joined": "2025-01-01T00:00:02Z",
        "ended": "2025-01-01T00:01:03+00:00", "endReason": "hangup", "billedDuration": "62s",
        "billingStatus": "BILLING_STATUS_BILLED", "agent": { "agentId": "a-1", "name": "Reception" },
        "shortSummary": "short", "summary": "long", "medium": { "twilio": { "outgoing": null } },
        "model": "m", "voice": "Mark", "languageHint": "de-DE", "recordingEnabled": true, "metadata": { "k": "v" },
    });
    let odd = json!({
        "callId": "odd", "created": "2025-01-01T00:00:01Z", "joined": "2025-02-30T00:00:00Z", "ended": "soon",
        "endReason": "NEVER_HEARD_OF", "billedDuration": "1 fortnight", "agent": "nobody", "medium": [1],
        "recordingEnabled": "yes", "metadata": 7,
    });
    fixture.upstream.set_raw("acme", 3, &known.to_string());
    fixture.upstream.set_raw("acme", 4, &odd.to_string());
    completed(&fixture, incremental(account.connection)).await?;

    let all: i64 =
        sqlx::query_scalar("select count(created) from calls").fetch_one(&fixture.database.pool).await?;
    assert_eq!(all, 20);
    let rows = sqlx::query(
        "select to_jsonb(c) - 'payload' as call from calls c where call_id in ('known', 'odd') order by call_id",
    )
    .fetch_all(&fixture.database.pool)
    .await?;
    let calls: Vec<serde_json::Value> =
        rows.iter().map(|row| row.try_get("call")).collect::<Result<_, _>>()?;
    let (known, odd) = (&calls[0], &calls[1]);
    for (column, value) in [
        ("created", json!("2025-01-01T00:00:01.000002+00:00")),
        ("joined", json!("2025-01-01T00:00:02+00:00")),
        ("ended", json!("2025-01-01T00:01:03+00:00")),
        ("end_reason", json!("hangup")),
        ("billed_duration", json!("00:01:02")),
        ("billing_status", json!("BILLING_STATUS_BILLED")),
        ("agent_id", json!("a-1")),
        ("agent_name", json!("Reception")),
        ("short_summary", json!("short")),
        ("summary", json!("long")),
        ("medium", json!("twilio")),
        ("model", json!("m")),
        ("voice", json!("Mark")),
        ("language_hint", json!("de-DE")),
        ("recording_enabled", json!(true)),
        ("metadata", json!({ "k": "v" })),
        ("tenant_id", json!(account.tenant)),
        ("revision", json!(1)),
    ] {
        assert_eq!(known[column], value, "{column}");
    }
    for column in ["joined", "ended", "billed_duration", "agent_id", "medium", "recording_enabled"] {
        assert!(odd[column].is_null(), "{column}: {}", odd[column]);
    }
    assert_eq!((&odd["end_reason"], &odd["metadata"]), (&json!("NEVER_HEARD_OF"), &json!(7)));
    fixture.finish([consumer]).await
}
