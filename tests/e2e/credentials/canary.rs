//! A secret that is easy to recognise goes through everything, and must come out nowhere.

use super::echo::Echo;
use super::hunt::{Hunt, Needle, base64};
use anyhow::{Context, Result, ensure};
use protocol::ids::JobId;
use protocol::job::JobStatus;
use reqwest::{Client, Method};
use serde_json::{Value, json};
use std::collections::HashMap;
use testkit::command_line::backhaul;
use testkit::database::Database;
use testkit::fixture::{CREDENTIALS_KEY, Fixture};
use testkit::process::{Process, Program};
use testkit::sample_upstream::Options;
use testkit::wiretap::Wiretap;

/// Letters and digits that nothing else has, between characters that every writer writes in its own way.
const CORE: &str = "Qm7xK2vT9pLw4ZsB8nRdY3";
const CANARY: &str = "\"<&\\/+%Qm7xK2vT9pLw4ZsB8nRdY3'>";

/// What a test has of the whole system.
struct System {
    fixture: Fixture,
    environment: HashMap<String, String>,
    echo: Echo,
    hunt: Hunt,
}

impl System {
    /// Runs the command line with much to say, and looks through what it says.
    async fn backhaul(&mut self, arguments: &[&str]) -> Result<String> {
        let ran = backhaul(&self.environment, &[&["-vv"], arguments].concat()).await?;
        self.hunt.text("the command line", &format!("{}\n{}", ran.stdout, ran.stderr));
        ensure!(ran.code == Some(0), "{arguments:?}: {}\n{}", ran.stdout, ran.stderr);
        Ok(ran.stdout)
    }

    async fn connection(&mut self, way: &str) -> Result<String> {
        let base_url = format!("{}/{way}", self.echo.address);
        let put = ["admin", "connection", "put", "--tenant", "acme", "--name", way, "--source", "ultravox"];
        let put = self.backhaul(&[put.as_slice(), &["--base-url", &base_url, "--json"]].concat()).await?;
        let put: Value = serde_json::from_str(put.trim())?;
        Ok(put["id"].as_str().context("a connection has an id")?.to_owned())
    }

