//! The documentation is true: its examples are taken from it and run, and its links lead somewhere.

use anyhow::{Context, Result, ensure};
use broker::{Destination, Envelope};
use identity::api_key::ApiKey;
use protocol::contract::header;
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use serde_json::{Value, json};
use testkit::clients::{Management, python, root};
use testkit::fixture::{Fixture, amqp_url};
use testkit::process::{Process, Program};
use testkit::readme::{example, examples, pages, shell};

async fn start_producer(fixture: &Fixture) -> Result<Process> {
    let producer = fixture.producer_program()?.start()?;
    producer.ready().await?;
    Ok(producer)
}

#[tokio::test]
async fn over_http() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
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
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(tenant, "test", &key.hash(), key.prefix()).await?;
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
    fixture.store.tenants().create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
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
    fixture.until_over(protocol::ids::JobId(job), JobStatus::Completed).await?;
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

/// The whole tutorial, as somebody types it.
#[tokio::test]
async fn the_tutorial() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let folder = std::env::temp_dir().join(format!("backhaul-tutorial-{}", uuid::Uuid::new_v4().simple()));
    std::fs::create_dir(&folder)?;
    let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?.port().to_string();
    std::fs::write(folder.join("orders.py"), example("tutorial-api")?.replace("9000", &port))?;
    let mut lines = String::from("trap 'kill $(jobs -p); wait' EXIT\n");
    lines.push_str(&format!("cd {}\n", folder.display()));
    for program in ["backhaul", "consumer"] {
        let path = Program::built(program)?.path();
        // In the background the shell becomes the program.
        let exec = if program == "consumer" { "exec " } else { "" };
        lines.push_str(&format!("{program}() {{ {exec}{path:?} \"$@\"; }}\n"));
    }
    lines.push_str(&format!("listens() {{ (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; }}\n"));
    for block in examples("tutorial")? {
        lines.push_str(&block.replace("9000", &port));
        lines.push('\n');
        if block.contains("orders.py") {
            // A person is slower than Python's start.
            lines.push_str("until listens; do sleep 0.05; done\n");
        }
    }
    let mut variables: Vec<(String, String)> = fixture.environment().into_iter().collect();
    variables.push(("DATABASE_URL".to_owned(), fixture.database.url().to_string()));
    let variables: Vec<(&str, &str)> =
        variables.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let said = shell(&lines, &variables).await;
    std::fs::remove_dir_all(&folder)?;
    let said = said?;
    ensure!(said.contains("2026-01-01 00:00:00"), "the first order is shown: {said}");
    let ended: Vec<(String, String)> =
        sqlx::query_as("select mode::text, status::text from jobs order by created_at")
            .fetch_all(&fixture.database.pool)
            .await?;
    assert_eq!(ended, ["range", "incremental", "full"].map(|mode| (mode.to_owned(), "completed".to_owned())));
    let whole = "select count(*) = 250 and max(revision) = 1 and max(deleted_at) is null from records";
    assert!(sqlx::query_scalar::<_, bool>(whole).fetch_one(&fixture.database.pool).await?);
    fixture.finish([]).await
}

/// The anchor that a heading has.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().to_lowercase();
    let kept = kept.chars().filter(|it| it.is_alphanumeric() || matches!(it, ' ' | '-' | '_'));
    kept.map(|it| if it == ' ' { '-' } else { it }).collect()
}

fn anchors(text: &str) -> Vec<String> {
    text.lines()
        .filter(|line| line.starts_with('#'))
        .map(|line| anchor(line.trim_start_matches('#')))
        .collect()
}

/// Without the fenced blocks.
fn prose(text: &str) -> String {
    text.split("```").step_by(2).collect()
}

#[test]
fn every_link_leads_to_a_page_and_a_heading_that_are_there() -> Result<()> {
    let (mut links, mut dead) = (0, Vec::new());
    for page in pages()? {
        let text = prose(&std::fs::read_to_string(&page)?);
        for after in text.split("](").skip(1) {
            let (target, _) = after.split_once(')').context("a link ends")?;
            if target.is_empty() || target.contains("://") {
                continue;
            }
            links += 1;
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let to = match path {
                "" => page.clone(),
                path => page.parent().context("a page is in a folder")?.join(path),
            };
            let there = if heading.is_empty() {
                to.exists()
            } else {
                std::fs::read_to_string(&to)
                    .is_ok_and(|text| anchors(&prose(&text)).iter().any(|it| it == heading))
            };
            // In the book there is nothing but docs/.
            let in_the_book = !page.starts_with(root().join("docs"))
                || !target.contains("../deploy") && !target.contains("../README");
            if !there || !in_the_book {
                dead.push(format!("{}: {target}", page.display()));
            }
        }
    }
    let summary = std::fs::read_to_string(root().join("docs/SUMMARY.md"))?;
    for page in pages()? {
        if let Ok(within) = page.strip_prefix(root().join("docs"))
            && !within.ends_with("SUMMARY.md")
            && !summary.contains(&format!("({})", within.display()))
        {
            dead.push(format!("docs/SUMMARY.md does not lead to {}", within.display()));
        }
    }
    ensure!(dead.is_empty() && links > 50, "{links} links, of which are dead: {dead:#?}");
    Ok(())
}

#[test]
fn the_crates_depend_on_each_other_as_the_architecture_says() -> Result<()> {
    let cargo = std::process::Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()?;
    ensure!(cargo.status.success(), "{}", String::from_utf8_lossy(&cargo.stderr));
    let metadata: Value = serde_json::from_slice(&cargo.stdout)?;
    let packages = metadata["packages"].as_array().context("packages")?;
    let names: Vec<&str> = packages.iter().filter_map(|package| package["name"].as_str()).collect();
    let document = std::fs::read_to_string(root().join("docs/ARCHITECTURE.md"))?;
    for package in packages {
        let name = package["name"].as_str().context("a name")?;
        let dependencies = package["dependencies"].as_array().context("dependencies")?.iter();
        // Tests may use what makes bad inputs.
        let mut uses: Vec<&str> = dependencies
            .filter(|dependency| dependency["kind"].is_null())
            .filter_map(|dependency| dependency["name"].as_str())
            .filter(|dependency| names.contains(dependency))
            .collect();
        uses.sort_unstable();
        let uses: Vec<String> = uses.iter().map(|name| format!("`{name}`")).collect();
        let uses = if uses.is_empty() { "–".to_owned() } else { uses.join(", ") };
        let row = format!("| `{name}` | {uses} |");
        ensure!(document.contains(&row), "docs/ARCHITECTURE.md lacks the row {row}");
    }
    Ok(())
}
