//! A database that is away, or lets nobody in: said as what it is, once when it begins and once when it is over.

use anyhow::{Context, Result};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use testkit::command_line::backhaul;
use testkit::fixture::{Fixture, amqp_url};
use testkit::process::{Process, Program};
use tokio::time::{Instant, sleep};
use url::Url;

fn start(name: &str, environment: &HashMap<String, String>) -> Result<Process> {
    let program = Program::built(name)?;
    program.envs(environment).start()
}

/// A slow statement tells of a machine under load.
fn warns(line: &str) -> bool {
    (line.contains("WARN") || line.contains("ERROR")) && !line.contains("slow statement")
}

#[tokio::test]
async fn an_outage_is_told_at_its_beginning_and_at_its_end() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let account = fixture.account("acme", json!({})).await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let mut environment = fixture.environment_at(&database, &amqp_url());
    environment.insert("BACKHAUL__DATABASE__CONNECT_TIMEOUT_MS".to_owned(), "5000".to_owned());
    let (mut consumer, mut producer) = (start("consumer", &environment)?, start("producer", &environment)?);
    consumer.ready().await?;
    producer.ready().await?;
    fixture.upstream.hold();
    fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    let before =
        [consumer.log(), producer.log()].map(|log| std::fs::read_to_string(log).map_or(0, |log| log.len()));
    proxy.refuse();
    proxy.cut().await;
    fixture.upstream.release();
    consumer.unready().await?;
    producer.unready().await?;
    // Long enough for each loop of the sweeper, renewals and held pages to meet it.
    let begun = Instant::now();
    let origin = format!("http://{}/api/v1/jobs", producer.address().await?);
    while begun.elapsed() < Duration::from_secs(6) {
        let key = "bk_nobody";
        assert_ne!(reqwest::Client::new().get(&origin).bearer_auth(key).send().await?.status(), 200);
        sleep(Duration::from_millis(100)).await;
    }
    proxy.resume();
    consumer.ready().await?;
    producer.ready().await?;
    fixture.until_sql("select bool_and(status = 'completed') and count(*) = 1 from jobs").await?;
    for (program, before) in [&mut consumer, &mut producer].into_iter().zip(before) {
        program.line("the database is back after ").await?;
        program.terminate()?;
        assert!(program.exit().await?.success());
        let log = std::fs::read_to_string(program.log())?;
        let warnings: Vec<_> =
            log.get(before..).unwrap_or_default().lines().filter(|line| warns(line)).collect();
        let begun = warnings.iter().filter(|line| line.contains("the database is away")).count();
        let going_on = warnings.iter().filter(|line| line.contains("the database has been away for")).count();
        assert!(begun == 1 && going_on <= 2 && warnings.len() == begun + going_on, "{}", warnings.join("\n"));
    }
    fixture.exact(account, "acme").await?;
    fixture.finish([]).await
}

/// What `readyz` and a command say of this address.
async fn said(fixture: &Fixture, url: &Url) -> Result<String> {
    let environment = fixture.environment_at(url, &amqp_url());
    let ran = backhaul(&environment, &["admin", "tenant", "list"]).await?;
    assert_eq!(ran.code, Some(1), "{}", ran.stdout);
    let mut all = ran.stderr;
    for name in ["consumer", "producer"] {
        let mut program = start(name, &environment)?;
        program.line("the database is away").await?;
        let (status, body) = program.get("/readyz").await?;
        assert_eq!(status, 503, "{body}");
        all += &body;
        program.terminate()?;
        assert!(program.exit().await?.success());
    }
    Ok(all)
}

#[tokio::test]
async fn why_a_database_does_not_let_us_in_is_said() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let mut absent = fixture.database.url();
    absent.set_path("no_such_database");
    let told = said(&fixture, &absent).await?;
    assert_eq!(told.matches("no_such_database\\\" does not exist").count(), 2, "{told}");
    assert!(told.contains("DATABASE_URL") && !told.contains("migrate"), "{told}");

    let mut wrong = fixture.database.url();
    wrong.set_username("nobody_of_that_name").ok().context("a URL with a user")?;
    wrong.set_password(Some("s3cret")).ok().context("a URL with a password")?;
    let told = said(&fixture, &wrong).await?;
    assert_eq!(told.matches("does not let this program in").count(), 3, "{told}");
    assert!(!told.contains("migrate") && !told.contains("s3cret"), "{told}");

    let closed = "postgres://me:s3cret@127.0.0.1:1/x".parse()?;
    let told = said(&fixture, &closed).await?;
    assert_eq!(told.matches("127.0.0.1:1: Connection refused").count(), 3, "{told}");
    assert!(!told.contains("timed out") && !told.contains("s3cret"), "{told}");
    fixture.finish([]).await
}
