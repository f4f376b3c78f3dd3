//! A message that becomes a letter keeps all that it came with, and is sent back exactly so; a message with a mistyped routing
//! key becomes one too, and is answered.

use anyhow::{Context, Result, ensure};
use lapin::BasicProperties;
use lapin::options::{BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, QueueBindOptions};
use lapin::types::{AMQPValue, FieldArray, FieldTable};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use protocol::topology::Topology;
use protocol::topology::WorkQueue;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::{Fixture, amqp_url};
use testkit::listener::Listener;

async fn dlq(fixture: &Fixture, arguments: &[&str]) -> Result<Ran> {
    backhaul(&fixture.environment(), &[&["dlq"], arguments].concat()).await
}

async fn listed(fixture: &Fixture) -> Result<Vec<Value>> {
    let listed = dlq(fixture, &["list", "--json"]).await?.json()?;
    Ok(listed.as_array().context("a list")?.clone())
}

/// Publishes to the exchange of commands as an upstream service would.
async fn publish(fixture: &Fixture, key: &str, properties: &BasicProperties, body: &[u8]) -> Result<()> {
    let (connection, channel) = fixture.broker().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    let exchange = Topology::new(&fixture.namespace).commands();
    let options = BasicPublishOptions::default();
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body, properties.clone()).await?;
    ensure!(confirm.await?.is_ack(), "the broker refused it");
    Ok(connection.close(200, "done".into()).await?)
}

/// What waits in a queue first: its properties and body.
async fn got(fixture: &Fixture, queue: WorkQueue) -> Result<(BasicProperties, Vec<u8>)> {
    let (connection, channel) = fixture.broker().await?;
    let name = fixture.queue(queue);
    let got = channel.basic_get(name.into(), BasicGetOptions { no_ack: true }).await?.context("a message")?;
    connection.close(200, "done".into()).await?;
    Ok((got.delivery.properties, got.delivery.data))
}

