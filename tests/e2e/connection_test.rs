//! `backhaul admin connection test`: one page is shown as it is understood, the upstream's habits are examined, and nothing is
//! stored.

use anyhow::Result;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::collections::HashMap;
use store::limits::ConnectionLimits;
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::Fixture;
use testkit::sample_upstream::Answer;
use testkit::scripted::{List, Scripted, page};

const TEST: [&str; 3] = ["admin", "connection", "test"];

async fn test(environment: &HashMap<String, String>, more: &[&str]) -> Result<Ran> {
    backhaul(environment, &[&TEST, more].concat()).await
}

/// The calls of the sample upstream, read by settings.
fn settings() -> Value {
    json!({
        "path": "/api/calls",
        "page_size": {"parameter": "pageSize", "size": 5},
        "records": {"pointer": "/results", "id": "/callId", "time": "/created", "deferred_when_null": "/ended"},
        "next": {"style": "next_url", "pointer": "/next"},
        "total": "/total",
        "auth": {"header": "X-API-Key", "value": "{api_key}"},
    })
}

#[tokio::test]
async fn a_stored_connection_shows_one_page_and_stores_nothing() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    fixture.account("acme", json!({})).await?;
    let newest = 24;
    fixture.upstream.set_running("acme", newest, true);
    fixture.upstream.set_raw("acme", newest - 1, r#"{"callId": 7, "created": "yesterday"}"#);
    let environment = fixture.environment();

    let seen = test(&environment, &["acme", "--tenant", "acme", "--json", "--quick"]).await?;
    assert_eq!(seen.code, Some(0), "{}", seen.stderr);
    assert!(!seen.stdout.contains(fixture.upstream.key("acme")), "{}", seen.stdout);
    let seen = seen.json()?;
    assert_eq!(
        (&seen["requests"][0]["status"], seen["requests"].as_array().map(Vec::len)),
        (&json!(200), Some(1))
    );
    let url = seen["requests"][0]["url"].as_str().unwrap_or_default();
    assert!(url.contains("/api/calls?pageSize=10&toDate="), "{url}");
    let page = &seen["page"];
    assert_eq!((&page["stored"], &page["deferred"], &page["failed"]), (&json!(8), &json!(1), &json!(1)));
    assert_eq!((&page["dropped"], &page["total"]), (&json!(0), &json!(25)));
    let first = &page["records"][0];
    assert_eq!(
        (&first["id"], &first["would_be"]),
        (&json!(fixture.upstream.id("acme", newest)), &json!("deferred"))
    );
    let reason = page["records"][1]["reason"].as_str().unwrap_or_default();
    assert!(reason.contains("\"yesterday\" at \"/created\" cannot be read as a time"), "{reason}");
    assert_eq!(page["records"].as_array().map(Vec::len), Some(5));
    assert!(seen["advice"].to_string().contains("1 of 10 records would be counted as failed"), "{seen}");

    // The next page is the checkpoint that it is shown as.
    let next = page["next"].as_str().unwrap_or_default().to_owned();
    let second = test(&environment, &["acme", "--tenant", "acme", "--cursor", &next]).await?;
    assert_eq!(second.code, Some(0), "{}", second.stderr);
    for part in [
        "✓ 10 records: 10 would be stored, 0 deferred, 0 failed; 0 dropped",
        "total 25",
        "next page: /api/calls?",
        "\n1 request in ",
    ] {
        assert!(second.stdout.contains(part), "{part} is not in:\n{}", second.stdout);
    }
    fixture.until_sql("select not exists (select from jobs) and not exists (select from records)").await?;
    fixture.finish([]).await
}

