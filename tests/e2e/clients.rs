//! Services that are not written in Rust use nothing but the published messages.

use anyhow::{Context, Result};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::clients::{Management, node, python, root};
use testkit::fixture::{Fixture, amqp_url};
use testkit::private::PrivateRabbit;
use testkit::process::Program;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::servers::Servers;

/// The words in the order of their first appearance.
fn firsts(words: impl IntoIterator<Item = String>) -> Vec<String> {
    let mut firsts = Vec::new();
    for word in words {
        if !firsts.contains(&word) {
            firsts.push(word);
        }
    }
    firsts
}

/// A client starts a job, hears its events, cancels it once it has started, and hears its end. `replies`: it can say where
/// replies are to go.
async fn follows(program: Program, name: &str, replies: bool) -> Result<()> {
    follows_on(Fixture::with_calls(25).await?, program.env("AMQP_URL", amqp_url()), name, replies).await
}

async fn follows_on(fixture: Fixture, program: Program, name: &str, replies: bool) -> Result<()> {
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let output = program.arg(account.connection.to_string()).arg(&fixture.namespace).output().await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    let heard: Vec<Value> = stdout.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let reply = |of: &str| heard.iter().find(|message| message["reply_to"] == of);
    assert_eq!(reply("start").is_some_and(|reply| reply["accepted"] == true), replies, "{stdout}");
    let events = heard.iter().filter_map(|message| message["event"].as_str().map(ToOwned::to_owned));
    assert_eq!(firsts(events), ["accepted", "started", "cancelling", "cancelled"]);
    let last = heard.iter().rfind(|message| message["event"] == "cancelled").context("an end")?;
    assert_eq!((&last["status"], &last["reason"]), (&json!("cancelled"), &json!("seen enough")));

    let job = last["job_id"].as_str().context("an event names its job")?.parse()?;
    let view = fixture.until_cancelled(job, "seen enough").await?;
    assert_eq!(view.cancel_requested_by.as_deref(), Some(name));
    fixture.finish([consumer]).await
}

async fn python_follows(script: &str, name: &str) -> Result<()> {
    let script = root().join("tests/clients/python").join(script);
    follows(Program::at(python().await?).arg(script.to_string_lossy()), name, true).await
}

async fn node_follows(script: &str, name: &str, replies: bool) -> Result<()> {
    let script = node().await?.join(script);
    follows(Program::at("node").arg(script.to_string_lossy()), name, replies).await
}

#[tokio::test]
async fn python_with_pika() -> Result<()> {
    python_follows("pika_client.py", "pika").await
}

#[tokio::test]
async fn python_with_aio_pika() -> Result<()> {
    python_follows("aio_pika_client.py", "aio-pika").await
}

#[tokio::test]
async fn python_with_kombu() -> Result<()> {
    python_follows("kombu_client.py", "kombu").await
}

#[tokio::test]
#[ignore = "needs Node: make test-clients"]
async fn node_with_amqplib() -> Result<()> {
    node_follows("amqplib.js", "amqplib", true).await
}

#[tokio::test]
#[ignore = "needs Node: make test-clients"]
async fn node_with_golevelup() -> Result<()> {
    node_follows("golevelup.js", "golevelup", true).await
}

/// Its records have no place for `reply_to`.
#[tokio::test]
#[ignore = "needs Node: make test-clients"]
async fn node_with_nest() -> Result<()> {
    node_follows("nest.js", "nest", false).await
}

/// AMQP 1.0, which RabbitMQ 3.10 has in a plugin, and with other addresses.
#[tokio::test]
#[ignore = "needs Node: make test-clients"]
async fn node_with_rhea() -> Result<()> {
    let broker = PrivateRabbit::start().await?;
    let is_old = broker.control(&["version"]).await?.trim().starts_with("3.");
    if is_old {
        broker.tool("rabbitmq-plugins", &["enable", "rabbitmq_amqp1_0"]).await?;
    }
    let options = Options::new([TenantOptions::new("acme", 25)]);
    let fixture = Fixture::start_on(&Servers::from_environment()?.with_rabbit(&broker), options).await?;
    let script = node().await?.join("rhea.js");
    let program = Program::at("node").arg(script.to_string_lossy()).env("AMQP_URL", broker.url());
    follows_on(fixture, program.env("ADDRESSES", if is_old { "1" } else { "2" }), "rhea", true).await
}

#[tokio::test]
async fn the_management_api() -> Result<()> {
    let Some(management) = Management::of_the_broker()? else {
        tracing::warn!(
            "NOT TESTED: AMQP_URL names a broker of yours, and MANAGEMENT_URL not its management API"
        );
        return Ok(());
    };
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let queue = fixture.exchange("seen_by_management");
    management.queue(&queue, &fixture.exchange("events"), "job.#").await?;
    let (commands, job) = (fixture.exchange("commands"), JobId::random());

    let start = json!({ "connection_id": account.connection, "job_id": job });
    assert!(management.publish(&commands, "sync.start", json!({}), &start).await?, "not routed");
    fixture.upstream.until(|seen| seen.held == 1).await;
    let properties = json!({ "message_id": "typed-1", "type": "sync.cancel" });
    let cancel = json!({ "connection_id": account.connection, "reason": "typed into the console" });
    assert!(management.publish(&commands, "sync.cancel", properties, &cancel).await?, "not routed");
    fixture.until_cancelled(job, "typed into the console").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;

    let mut heard = Vec::new();
    while heard.last().is_none_or(|key| key != "job.cancelled") {
        for message in management.get(&queue).await? {
            let body: Value = serde_json::from_str(message["payload"].as_str().context("text")?)?;
            assert_eq!(
                (&body["job_id"], &message["properties"]["correlation_id"]),
                (&json!(job), &json!(job))
            );
            heard.push(message["routing_key"].as_str().context("a key")?.to_owned());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(firsts(heard), ["job.accepted", "job.started", "job.cancelling", "job.cancelled"]);
    management.remove(&queue).await?;
    fixture.finish([consumer]).await
}