async fn until_dead(fixture: &Fixture, number: u32) -> Result<()> {
    let there = async {
        while fixture.dead_letters().await? != number {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(Duration::from_secs(60), there).await.context("not so many dead letters")?
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(text.into())
}

fn table(entries: Vec<(&str, AMQPValue)>) -> FieldTable {
    let mut table = FieldTable::default();
    for (name, value) in entries {
        table.insert(name.into(), value);
    }
    table
}

/// A message without the headers by which the broker counts deliveries, and we the age of a letter.
fn as_published(properties: BasicProperties) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in properties.headers().iter().flat_map(|table| table.inner()) {
        if !["x-first-seen", "x-delivery-count"].contains(&name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    properties.with_headers(headers)
}

#[tokio::test]
async fn a_letter_is_sent_back_exactly_as_it_came() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let headers = table(vec![
        ("traceparent", long("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")),
        ("number", AMQPValue::LongLongInt(-7)),
        ("flag", AMQPValue::Boolean(true)),
        ("nothing", AMQPValue::Void),
        ("list", AMQPValue::FieldArray(FieldArray::from(vec![long("a"), AMQPValue::LongInt(2)]))),
        ("table", AMQPValue::FieldTable(table(vec![("deep", long("x"))]))),
        ("x-reason", long("a name of ours")),
    ]);
    let full = BasicProperties::default()
        .with_headers(headers)
        .with_content_type("text/plain".into())
        .with_content_encoding("utf-8".into())
        .with_delivery_mode(1)
        // What RabbitMQ 4.3 takes a message without one for: it sorts queues by it, and the letters shall keep their order.
        .with_priority(4)
        .with_correlation_id("about it".into())
        .with_reply_to("no.such.queue".into())
        .with_expiration("3600000".into())
        .with_message_id("full".into())
        .with_timestamp(1_700_000_000)
        .with_type("sync.start".into())
        .with_user_id(amqp_url().parse::<url::Url>()?.username().into())
        .with_app_id("crm".into());
    let bare = BasicProperties::default();
    let large = |bytes: usize| {
        let headers = table(vec![("large", long(&"x".repeat(bytes))), ("small", long("y"))]);
        BasicProperties::default().with_headers(headers)
    };
    let cases = [("full", full), ("bare", bare), ("large", large(20_000)), ("larger", large(120_000))];
    let consumer = fixture.consumer().await?;
    for (number, (name, properties)) in (1..).zip(&cases) {
        publish(&fixture, "sync.start", properties, format!("no JSON {name}").as_bytes()).await?;
        until_dead(&fixture, number).await?;
    }
    consumer.stop().await?;

    let letters = listed(&fixture).await?;
    assert_eq!(letters.len(), 4);
    let shown = dlq(&fixture, &["show", "full", "--json"]).await?.json()?;
    let (properties, headers) = (&shown[0]["properties"], &shown[0]["headers"]);
    assert_eq!(
        json!([
            properties["app_id"],
            properties["content_type"],
            properties["timestamp"],
            properties["priority"]
        ]),
        json!(["crm", "text/plain", "1700000000", "4"])
    );
    assert_eq!((&headers["number"], &headers["table"]["deep"]), (&json!(-7), &json!("x")));
    assert_eq!(
        (&headers["x-reason"], &headers["x-set-aside"]["expiration"]),
        (&json!("not_json"), &json!("3600000"))
    );
    for ((name, came), letter) in cases.iter().zip(&letters) {
        let id = letter["id"].as_str().context("an id")?;
        assert_eq!(dlq(&fixture, &["retry", id]).await?.code, Some(0), "{name}");
        let (properties, body) = got(&fixture, WorkQueue::Starts).await?;
        assert_eq!(body, format!("no JSON {name}").into_bytes());
        let (is, was) = (as_published(properties), as_published(came.clone()));
        assert!(
            is == was,
            "{name} came back as {:.2000}, not as {:.2000}",
            format!("{is:?}"),
            format!("{was:?}")
        );
    }
    fixture.finish([]).await
}

/// As somebody types it into the console: without any property.
#[tokio::test]
async fn a_command_without_a_type_is_retried_and_applied() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let connection = account.connection;
    fixture.database.execute("update connections set id = gen_random_uuid()").await?;
    let job = JobId::random();
    let start = json!({ "connection_id": connection, "job_id": job }).to_string();
    publish(&fixture, "sync.start", &BasicProperties::default(), start.as_bytes()).await?;
    until_dead(&fixture, 1).await?;
    let cancel = json!({ "connection_id": connection }).to_string();
    publish(&fixture, "sync.cancel", &BasicProperties::default(), cancel.as_bytes()).await?;
    until_dead(&fixture, 2).await?;
    let letters = listed(&fixture).await?;
    let reasons: Vec<_> = letters.iter().map(|letter| [&letter["reason"], &letter["queue"]]).collect();
    assert_eq!(json!(reasons), json!([["unknown_connection", "starts"], ["unknown_connection", "cancels"]]));

    fixture.database.execute(&format!("update connections set id = '{connection}'")).await?;
    let id = letters[0]["id"].as_str().context("an id")?;
    assert_eq!(dlq(&fixture, &["retry", id]).await?.code, Some(0));
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    assert_eq!(dlq(&fixture, &["retry", "--all"]).await?.code, Some(0));
    fixture.until_sql("select count(*) = 2 from commands").await?;
    assert_eq!(fixture.dead_letters().await?, 0, "both are applied, and neither came back");
    fixture.finish([consumer]).await
}

/// Whoever sent it back was stopped before it had left the queue of letters, and it is sent back once more: nothing but its
/// age tells that the two are one.
#[tokio::test]
async fn a_letter_without_any_id_is_applied_once() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let start = json!({ "connection_id": account.connection }).to_string();
    let of = |age: &str| BasicProperties::default().with_headers(table(vec![("x-first-seen", long(age))]));
    let completed = async |jobs: i64| {
        let counted = "select count(*) from jobs where status = 'completed'";
        while sqlx::query_scalar::<_, i64>(counted).fetch_one(&fixture.database.pool).await? < jobs {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    let (one, other) = ("2026-01-31T12:00:00.000001+00:00", "2026-01-31T12:00:00.000002+00:00");
    for (age, jobs) in [(one, 1), (one, 1), (other, 2), (one, 2)] {
        publish(&fixture, "sync.start", &of(age), start.as_bytes()).await?;
        fixture.until_delivered(WorkQueue::Starts).await?;
        completed(jobs).await?;
    }
    consumer.stop().await?;
    fixture.until_sql("select count(*) = 2 from jobs").await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn what_is_near_a_known_field_becomes_a_letter_that_names_it() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let replies = Listener::to_replies(&fixture).await?;
    let asking = BasicProperties::default().with_reply_to(replies.queue().into());
    let cases = [
        ("sync.start", "from", "date_from"),
        ("sync.start", "until", "date_to"),
        ("sync.start", "date_fron", "date_from"),
        ("sync.start", "onConflict", "on_conflict"),
        ("sync.cancel", "resaon", "reason"),
    ];
    for (number, (key, field, nearest)) in (1..).zip(cases) {
        let mut body = json!({ "connection_id": account.connection, "colour": "blue" });
        body[field] = json!("2026-01-01T00:00:00Z");
        publish(&fixture, key, &asking, body.to_string().as_bytes()).await?;
        until_dead(&fixture, number).await?;
        let letter = listed(&fixture).await?.pop().context("a letter")?;
        assert_eq!(letter["reason"], "unknown_field", "{letter}");
        let detail = letter["detail"].as_str().unwrap_or_default();
        let words = format!("the field \"{field}\" is not known here; did you mean {nearest}?");
        assert!(detail.starts_with(&words), "{detail}");
        let reply = replies.until_heard(usize::try_from(number)?).await?.pop().context("a reply")?.json();
        assert_eq!((&reply["accepted"], &reply["job_id"]), (&json!(false), &Value::Null));
        assert!(
            reply["reason"].as_str().is_some_and(|reason| reason.starts_with("unknown_field: ")),
            "{reply}"
        );
    }
    fixture.until_sql("select not exists (select from jobs)").await?;
    assert_eq!(dlq(&fixture, &["drop", "--all", "--yes"]).await?.code, Some(0));
    replies.close().await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_mistyped_routing_key_is_answered_and_found() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let replies = Listener::to_replies(&fixture).await?;
    let job = JobId::random();
    let start = json!({ "connection_id": account.connection, "job_id": job }).to_string();
    let asking = BasicProperties::default()
        .with_reply_to(replies.queue().into())
        .with_correlation_id("mine".into())
        .with_message_id("mistyped".into());
    publish(&fixture, "sync.strat", &asking, start.as_bytes()).await?;

    // With no consumer it waits where nothing took it, and is listed, shown, and sent again all the same.
    assert_eq!((fixture.waiting(WorkQueue::Unrouted).await?, fixture.dead_letters().await?), (1, 0));
    for _look in 0..2 {
        let letters = listed(&fixture).await?;
        let [letter] = letters.as_slice() else { anyhow::bail!("{letters:?}") };
        assert_eq!(
            json!([letter["id"], letter["type"], letter["reason"], letter["queue"]]),
            json!(["mistyped", "sync.strat", "unrouted", "unrouted"])
        );
        assert!(
            letter["detail"].as_str().is_some_and(|it| it.contains("did you mean sync.start?")),
            "{letter}"
        );
    }
    let shown = dlq(&fixture, &["show", "mistyped", "--json"]).await?.json()?;
    assert_eq!(shown[0]["origin"]["routing_key"], "sync.strat");
    assert_eq!(dlq(&fixture, &["retry", "mistyped"]).await?.code, Some(0));
    assert_eq!(fixture.waiting(WorkQueue::Unrouted).await?, 1, "nobody has bound a queue for it yet");

    // A consumer makes a letter of it, and answers.
    let consumer = fixture.consumer().await?;
    let reply = replies.until_heard(1).await?.remove(0);
    assert_eq!(reply.correlation_id.as_deref(), Some("mine"));
    let answer = reply.json();
    assert_eq!((&answer["accepted"], &answer["job_id"]), (&json!(false), &Value::Null));
    assert!(answer["reason"].as_str().is_some_and(|it| it.contains("did you mean sync.start?")), "{answer}");
    until_dead(&fixture, 1).await?;
    assert_eq!(fixture.waiting(WorkQueue::Unrouted).await?, 0);
    let letters = listed(&fixture).await?;
    assert_eq!(json!([letters[0]["id"], letters[0]["reason"]]), json!(["mistyped", "unrouted"]));

    // The operator binds the key, and sends it back as it was.
    let (connection, channel) = fixture.broker().await?;
    // To the exchange that routes: what the first one passes on is routed there, too.
    let exchange = format!("{}.routes", Topology::new(&fixture.namespace).commands());
    let (queue, options) = (fixture.queue(WorkQueue::Starts), QueueBindOptions::default());
    channel
        .queue_bind(queue.into(), exchange.into(), "sync.strat".into(), options, FieldTable::default())
        .await?;
    connection.close(200, "done".into()).await?;
    assert_eq!(dlq(&fixture, &["retry", "--all", "--reason", "unrouted"]).await?.code, Some(0));
    fixture.until_over(job, JobStatus::Completed).await?;
    let reply = replies.until_heard(2).await?.remove(1);
    assert_eq!((reply.correlation_id.as_deref(), &reply.json()["accepted"]), (Some("mine"), &json!(true)));

    publish(&fixture, "sync.stop", &BasicProperties::default(), b"{}").await?;
    until_dead(&fixture, 1).await?;
    let dropped =
        dlq(&fixture, &["drop", "--all", "--reason", "unrouted", "--yes", "--json"]).await?.json()?;
    assert_eq!(dropped["dropped"].as_array().map(Vec::len), Some(1), "{dropped}");
    replies.close().await?;
    fixture.finish([consumer]).await
}

/// While the queue of starts is gone, a start comes to the catch-all, and is applied from there all the same.
#[tokio::test]
async fn a_command_whose_queue_was_gone_is_applied() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    fixture.declare().await?;
    fixture.delete_queue(WorkQueue::Starts).await?;
    let job = JobId::random();
    let start = json!({ "connection_id": account.connection, "job_id": job }).to_string();
    publish(&fixture, "sync.start", &BasicProperties::default(), start.as_bytes()).await?;
    assert_eq!(fixture.waiting(WorkQueue::Unrouted).await?, 1);
    let consumer = fixture.consumer().await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

/// What a consumer has not come to yet is listed behind the letters, and dealt with like them.
#[tokio::test]
async fn letters_of_both_queues_are_sent_back_and_dropped() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let nowhere = ConnectionId::random();
    let start = json!({ "connection_id": nowhere }).to_string();
    let named = |id: &str| BasicProperties::default().with_message_id(id.into());
    let consumer = fixture.consumer().await?;
    publish(&fixture, "sync.start", &named("dead"), start.as_bytes()).await?;
    until_dead(&fixture, 1).await?;
    consumer.stop().await?;
    publish(&fixture, "sync.sart", &named("lost"), start.as_bytes()).await?;
    let ids: Vec<_> = listed(&fixture).await?.iter().map(|letter| letter["id"].clone()).collect();
    assert_eq!(ids, ["dead", "lost"]);
    let retried = dlq(&fixture, &["retry", "--all", "--json"]).await?.json()?;
    let retried: Vec<_> =
        retried["retried"].as_array().context("a list")?.iter().map(|it| &it["routing_key"]).collect();
    assert_eq!(retried, ["sync.start", "sync.sart"]);
    assert_eq!(
        (fixture.waiting(WorkQueue::Starts).await?, fixture.waiting(WorkQueue::Unrouted).await?),
        (1, 1)
    );
    let dropped = dlq(&fixture, &["drop", "lost", "--yes"]).await?;
    assert_eq!(dropped.code, Some(0), "{}", dropped.stderr);
    assert_eq!(fixture.waiting(WorkQueue::Unrouted).await?, 0);
    assert_eq!(fixture.lose(WorkQueue::Starts).await?, 1);
    fixture.finish([]).await
}