/// Calls of which none can be read, and of which some can.
#[tokio::test]
async fn records_that_fail_are_no_success() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let (url, key) =
        (fixture.upstream.base_url(), json!({"api_key": fixture.upstream.key("acme")}).to_string());
    let mut wrong = settings();
    wrong["records"]["id"] = json!("/id");
    let wrong = wrong.to_string();
    let arguments = ["--source", "paged_json", "--base-url", &url, "--credentials", &key, "--settings"];
    let none = test(&fixture.environment(), &[arguments.as_slice(), &[&wrong]].concat()).await?;
    assert_eq!(none.code, Some(1), "{}", none.stdout);
    for part in [
        "✗ 5 records: 0 would be stored, 0 deferred, 5 failed",
        "    5 × the record has no id at \"/id\"",
        "! 5 of 5 records would be counted as failed",
    ] {
        assert!(none.stdout.contains(part) && !none.stdout.contains('✓'), "{part}: {}", none.stdout);
    }
    fixture.upstream.set_raw("acme", 24, r#"{"callId": 7, "created": "yesterday"}"#);
    let right = settings().to_string();
    let some = test(&fixture.environment(), &[arguments.as_slice(), &[&right]].concat()).await?;
    assert_eq!(some.code, Some(0), "{}", some.stdout);
    for part in ["! 5 records: 4 would be stored, 0 deferred, 1 failed", "    1 × \"yesterday\" at"] {
        assert!(some.stdout.contains(part), "{part}: {}", some.stdout);
    }
    fixture.finish([]).await
}

/// An upstream with habits, of which one is mended after the other by what the test proposes.
#[tokio::test]
async fn what_is_learned_comes_with_the_settings_to_use() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    fixture.store.tenants().create("acme", 16).await?;
    let list = List::hourly(60, "2026-01-01T00:00:00Z".parse()?);
    let upstream = Scripted::answering(move |asked| {
        let (mut part, _) = list.part(asked);
        part.truncate(20);
        let all = list.between(None, None).len();
        if part.is_empty() {
            StatusCode::NOT_FOUND.into_response()
        } else {
            page(&part, json!({"total": all})).into_response()
        }
    })
    .await?;
    let settings = json!({
        "path": "/list",
        "page_size": {"parameter": "limit", "size": 50},
        "records": {"pointer": "/data", "id": "/id", "time": "/created_at"},
        "next": {"style": "offset", "parameter": "offset"},
        "total": "/total",
        "dates": {"parameters": [{"name": "from", "value": "{from}"}, {"name": "to", "value": "{to}"}], "start": null},
    })
    .to_string();
    let mut arguments = vec!["--source", "paged_json", "--base-url", &upstream.url, "--settings", &settings];
    let environment = fixture.environment();
    let seen = test(&environment, &[arguments.as_slice(), &["--json"]].concat()).await?.json()?;
    let kinds: Vec<_> =
        seen["findings"].as_array().into_iter().flatten().map(|found| &found["kind"]).collect();
    assert_eq!(kinds, ["total_unfiltered", "page_size_clamped", "end_refused"], "{seen}");
    let patch = json!({"total_is": "unfiltered", "page_size": {"size": 20}, "next": {"end_status": [404]}});
    assert_eq!((&seen["patch"], &seen["settings"]["page_size"]["size"]), (&patch, &json!(20)));
    let sent = upstream.asked().len();
    assert!(sent <= 12 && seen["sent"] == json!(sent), "{sent}: {seen}");

    let text = test(&environment, &arguments).await?;
    for part in [
        " 1  the first page: GET http://127.0.0.1:",
        ": 20 records, total 60",
        "• the total ignores the lower bound\n    asked     the list without a lower bound, and from",
        "    settings  {\"total_is\":\"unfiltered\"}",
        "All settings together, as a merge patch (try it with --patch):",
        &patch.to_string(),
        "nothing was stored",
    ] {
        assert!(text.stdout.contains(part), "{part} is not in:\n{}", text.stdout);
    }
    let patch = patch.to_string();
    arguments.extend(["--patch", &patch, "--json"]);
    let mended = test(&environment, &arguments).await?.json()?;
    assert_eq!((&mended["findings"], &mended["patch"]), (&json!([]), &Value::Null), "{mended}");
    fixture.finish([]).await
}

