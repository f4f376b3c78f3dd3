//! What can never be applied goes to the dead-letter queue at its first delivery, and says why; what is queued behind it
//! flows.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use chrono::{DateTime, TimeDelta, Utc};
use lapin::BasicProperties;
use lapin::options::BasicPublishOptions;
use lapin::types::{AMQPValue, FieldTable};
use protocol::contract::header;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::listener::Listener;

/// A message that can never be applied.
struct Poison {
    what: &'static str,
    destination: Destination,
    kind: &'static str,
    body: Vec<u8>,
    reason: &'static str,
    detail: String,
}

fn start(what: &'static str, body: impl Into<Vec<u8>>, reason: &'static str, detail: &str) -> Poison {
    let detail = detail.to_owned();
    Poison {
        what,
        destination: Destination::StartCommand,
        kind: "sync.start",
        body: body.into(),
        reason,
        detail,
    }
}

fn cancel(what: &'static str, body: impl Into<Vec<u8>>, reason: &'static str, detail: &str) -> Poison {
    let detail = detail.to_owned();
    Poison {
        what,
        destination: Destination::CancelCommand,
        kind: "sync.cancel",
        body: body.into(),
        reason,
        detail,
    }
}

fn page(what: &'static str, body: impl Into<Vec<u8>>, detail: &str) -> Poison {
    let detail = detail.to_owned();
    Poison {
        what,
        destination: Destination::Page,
        kind: "page",
        body: body.into(),
        reason: "not_a_page",
        detail,
    }
}

