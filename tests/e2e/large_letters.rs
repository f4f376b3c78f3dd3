//! Dead letters that are large: looked at, and then all of them dropped or sent back at once.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use lapin::Channel;
use lapin::message::BasicGetMessage;
use lapin::options::{BasicGetOptions, BasicNackOptions};
use protocol::contract::header;
use protocol::topology::Topology;
use protocol::topology::WorkQueue;
use std::time::Duration;
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::Fixture;
use testkit::proxy::Direction;

const LETTERS: usize = 12;
const BYTES: usize = 4 << 20;

async fn dlq(fixture: &Fixture, arguments: &[&str]) -> Result<Ran> {
    backhaul(&fixture.environment(), &[&["dlq"], arguments].concat()).await
}

/// Letters that can be sent back, to the queue of starts.
async fn with_letters() -> Result<Fixture> {
    let fixture = Fixture::with_calls(0).await?;
    for number in 0..LETTERS {
        let envelope = Envelope::new(Destination::DeadLetter, "sync.start", vec![b'x'; BYTES])
            .with_message_id(format!("letter-{number}"))
            .with_header(header::REASON, "not_json")
            .with_header(header::QUEUE, "starts");
        fixture.publisher.publish(envelope).await?;
    }
    Ok(fixture)
}

/// Takes a letter in hand.
async fn get(fixture: &Fixture, channel: &Channel) -> Result<Option<BasicGetMessage>> {
    let queue = Topology::new(&fixture.namespace).dead_letters();
    Ok(channel.basic_get(queue.into(), BasicGetOptions { no_ack: false }).await?)
}

/// Lists the letters, and then does something with all of them.
async fn act(fixture: &Fixture, word: &str, arguments: &[&str]) -> Result<()> {
    let listed = dlq(fixture, &["list", "--json"]).await?;
    assert_eq!(listed.json()?.as_array().map(Vec::len), Some(LETTERS), "{}", listed.stderr);
    let ran = dlq(fixture, arguments).await?;
    let told = ran.json()?;
    let done = told[word].as_array().context("a list")?.len();
    assert_eq!((ran.code, done), (Some(0), LETTERS), "{told}\n{}", ran.stderr);
    assert_eq!(fixture.dead_letters().await?, 0);
    Ok(())
}

#[tokio::test]
async fn all_are_dropped_right_after_they_were_listed() -> Result<()> {
    let fixture = with_letters().await?;
    act(&fixture, "dropped", &["drop", "--all", "--yes", "--json"]).await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn all_are_sent_back_right_after_they_were_listed() -> Result<()> {
    let fixture = with_letters().await?;
    act(&fixture, "retried", &["retry", "--all", "--json"]).await?;
    assert_eq!(usize::try_from(fixture.lose(WorkQueue::Starts).await?)?, LETTERS);
    fixture.finish([]).await
}

/// Somebody looks at the letters, and gives them back one after the other while all are to be dropped.
#[tokio::test]
async fn letters_that_come_back_late_are_dropped_too() -> Result<()> {
    const APART: Duration = Duration::from_millis(200);
    let fixture = with_letters().await?;
    let (connection, channel) = fixture.broker().await?;
    let mut held = Vec::new();
    for _letter in 1..LETTERS {
        held.push(get(&fixture, &channel).await?.context("a letter")?);
    }
    assert_eq!(fixture.dead_letters().await?, 1);
    let coming = async {
        for letter in held {
            tokio::time::sleep(APART).await;
            letter.delivery.acker.nack(BasicNackOptions { multiple: false, requeue: true }).await?;
        }
        anyhow::Ok(connection.close(200, "done".into()).await?)
    };
    let (ran, returned) = tokio::join!(dlq(&fixture, &["drop", "--all", "--yes", "--json"]), coming);
    returned?;
    let (ran, left) = (ran?, usize::try_from(fixture.dead_letters().await?)?);
    let told = ran.json()?;
    let done = told["dropped"].as_array().context("a list")?.len();
    assert_eq!((ran.code, done, left), (Some(0), LETTERS, 0), "{told}\n{}", ran.stderr);
    fixture.finish([]).await
}

/// Letters that another takes away meanwhile are told of, and are no success.
#[tokio::test]
async fn letters_that_another_holds_are_counted() -> Result<()> {
    let fixture = with_letters().await?;
    let (connection, channel) = fixture.broker().await?;
    let (proxy, amqp) = fixture.broker_proxy().await?;
    // Stands still once the first letter comes, when all are counted.
    proxy.stall_on(Direction::ToClient, "letter-0".to_owned());
    let environment = fixture.environment_at(&fixture.database.url(), &amqp);
    let taking = async {
        proxy.until_stalled().await;
        let mut held = Vec::new();
        while let Some(letter) = get(&fixture, &channel).await? {
            held.push(letter);
        }
        proxy.resume();
        anyhow::Ok(held.len())
    };
    let (ran, taken) = tokio::join!(backhaul(&environment, &["dlq", "drop", "--all", "--yes"]), taking);
    let (ran, taken) = (ran?, taken?);
    let words = format!("{} dropped, {taken} not looked at: somebody else has taken them", LETTERS - taken);
    assert!(ran.code == Some(1) && ran.stdout.contains(&words) && taken > 0, "{words}: {ran:?}");
    connection.close(200, "done".into()).await?;
    assert_eq!(dlq(&fixture, &["drop", "--all", "--yes"]).await?.code, Some(0));
    assert_eq!(fixture.dead_letters().await?, 0);
    fixture.finish([]).await
}
