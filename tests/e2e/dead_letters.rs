//! Dead letters on the command line: looked at, sent back, dropped; and nothing is lost, whatever ends the program.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use protocol::command::StartCommand;
use protocol::contract::header;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::Fixture;
use testkit::listener::Listener;
use testkit::process::Program;
use testkit::proxy::Direction;

async fn dlq(fixture: &Fixture, arguments: &[&str]) -> Result<Ran> {
    backhaul(&fixture.environment(), &[&["dlq"], arguments].concat()).await
}

/// What is listed, in its order.
async fn listed(fixture: &Fixture) -> Result<Vec<Value>> {
    let listed = dlq(fixture, &["list", "--json"]).await?.json()?;
    Ok(listed.as_array().context("a list")?.clone())
}

fn ids(letters: &[Value]) -> Vec<&str> {
    letters.iter().filter_map(|letter| letter["id"].as_str()).collect()
}

async fn send(fixture: &Fixture, id: &str, body: impl Into<Vec<u8>>) -> Result<()> {
    let envelope = Envelope::new(Destination::StartCommand, "sync.start", body)
        .with_message_id(id)
        .with_correlation_id(format!("about {id}"));
    Ok(fixture.publisher.publish(envelope).await?)
}

/// Waits until so many dead letters are there.
async fn until_dead(fixture: &Fixture, number: usize) -> Result<()> {
    let there = async {
        while usize::try_from(fixture.dead_letters().await?)? < number {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), there)
        .await
        .context("not enough dead letters")?
}

/// A start for a connection that is not there; when it is, the operator sends the start back, among others that stay.
#[tokio::test]
async fn an_operator_mends_a_connection_and_retries_its_start() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    fixture.database.execute("update connections set id = gen_random_uuid()").await?;
    let job = JobId::random();
    let command: StartCommand = Fixture::start_command(account.connection, job);
    // More than ten, so that their order would show if it were that of their numbers as text.
    let junk: Vec<String> = (0..12).map(|number| format!("junk-{number}")).collect();
    for (number, id) in junk.iter().enumerate() {
        if number == 6 {
            send(&fixture, "the start", serde_json::to_vec(&command)?).await?;
            until_dead(&fixture, number + 1).await?;
        }
        let body =
            if number == 11 { b"\xff\xfe\x1b[2J".to_vec() } else { format!("no JSON {number}").into_bytes() };
        send(&fixture, id, body).await?;
        until_dead(&fixture, number + 1 + usize::from(number >= 6)).await?;
    }

    // Looking takes nothing away and changes no order, however often.
    let before = listed(&fixture).await?;
    let mut expected: Vec<_> = junk.iter().map(String::as_str).collect();
    expected.insert(6, "the start");
    assert_eq!(ids(&before), expected);
    assert_eq!(listed(&fixture).await?, before);
    let start = &before[6];
    assert_eq!((&start["type"], &start["reason"]), (&json!("sync.start"), &json!("unknown_connection")));
    assert_eq!((&start["queue"], &before[0]["beginning"]), (&json!("starts"), &json!("no JSON 0")));
    let some = dlq(&fixture, &["list", "--reason", "not_json", "--limit", "3"]).await?;
    assert_eq!(some.stdout.matches("junk-").count(), 3, "{}", some.stdout);
    assert!(some.stderr.contains("9 more are not shown"), "{}", some.stderr);
    let shown = dlq(&fixture, &["show", "the start", "--json"]).await?.json()?;
    let shown = &shown[0];
    assert_eq!(serde_json::from_str::<Value>(shown["body"].as_str().context("a body")?)?, json!(command));
    assert_eq!(shown["properties"]["correlation_id"], "about the start");
    assert_eq!(shown["origin"]["exchange"], format!("{}.commands", fixture.namespace));
    assert_eq!(shown["headers"][header::ROUTING_KEY], "sync.start");
    let binary = dlq(&fixture, &["show", "junk-11", "--json"]).await?.json()?;
    assert_eq!((&binary[0]["body"], &binary[0]["body_encoding"]), (&json!("//4bWzJK"), &json!("base64")));
    let text = dlq(&fixture, &["show", "junk-11"]).await?.stdout;
    assert!(text.contains("in base64") && !text.contains('\u{1b}'), "{text}");
    assert_eq!(dlq(&fixture, &["show", "nobody"]).await?.code, Some(1));
    assert_eq!(dlq(&fixture, &["retry", "nobody"]).await?.code, Some(1));

    // Mended, and retried.
    let made = format!("update connections set id = '{}'", account.connection);
    fixture.database.execute(&made).await?;
    let retried = dlq(&fixture, &["retry", "the start", "--json"]).await?;
    assert_eq!(retried.code, Some(0), "{}", retried.stderr);
    assert_eq!(retried.json()?["retried"][0]["id"], "the start");
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.until_sql("select exists (select from commands where id like '%the start')").await?;
    assert_eq!(ids(&listed(&fixture).await?), junk);

    // What is refused again comes to the end of the queue once, as old as it was.
    let seen = |letters: &[Value]| letters.iter().map(|it| it["first_seen"].clone()).collect::<Vec<_>>();
    let ages = seen(&listed(&fixture).await?);
    let retried = dlq(&fixture, &["retry", "--all", "--reason", "not_json", "--json"]).await?;
    assert_eq!(retried.json()?["retried"].as_array().map(Vec::len), Some(12), "{}", retried.stdout);
    until_dead(&fixture, 12).await?;
    let again = listed(&fixture).await?;
    assert_eq!(ids(&again).into_iter().collect::<BTreeSet<_>>(), junk.iter().map(String::as_str).collect());
    assert!(seen(&again).iter().all(|age| ages.contains(age)), "{again:?}");

    let unsure = dlq(&fixture, &["drop", "--all"]).await?;
    assert!(unsure.code == Some(2) && unsure.stderr.contains("--yes"), "{}", unsure.stderr);
    assert_eq!(dlq(&fixture, &["drop", "junk-3", "--yes"]).await?.code, Some(0));
    assert!(!ids(&listed(&fixture).await?).contains(&"junk-3"));
    let dropped = dlq(&fixture, &["drop", "--all", "--yes", "--json"]).await?.json()?;
    assert_eq!(dropped["dropped"].as_array().map(Vec::len), Some(11), "{dropped}");
    let none = dlq(&fixture, &["list"]).await?;
    assert_eq!((none.code, none.stdout.trim()), (Some(0), "no dead letters"));
    fixture.finish([consumer]).await
}