    fn process(&self, name: &str) -> Result<Process> {
        let program = Program::built(name)?.env("BACKHAUL__LOG__FILTER", "trace");
        program.envs(&self.environment).start()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_appear_nowhere() -> Result<()> {
    let fixture = Fixture::start(Options::new([])).await?;
    let mut environment = fixture.environment();
    environment.insert("BACKHAUL_CREDENTIALS".to_owned(), json!({ "api_key": CANARY }).to_string());
    environment.insert("BACKHAUL__PAGES__MAX_ATTEMPTS".to_owned(), "12".to_owned());
    let echo = Echo::start().await?;
    let key = CREDENTIALS_KEY.trim_end_matches('=');
    let mut system = System { fixture, environment, echo, hunt: Hunt::for_needles(&[CORE, key]) };

    system.backhaul(&["admin", "tenant", "create", "acme"]).await?;
    let mut connections = Vec::new();
    for way in ["denied", "cut", "garbage", "elsewhere", "cursor", "busy", "recovers"] {
        connections.push((way, system.connection(way).await?));
    }
    let api_key =
        system.backhaul(&["admin", "key", "create", "--tenant", "acme", "--name", "t", "--json"]).await?;
    let api_key: Value = serde_json::from_str(api_key.trim())?;
    let api_key = api_key["key"].as_str().context("the key is shown")?;

    let wiretap = Wiretap::on(&system.fixture).await?;
    let events = system.fixture.listen_to_everything().await?;
    let (mut consumer, mut producer) = (system.process("consumer")?, system.process("producer")?);
    consumer.ready().await?;
    producer.ready().await?;
    let jobs = format!("http://{}/api/v1/jobs", producer.address().await?);
    let client = Client::new();

    for (way, connection) in &connections {
        let start = client.post(&jobs).bearer_auth(api_key).json(&json!({ "connection_id": connection }));
        let answer: Value = start.send().await?.json().await?;
        let job: JobId = answer["id"].as_str().with_context(|| answer.to_string())?.parse()?;
        let one = format!("{jobs}/{job}");
        match *way {
            "busy" => {
                system.fixture.until(job, |view| view.slices.waiting > 0).await?;
                let cancel = json!({ "reason": "enough" });
                let cancel =
                    client.post(format!("{one}/cancel")).bearer_auth(api_key).json(&cancel).send().await?;
                system.hunt.text("the answer to a cancel", &cancel.text().await?);
                system.fixture.until_over(job, JobStatus::Cancelled).await?;
            }
            // Its next page's URL has the key in it, which is taken out, and put back when it is asked for.
            "recovers" | "cursor" => drop(system.fixture.until_over(job, JobStatus::Completed).await?),
            _ => {
                let view = system.fixture.until_over(job, JobStatus::Failed).await?;
                let error = format!("{:?}", view.error.context("a failed job has an error")?);
                // Taken out, or its place in a URL named.
                assert!(error.contains("[redacted]") || error.contains("<api_key>"), "{way}: {error}");
            }
        }
        for path in [one.clone(), format!("{one}/no-such-thing"), jobs.clone()] {
            let answer = client.request(Method::GET, &path).bearer_auth(api_key).send().await?;
            system.hunt.text(&path, &format!("{:?}", answer.headers()));
            system.hunt.text(&path, &answer.text().await?);
        }
        system.backhaul(&["status", &job.to_string()]).await?;
    }
    assert!(system.echo.asked() > 12, "the upstream was asked {} times", system.echo.asked());

    for arguments in [
        ["admin", "connection", "list"].as_slice(),
        &["admin", "connection", "list", "--json"],
        &["admin", "rotate-key", "--json"],
        &["config"],
        &["config", "--json"],
        &["doctor"],
        &["list", "--json"],
    ] {
        system.backhaul(arguments).await?;
    }
    let refused = client.post(&jobs).bearer_auth(api_key).body("{\"connection_id\": 7}").send().await?;
    system.hunt.text("a refusal", &refused.text().await?);
    for process in [&consumer, &producer] {
        for path in ["/metrics", "/healthz", "/readyz"] {
            system.hunt.text(path, &process.get(path).await?.1);
        }
    }
    let System { fixture, mut hunt, .. } = system;
    fixture
        .until_sql(
            "select count(*) = 7 and bool_and(published_at is not null) from job_events
                     where kind in ('completed', 'failed', 'cancelled')",
        )
        .await?;
    consumer.terminate()?;
    producer.terminate()?;
    ensure!(consumer.exit().await?.success() && producer.exit().await?.success());
    let logs = [consumer.log().to_owned(), producer.log().to_owned()];

    hunt.database(&fixture.database).await?;
    for log in &logs {
        ensure!(std::fs::read_to_string(log)?.contains("TRACE"), "{} has no traces", log.display());
        hunt.file(log)?;
    }
    let told = events.end().await?;
    ensure!(
        told.iter().filter(|event| event.contains("\"failed\"") || event.contains("failed")).count() >= 5
    );
    told.iter().for_each(|event| hunt.text("an event", event));
    for message in wiretap.heard() {
        hunt.text("a message", &String::from_utf8_lossy(&message.body));
    }
    wiretap.close().await?;
    let (found, bytes) = hunt.end();
    ensure!(found.is_empty(), "{} places in {bytes} bytes:\n{}", found.len(), found.join("\n"));
    ensure!(bytes > 100_000, "only {bytes} bytes were looked through");
    fixture.finish([]).await
}

/// The hunt is worth nothing unless it finds what is there.
#[tokio::test]
async fn a_leak_would_be_found() -> Result<()> {
    let needle = Needle::new(CORE);
    let quoted = json!({ "header": json!({ "x": CANARY }).to_string() }).to_string();
    let encoded: String = url::form_urlencoded::byte_serialize(CANARY.as_bytes()).collect();
    let mut leaks = vec![CANARY.to_owned(), quoted, encoded];
    for before in ["", "a", "ab"] {
        leaks.push(base64(format!("{before}{CANARY} and more").as_bytes()));
    }
    let database = Database::create().await?;
    database.execute("create table leaks (text text, json jsonb, bytes bytea)").await?;
    for leak in &leaks {
        assert!(needle.found_in(&format!("a line of a log with {leak} in it")).is_some(), "{leak}");
        for column in ["text", "json", "bytes"] {
            let value = match column {
                "json" => "jsonb_build_object('deep', jsonb_build_array($1::text))",
                "bytes" => "convert_to($1, 'UTF8')",
                _ => "$1",
            };
            database.execute("truncate leaks").await?;
            let insert = format!("insert into leaks ({column}) values ({value})");
            sqlx::query(sqlx::AssertSqlSafe(insert)).bind(leak).execute(&database.pool).await?;
            let mut hunt = Hunt::in_small(&[CORE]);
            hunt.database(&database).await?;
            assert_eq!(hunt.end().0.len(), 1, "{column}: {leak}");
        }
    }
    database.remove().await
}
