//! The examples in README.md work: they are taken from there and run.

use anyhow::{Result, ensure};
use common::job::JobStatus;
use harness::clients::{Management, python};
use harness::fixture::{Fixture, amqp_url};
use harness::process::{Process, Program};
use harness::readme::{example, shell};
use producer::api_key::ApiKey;
use serde_json::{Value, json};

async fn start_producer(fixture: &Fixture) -> Result<Process> {
    let program = Program::built("producer")?;
    let producer =
        fixture.environment().iter().fold(program, |it, (name, value)| it.env(name, value)).start()?;
    producer.ready().await?;
    Ok(producer)
}

#[tokio::test]
async fn over_http() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = ApiKey::generate();
    fixture.store.create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
    let mut producer = start_producer(&fixture).await?;
    let lines = example("http")?.replace("localhost:8080", &producer.address().await?.to_string());
    ensure!(lines.matches("curl ").count() == 3, "{lines}");

    let connection = account.connection.to_string();
    let answers = shell(&lines, &[("KEY", key.expose()), ("CONNECTION", &connection)]).await?;
    let answers: Vec<Value> = answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let statuses: Vec<_> = answers.iter().map(|job| job["status"].as_str().unwrap_or_default()).collect();
    assert_eq!(statuses, ["pending", "pending", "cancelled"]);
    assert_eq!(answers[2]["cancel_reason"], "wrong account");
    producer.terminate()?;
    assert!(producer.exit().await?.success());
    fixture.finish([]).await
}

#[tokio::test]
async fn in_python() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let code = example("pika")?.replace("\"backhaul.", &format!("\"{}.", fixture.namespace));
    let output = Program::at(python().await?)
        .env("AMQP_URL", amqp_url())
        .env("CONNECTION", account.connection.to_string())
        .arg("-c")
        .arg(code)
        .output()
        .await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    assert!(output.status.success(), "{stdout}\n{stderr}");
    for kind in ["job.accepted ", "job.started ", "job.completed "] {
        assert!(stdout.lines().any(|line| line.starts_with(kind)), "{kind}: {stdout}");
    }
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn through_the_console() -> Result<()> {
    let Some(management) = Management::of_the_broker()? else {
        tracing::warn!(
            "NOT TESTED: AMQP_URL names a broker of yours, and MANAGEMENT_URL not its management API"
        );
        return Ok(());
    };
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let lines = example("management")?.replace("/backhaul.", &format!("/{}.", fixture.namespace));
    let connection = account.connection.to_string();
    let answer = shell(&lines, &[("MANAGEMENT_URL", &management.url()), ("CONNECTION", &connection)]).await?;
    assert_eq!(serde_json::from_str::<Value>(&answer)?, json!({ "routed": true }));
    fixture.until_sql("select count(*) = 1 from jobs where status = 'completed'").await?;
    let job = sqlx::query_scalar("select id from jobs").fetch_one(&fixture.database.pool).await?;
    fixture.until_over(common::ids::JobId(job), JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}
