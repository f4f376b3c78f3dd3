//! The rights of broker users, as docs/rabbitmq.md gives them: they are enough, and they are not too many.

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use protocol::job::JobStatus;
use serde_json::json;
use testkit::fixture::Fixture;
use testkit::private::PrivateRabbit;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::servers::Servers;

const GUIDE: &str = include_str!("../../docs/rabbitmq.md");

/// The three patterns that the page gives a user, for the namespaces of tests.
fn patterns(user: &str) -> Result<Vec<String>> {
    let begins = format!("    rabbitmqctl set_permissions -p / {user} ");
    let line = GUIDE.lines().find_map(|line| line.strip_prefix(&begins)).context(begins.clone())?;
    let patterns: Vec<_> = line
        .split('\'')
        .skip(1)
        .step_by(2)
        .map(|one| one.replace(r"backhaul\.", r"test_[0-9a-f]+\."))
        .collect();
    ensure!(patterns.len() == 3, "{line}");
    Ok(patterns)
}

async fn allow(rabbit: &PrivateRabbit, user: &str) -> Result<String> {
    rabbit.control(&["add_user", user, "secret"]).await?;
    let patterns = patterns(user)?;
    let mut arguments = vec!["set_permissions", "-p", "/", user];
    arguments.extend(patterns.iter().map(String::as_str));
    rabbit.control(&arguments).await?;
    Ok(rabbit.url().replace("guest:guest", &format!("{user}:secret")))
}

/// A channel of its own, since a refusal closes it.
async fn channel(connection: &Connection) -> Result<Channel> {
    let channel = connection.create_channel().await?;
    channel.confirm_select(ConfirmSelectOptions::default()).await?;
    Ok(channel)
}

async fn publish(connection: &Connection, exchange: &str, key: &str, body: &str) -> Result<()> {
    let (options, properties) = (BasicPublishOptions::default(), BasicProperties::default());
    let channel = channel(connection).await?;
    let confirm =
        channel.basic_publish(exchange.into(), key.into(), options, body.as_bytes(), properties).await?;
    ensure!(confirm.await?.is_ack(), "it was refused");
    Ok(())
}

fn refused<T>(result: Result<T>, what: &str) {
    let error = result.err().map(|error| format!("{error:#}")).unwrap_or_default();
    assert!(error.contains("ACCESS_REFUSED") || error.contains("ACCESS-REFUSED"), "{what}: {error:?}");
}

async fn declare(connection: &Connection, queue: &str) -> Result<()> {
    channel(connection)
        .await?
        .queue_declare(queue.into(), QueueDeclareOptions::default(), FieldTable::default())
        .await?;
    Ok(())
}

async fn consume(connection: &Connection, queue: &str) -> Result<()> {
    let (options, none) = (BasicConsumeOptions::default(), FieldTable::default());
    channel(connection).await?.basic_consume(queue.into(), "".into(), options, none).await?;
    Ok(())
}

#[tokio::test]
async fn the_rights_of_the_page_are_enough_and_no_more() -> Result<()> {
    let rabbit = PrivateRabbit::start().await?;
    let amqp = allow(&rabbit, "backhaul").await?;
    let servers = Servers { amqp: amqp.clone(), ..Servers::from_environment()? };
    let fixture = Fixture::start_on(&servers, Options::new([TenantOptions::new("acme", 25)])).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    // The broadcast of a cancel, too.
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(job, "enough").await?;
    fixture.until_over(job, JobStatus::Cancelled).await?;
    fixture.upstream.release();

    let ours = Connection::connect(&amqp, ConnectionProperties::default()).await?;
    let admin = Connection::connect(&rabbit.url(), ConnectionProperties::default()).await?;
    declare(&admin, "foreign").await?;
    refused(declare(&ours, "elsewhere").await, "a queue of another name");
    refused(consume(&ours, "foreign").await, "another's queue");
    refused(publish(&ours, "amq.topic", "x", "{}").await, "another's exchange");

    // An upstream service that only sends commands.
    let crm = Connection::connect(&allow(&rabbit, "crm").await?, ConnectionProperties::default()).await?;
    let name = |rest: &str| format!("{}.{rest}", fixture.namespace);
    let start = json!({ "connection_id": account.connection }).to_string();
    publish(&crm, &name("commands"), "sync.start", &start).await?;
    let sql = "select count(*) = 3 from jobs where status = 'completed' or status = 'cancelled'";
    fixture.until_sql(sql).await?;
    refused(publish(&crm, &name("pages"), "page", "{}").await, "a doorbell of a stranger");
    refused(publish(&crm, &name("aborts"), "", "{}").await, "an abort of a stranger");
    refused(publish(&crm, "", &name("starts"), "{}").await, "past the exchange");
    refused(consume(&crm, &name("starts")).await, "others' commands");
    refused(declare(&crm, &name("starts")).await, "a queue of ours");
    fixture.finish([consumer]).await
}