#[tokio::test]
async fn the_limits_of_a_stored_connection_are_kept() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let environment = fixture.environment();
    let limits = ConnectionLimits { requests_per_second: Some(0.001), pages_in_flight: None };
    assert!(fixture.store.connections().set_limits(account.tenant, account.connection, limits).await?);
    let stored = ["acme", "--tenant", "acme", "--json"];
    // One request in a quarter of an hour.
    let seen = test(&environment, &stored).await?;
    assert_eq!(seen.code, Some(0), "{}", seen.stdout);
    let seen = seen.json()?;
    assert_eq!((&seen["sent"], &seen["page"]["stored"]), (&json!(1), &json!(10)), "{seen}");
    assert!(
        seen["stopped"].as_str().is_some_and(|why| why.contains("limit of requests per second")),
        "{seen}"
    );

    fixture
        .database
        .execute("update connections set requests_per_second = null, paused_until = now() + interval '1 h'")
        .await?;
    let rests = test(&environment, &stored).await?;
    assert_eq!(rests.code, Some(1), "{}", rests.stdout);
    let rests = rests.json()?;
    assert_eq!(&rests["sent"], &json!(0), "{rests}");
    assert!(
        rests["error"]["cause"].as_str().is_some_and(|why| why.contains("asked to be left alone")),
        "{rests}"
    );
    fixture.finish([]).await
}