/// Letters that cannot be sent back stay, and say why; the others are sent.
#[tokio::test]
async fn a_letter_that_fits_nowhere_stays() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let starts = fixture.queue(WorkQueue::Starts);
    let letter = |id: &str| {
        Envelope::new(Destination::DeadLetter, "sync.start", "no JSON")
            .with_message_id(id)
            .with_header(header::REASON, "not_json")
    };
    let routed = |id: &str, exchange: &str, key: &str| {
        letter(id).with_header(header::EXCHANGE, exchange).with_header(header::ROUTING_KEY, key)
    };
    for envelope in [
        letter("of nowhere"),
        routed("of a lost exchange", "nowhere.at.all", "x"),
        routed("of a lost queue", "", "nowhere.at.all"),
        routed("straight", "", &starts),
        letter("old").with_header(header::QUEUE, "starts"),
    ] {
        fixture.publisher.publish(envelope).await?;
    }
    let ran = dlq(&fixture, &["retry", "--all", "--json"]).await?;
    let (told, code) = (ran.json()?, ran.code);
    assert_eq!(code, Some(1), "{told}");
    let retried: Vec<_> = told["retried"].as_array().context("a list")?.iter().map(|it| &it["id"]).collect();
    assert_eq!(retried, ["straight", "old"]);
    let why: Vec<_> =
        told["stuck"].as_array().context("a list")?.iter().map(|it| it["why"].to_string()).collect();
    for (why, words) in why.iter().zip(["do not say", "NOT_FOUND", "nothing is bound"]) {
        assert!(why.contains(words), "{why}: {words}");
    }
    assert_eq!(fixture.waiting(WorkQueue::Starts).await?, 2);
    assert_eq!(ids(&listed(&fixture).await?), ["of nowhere", "of a lost exchange", "of a lost queue"]);
    assert_eq!(fixture.lose(WorkQueue::Starts).await?, 2);
    assert_eq!(dlq(&fixture, &["drop", "--all", "--yes"]).await?.code, Some(0));
    fixture.finish([]).await
}

/// Killed while a letter is on its way: each letter is in one place at least, and the next run goes on.
#[tokio::test]
async fn killed_on_the_way_nothing_is_lost() -> Result<()> {
    const LETTERS: usize = 6;
    let fixture = Fixture::with_calls(5).await?;
    let names: Vec<String> = (0..LETTERS).map(|number| format!("letter-{number}-of-six")).collect();
    for id in &names {
        let envelope = Envelope::new(Destination::DeadLetter, "sync.start", "no JSON")
            .with_message_id(id)
            .with_header(header::QUEUE, "starts");
        fixture.publisher.publish(envelope).await?;
    }
    let (proxy, amqp) = fixture.broker_proxy().await?;
    proxy.stall_on(Direction::ToTarget, names[3].clone());
    let environment = fixture.environment_at(&fixture.database.url(), &amqp);
    let program =
        environment.iter().fold(Program::built("backhaul")?, |it, (name, value)| it.env(name, value));
    let mut killed = program.arg("dlq").arg("retry").arg("--all").start()?;
    proxy.until_stalled().await;
    killed.kill().await?;
    proxy.cut().await;

    // Three are confirmed where they came from; the fourth, and all behind it, are still here.
    until_dead(&fixture, LETTERS - 3).await?;
    assert_eq!(fixture.waiting(WorkQueue::Starts).await?, 3);
    let left = listed(&fixture).await?;
    assert!(names[3..].iter().all(|id| ids(&left).contains(&id.as_str())), "{left:?}");

    assert_eq!(dlq(&fixture, &["retry", "--all"]).await?.code, Some(0));
    assert!(listed(&fixture).await?.is_empty());
    let dead = Listener::to_dead_letters(&fixture).await?;
    let consumer = fixture.consumer().await?;
    let all = |heard: &[testkit::listener::Heard]| {
        let seen: BTreeSet<_> = heard.iter().filter_map(|it| it.message_id.clone()).collect();
        names.iter().all(|id| seen.contains(id))
    };
    dead.until(all).await?;
    dead.close().await?;
    fixture.finish([consumer]).await
}
