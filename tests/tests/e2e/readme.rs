//! The examples in README.md work: they are taken from there and run.

use anyhow::{Context, Result, ensure};
use common::amqp::{Destination, Envelope, WorkQueue, header};
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
    assert_eq!(statuses, ["pending", "cancelled"]);
    assert_eq!(answers[1]["cancel_reason"], "wrong account");
    producer.terminate()?;
    assert!(producer.exit().await?.success());
    fixture.finish([]).await
}

#[tokio::test]
async fn source_connections() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let tenant = fixture.store.create_tenant("acme", 16).await?.id;
    let key = ApiKey::generate();
    fixture.store.create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
    let mut producer = start_producer(&fixture).await?;
    let lines = example("connections")?.replace("localhost:8080", &producer.address().await?.to_string());
    ensure!(lines.matches("curl ").count() == 7, "{lines}");

    let (upstream, api_key) = (fixture.upstream.base_url(), fixture.upstream.key("acme").to_owned());
    let variables = [("KEY", key.expose()), ("UPSTREAM", &upstream), ("API_KEY", &api_key)];
    let answers = shell(&lines, &variables).await?;
    let answers: Vec<Value> = answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let [job, jobs, cancelled, connections, deleted] = &answers[..] else { anyhow::bail!("{answers:?}") };
    assert_eq!((&job["status"], &jobs[0]), (&json!("PENDING"), job));
    assert_eq!(cancelled["status"], "CANCELLING");
    let mut listed = deleted.clone();
    listed.as_object_mut().context("a connection")?.remove("settings");
    assert_eq!((&connections[0], &deleted["name"]), (&listed, &json!("calls-over-http")));
    producer.terminate()?;
    assert!(producer.exit().await?.success());
    fixture.finish([]).await
}

#[tokio::test]
async fn with_results() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = ApiKey::generate();
    fixture.store.create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
    let consumer = fixture.consumer().await?;
    let mut producer = start_producer(&fixture).await?;
    let lines = example("results")?.replace("localhost:8080", &producer.address().await?.to_string());
    let calls: Vec<_> = lines.match_indices("curl ").map(|(at, _)| at).collect();
    ensure!(calls.len() == 6, "{lines}");
    let run = async |from: usize, to: Option<usize>, variables: &[(&str, &str)]| -> Result<Vec<Value>> {
        let lines = &lines[calls[from]..to.map_or(lines.len(), |to| calls[to])];
        let answers = shell(lines, &[&[("KEY", key.expose())], variables].concat()).await?;
        Ok(answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?)
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();

    let schema = text(&run(0, Some(1), &[]).await?[0]["id"]);
    let (connection, call) = (account.connection.to_string(), fixture.upstream.id("acme", 7));
    let started =
        run(1, Some(2), &[("CONNECTION", &connection), ("SCHEMA", &schema), ("CALL", &call)]).await?;
    let job = text(&started[0]["id"]);
    fixture.until_over(job.parse()?, JobStatus::Completed).await?;
    let answers = run(2, Some(5), &[("JOB", &job)]).await?;
    let [status, results, list] = answers.as_slice() else { anyhow::bail!("{answers:?}") };
    assert_eq!(json!([status["status"], status["document_count"]]), json!(["complete", 2]));
    assert_eq!(status["grid_stats"]["total_cells"], 6);
    let rows = &results["data"];
    assert_eq!(json!([rows[0]["status"], rows[0]["values"]["call"]]), json!(["complete", call]));
    assert_eq!(json!([rows[1]["status"], rows[1]["document_id"]]), json!(["failed", "unknown"]));
    assert_eq!(list["data"], json!([]), "none is processing");
    consumer.stop().await?;

    let waits = fixture.accept(account.connection).await?.to_string();
    let cancelled = run(5, None, &[("JOB", &waits)]).await?;
    assert_eq!(
        json!([cancelled[0]["status"], cancelled[0]["error"]["message"]]),
        json!(["failed", "Cancelled via API"])
    );
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
    let amqp: url::Url = amqp_url().parse()?;
    let password = amqp.password().unwrap_or("guest");
    let variables =
        [("MANAGEMENT_URL", management.url()), ("PASSWORD", password.to_owned()), ("CONNECTION", connection)];
    let variables = variables.each_ref().map(|(name, value)| (*name, value.as_str()));
    let answer = shell(&lines, &variables).await?;
    assert_eq!(serde_json::from_str::<Value>(&answer)?, json!({ "routed": true }));
    fixture.until_sql("select count(*) = 1 from jobs where status = 'completed'").await?;
    let job = sqlx::query_scalar("select id from jobs").fetch_one(&fixture.database.pool).await?;
    fixture.until_over(common::ids::JobId(job), JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn of_dead_letters() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    for (id, reason) in [("early", "unknown_connection"), ("junk", "not_json")] {
        let letter = Envelope::new(Destination::DeadLetter, "sync.start", "no JSON")
            .with_message_id(id)
            .with_header(header::REASON, reason)
            .with_header(header::QUEUE, "starts");
        fixture.publisher.publish(letter).await?;
    }
    let mut lines = format!("backhaul() {{ {:?} \"$@\"; }}\n", Program::built("backhaul")?.path());
    let environment = fixture.environment();
    for (name, value) in &environment {
        lines.push_str(&format!("export {name}='{value}'\n"));
    }
    lines.push_str(&example("dlq")?);
    let said = shell(&lines, &[("ID", "early")]).await?;
    let told: Vec<_> = said.lines().map(str::trim_end).collect();
    ensure!(
        told.iter().filter(|line| line.starts_with("early  ")).count() == 2,
        "listed and retried: {said}"
    );
    ensure!(told.contains(&"1 retried") && told.contains(&"1 dropped"), "{said}");
    ensure!(!told.iter().take(2).any(|line| line.starts_with("junk")), "{said}");
    assert_eq!(fixture.lose(WorkQueue::Starts).await?, 1);
    fixture.finish([]).await
}