/// What is known in the stored settings' scope is told before it is lost.
#[tokio::test]
async fn settings_of_another_scope_are_told_to_know_nothing() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let environment = fixture.environment();
    let stored = ["acme", "--tenant", "acme", "--quick", "--json"];
    let sorted = [stored.as_slice(), &["--patch", r#"{"sort": "created"}"#]].concat();
    // Nothing is known yet, so nothing is lost.
    assert_eq!(test(&environment, &sorted).await?.json()?["scope"], Value::Null);
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(test(&environment, &stored).await?.json()?["scope"], Value::Null);
    let smaller = [stored.as_slice(), &["--patch", r#"{"page_size": 5}"#]].concat();
    assert_eq!(test(&environment, &smaller).await?.json()?["scope"], Value::Null);
    let lost = test(&environment, &sorted).await?.json()?;
    assert!(
        lost["scope"]["known_to"].as_str().is_some_and(|to| to.starts_with("2025-01-01T04:08")),
        "{lost}"
    );
    let text = test(&environment, &[&sorted[..4], &sorted[5..]].concat()).await?;
    assert!(text.stdout.contains("The next incremental job would read everything"), "{}", text.stdout);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn what_lies_outside_the_span_is_named() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    fixture.account("acme", json!({})).await?;
    // A call every ten minutes since 2025-01-01; whole days are asked for.
    let span = ["--from", "2025-01-01T01:00:00Z", "--to", "2025-01-01T02:00:00Z", "--show", "2"];
    let arguments = [["acme", "--tenant", "acme", "--json"].as_slice(), &span].concat();
    let last = test(&fixture.environment(), &arguments).await?.json()?;
    let page = &last["page"];
    assert_eq!(page["outside"].as_array().map(Vec::len), Some(2), "{page}");
    assert_eq!(page["outside"][0]["id"], json!(fixture.upstream.id("acme", 24)));
    assert_eq!((&page["dropped"], &page["stored"]), (&json!(10), &json!(0)));
    assert!(last["advice"].to_string().contains("every record lies outside the span"), "{last}");
    fixture.finish([]).await
}

#[tokio::test]
async fn what_is_only_described_needs_no_database_and_mistakes_are_explained() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let mut environment = fixture.environment();
    environment.retain(|name, _| !name.contains("DATABASE__"));
    let (url, key) =
        (fixture.upstream.base_url(), json!({"api_key": fixture.upstream.key("acme")}).to_string());
    let described = async |settings: Value, credentials: &str, more: &[&str]| {
        let settings = settings.to_string();
        let arguments = ["--source", "paged_json", "--base-url", &url, "--settings", &settings];
        let credentials = ["--credentials", credentials];
        test(&environment, &[arguments.as_slice(), &credentials, more].concat()).await
    };
    let read = described(settings(), &key, &["--json"]).await?;
    assert_eq!((read.code, &read.json()?["page"]["stored"]), (Some(0), &json!(5)), "{}", read.stderr);

    let with = |pointer: &str, value: Value| {
        let mut changed = settings();
        if let Some(place) = changed.pointer_mut(pointer) {
            *place = value;
        }
        changed
    };
    for (settings, credentials, parts) in [
        (
            with("/records/pointer", json!("/calls")),
            key.as_str(),
            ["✗ unreadable body", "where are the records"],
        ),
        (with("/path", json!("/api/call")), &key, ["404, after", "check the base URL and the path"]),
        (settings(), r#"{"api_key": "s3cret-and-wrong"}"#, ["✗ the upstream answered 401", "check them"]),
    ] {
        let ran = described(settings, credentials, &[]).await?;
        assert_eq!(ran.code, Some(1), "{}", ran.stderr);
        assert!(parts.iter().all(|part| ran.stdout.contains(part)), "{parts:?}: {}", ran.stdout);
        assert!(!ran.stdout.contains("s3cret"), "{}", ran.stdout);
    }
    fixture.upstream.script(|_| true, Answer::status(503));
    let later = described(settings(), &key, &["--json"]).await?;
    assert_eq!((later.code, &later.json()?["error"]["kind"]), (Some(1), &json!("transient")));

    for (settings, part) in [
        (with("/records/time", json!("created")), "records.time: \"created\" is not a JSON pointer"),
        (with("/next", json!({"style": "pages"})), "next: unknown variant `pages`"),
        (
            with("/records", json!({"pointer": "", "id": "/id", "tme": "/t"})),
            "records.tme: unknown field `tme`",
        ),
    ] {
        let ran = described(settings, &key, &[]).await?;
        assert!(ran.code == Some(2) && ran.stderr.contains(part), "{part}: {}", ran.stderr);
    }
    for mistake in
        [["--source", "paged_json"].as_slice(), &["acme"], &["--source", "xml", "--base-url", "http://x"]]
    {
        assert_eq!(test(&environment, mistake).await?.code, Some(2), "{mistake:?}");
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn a_connection_that_its_source_cannot_work_with_is_not_stored() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    fixture.store.tenants().create("acme", 16).await?;
    let put = async |settings: &str, credentials: &str| {
        let mut arguments = vec!["admin", "connection", "put", "--tenant", "acme", "--name", "calls"];
        arguments.extend([
            "--source",
            "ultravox",
            "--base-url",
            "https://api.example",
            "--settings",
            settings,
        ]);
        arguments.extend(["--credentials", credentials]);
        backhaul(&fixture.environment(), &arguments).await
    };
    for (settings, credentials, part) in [
        (r#"{"page_sise": 10}"#, r#"{"api_key": "s3cret"}"#, "unknown field `page_sise`"),
        (r#"{"slice_days": 0}"#, r#"{"api_key": "s3cret"}"#, "slicing: days must be at least 1"),
        ("{}", r#"{"apikey": "s3cret"}"#, "\"api_key\" must be a text"),
    ] {
        let ran = put(settings, credentials).await?;
        assert_eq!(ran.code, Some(2), "{}", ran.stderr);
        for part in [part, "Nothing was stored", "backhaul admin connection test"] {
            assert!(ran.stderr.contains(part) && !ran.stderr.contains("s3cret"), "{part}: {}", ran.stderr);
        }
    }
    assert_eq!(fixture.store.connections().list(None).await?.len(), 0);
    assert_eq!(put("{}", r#"{"api_key": "s3cret"}"#).await?.code, Some(0));
    fixture.finish([]).await
}