fn poisons(connection: &str) -> Vec<Poison> {
    let with = |more: &str| format!(r#"{{"connection_id": "{connection}", {more}}}"#);
    let deep = "[".repeat(20_000) + &"]".repeat(20_000);
    let nested = with(&format!(r#""name": {deep}"#));
    let invalid_utf8 = [br#"{"connection_id": "#.as_slice(), &[0xff, 0xfe], b"}"].concat();
    let huge = with(&format!(r#""name": "{}""#, "x".repeat(300 * 1024)));
    let nowhere = "018f0000-0000-7000-8000-0000000000ff";
    let mut contradicted =
        start("a type that contradicts", with(r#""name": "x""#), "wrong_type", "sync.cancel");
    contradicted.kind = "sync.cancel";
    let mut unknown_type = cancel("a type of nobody's", "{}", "wrong_type", "reply");
    unknown_type.kind = "reply";
    vec![
        start("not JSON", "start, please", "not_json", "not JSON: expected value at line 1 column 1"),
        start("empty", "", "not_json", "not JSON: EOF"),
        start("half", r#"{"connection_id": "#, "not_json", "not JSON: EOF"),
        start("no object", "[1]", "invalid", "must be a JSON object"),
        contradicted,
        start("a missing field", r#"{"name": "x"}"#, "invalid", "missing field `connection_id`"),
        start("300 KiB", huge, "too_large", "at most 262144"),
        start("deep nesting", nested, "not_json", "recursion limit"),
        start("invalid UTF-8", invalid_utf8, "not_json", "not UTF-8"),
        start("NUL in a string", with(r#""name": "a\u0000b""#), "invalid", "name contains a NUL character"),
        start(
            "a wrong UUID",
            r#"{"connection_id": "4711"}"#,
            "invalid",
            "connection_id: UUID parsing failed",
        ),
        start("a wrong time", with(r#""date_from": "yesterday""#), "invalid", "date_from: "),
        start(
            "a word of nobody's",
            with(r#""on_conflict": "fight""#),
            "invalid",
            "on_conflict: unknown variant",
        ),
        start(
            "an empty span",
            with(r#""date_from": "2999-01-01T00:00:00Z""#),
            "invalid",
            "must be before date_to",
        ),
        start(
            "an unknown connection",
            format!(r#"{{"connection_id": "{nowhere}"}}"#),
            "unknown_connection",
            nowhere,
        ),
        start(
            "a year that cannot be stored",
            with(r#""date_from": "-200000-01-01T00:00:00Z""#),
            "invalid",
            "one of the years 0 to 9999",
        ),
        start(
            "a long word of nobody's",
            with(&format!(r#""mode": "{}""#, "x".repeat(100_000))),
            "invalid",
            "mode: unknown variant",
        ),
        start(
            "a NUL\0 in the message_id",
            with(r#""name": "x""#),
            "invalid",
            "message_id property contains a NUL",
        ),
        start("a schema of no UUID", with(r#""schema_id": "x""#), "invalid", "schema_id"),
        cancel("no JSON for a cancel", "stop!", "not_json", "not JSON"),
        cancel(
            "a cancel of nothing",
            r#"{"reason": "x"}"#,
            "invalid",
            "exactly one of job_id and connection_id",
        ),
        cancel(
            "NUL in a reason",
            format!(r#"{{"job_id": "{nowhere}", "reason": "\u0000"}}"#),
            "invalid",
            "reason contains a NUL",
        ),
        unknown_type,
        page("no JSON for a page", "ring", "neither a doorbell nor a marker"),
        page(
            "a page of no slice",
            format!(r#"{{"job_id": "{nowhere}"}}"#),
            "neither a doorbell nor a marker",
        ),
    ]
}

#[tokio::test]
async fn each_poison_is_set_aside_and_the_rest_flows() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let dead = Listener::to_dead_letters(&fixture).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let poisons = poisons(&account.connection.to_string());
    for poison in &poisons {
        let envelope = Envelope::new(poison.destination.clone(), poison.kind, poison.body.clone())
            .with_message_id(poison.what)
            .with_correlation_id(poison.what)
            .with_reply_to(replies.queue());
        fixture.publisher.publish(envelope).await?;
    }
    // Behind all of them, and nobody has consumed anything yet.
    let job = fixture.publish_start(account.connection).await?;
    let began = Utc::now();
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    let letters = dead.until_heard(poisons.len()).await?;
    for poison in &poisons {
        let what = poison.what;
        let letter =
            letters.iter().find(|letter| letter.message_id.as_deref() == Some(what)).context(what)?;
        let header = |name: &str| letter.headers.get(name).map(String::as_str);
        assert_eq!(header("x-reason"), Some(poison.reason), "{what}");
        let detail = header("x-detail").unwrap_or_default();
        assert!(detail.contains(&poison.detail), "{what}: {detail}");
        let seen: DateTime<Utc> = header("x-first-seen").context("when")?.parse()?;
        assert!((began - TimeDelta::seconds(1)..Utc::now()).contains(&seen), "{what}: {seen}");
        assert_eq!(header("x-redelivered"), Some("false"), "{what}: at its first delivery");
        assert!(header("x-queue").is_some() && header("x-routing-key").is_some(), "{what}");
        assert_eq!((letter.kind.as_deref(), &letter.body), (Some(poison.kind), &poison.body), "{what}");
    }
    assert_eq!(dead.heard().len(), poisons.len(), "each is there once");
    for queue in WorkQueue::ALL {
        assert_eq!(fixture.waiting(queue).await?, 0, "{queue}");
    }

    // Whoever asked for an answer to a command is told as well.
    let commands: Vec<_> =
        poisons.iter().filter(|poison| !matches!(poison.destination, Destination::Page)).collect();
    for reply in replies.until_heard(commands.len()).await? {
        let asked = reply.correlation_id.as_deref();
        let poison = commands.iter().find(|poison| asked == Some(poison.what)).context("an unasked reply")?;
        let said = reply.json();
        assert_eq!((&said["accepted"], &said["job_id"]), (&json!(false), &json!(null)));
        let reason = said["reason"].as_str().unwrap_or_default();
        assert!(reason.starts_with(poison.reason) && reason.contains(&poison.detail), "{reason}");
    }
    dead.close().await?;
    replies.close().await?;
    fixture.finish([consumer]).await
}

/// The headers that its sender chose may fill a frame of theirs. They do not fit beside ours, and keep nobody waiting.
#[tokio::test]
async fn a_poison_with_enormous_headers_is_set_aside_with_them() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let dead = Listener::to_dead_letters(&fixture).await?;
    let (connection, channel) = fixture.broker().await?;
    let queue = fixture.queue(WorkQueue::Starts);
    for name in ["traceparent", header::FIRST_SEEN] {
        let mut headers = FieldTable::default();
        headers.insert(name.into(), AMQPValue::LongString("x".repeat(100 << 10).into()));
        let properties = BasicProperties::default().with_message_id(name.into()).with_headers(headers);
        let options = BasicPublishOptions::default();
        channel
            .basic_publish("".into(), queue.as_str().into(), options, b"no JSON", properties)
            .await?
            .await?;
    }
    let job = fixture.publish_start(account.connection).await?;
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    for letter in dead.until_heard(2).await? {
        let length = |name: &str| letter.headers.get(name).map(String::len);
        let what = letter.message_id.as_deref().context("its identity")?;
        let kept = (what == "traceparent").then_some(100 << 10);
        assert_eq!(length("traceparent"), kept, "{what}: a letter has what it came with");
        assert!(length(header::FIRST_SEEN).is_some_and(|length| length < 40), "{what}: when we saw it");
    }
    assert_eq!(dead.heard().len(), 2, "each is there once");
    channel.close(200, "done".into()).await?;
    connection.close(200, "done".into()).await?;
    dead.close().await?;
    fixture.finish([consumer]).await
}
