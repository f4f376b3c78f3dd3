//! The `backhaul` program, run as a person or a script runs it.

use anyhow::{Context, Result};
use broker::{Standing, connect};
use protocol::job::JobStatus;
use protocol::topology::Topology;
use serde_json::{Value, json};
use std::time::Duration;
use testkit::command_line::{self, Ran};
use testkit::fixture::Fixture;
use testkit::process::Program;

async fn backhaul(fixture: &Fixture, arguments: &[&str]) -> Result<Ran> {
    command_line::backhaul(&fixture.environment(), arguments).await
}

#[tokio::test]
async fn a_stranger_sets_up_a_tenant_and_syncs() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let up = backhaul(&fixture, &["migrate"]).await?;
    assert_eq!((up.code, up.stdout.trim()), (Some(0), "the database is up to date"));
    let tenant = backhaul(&fixture, &["admin", "tenant", "create", "acme", "--json"]).await?.json()?;
    assert_eq!(tenant["max_slices"], 16);

    let key =
        backhaul(&fixture, &["admin", "key", "create", "--tenant", "acme", "--name", "ci", "--json"]).await?;
    let key = key.json()?["key"].as_str().context("the key is shown")?.to_owned();
    let listed = backhaul(&fixture, &["admin", "key", "list", "--tenant", "acme", "--json"]).await?;
    assert!(key.starts_with("bh_") && !listed.stdout.contains(&key), "{}", listed.stdout);

    let base_url = fixture.upstream.base_url();
    let credentials = json!({ "api_key": fixture.upstream.key("acme") }).to_string();
    let put = ["admin", "connection", "put", "--tenant", "acme", "--name", "calls", "--source", "ultravox"];
    let more = ["--base-url", &base_url, "--credentials", &credentials, "--json"];
    let made = backhaul(&fixture, &[put.as_slice(), &more].concat()).await?;
    assert!(!made.stdout.contains("api_key"), "credentials are not shown: {}", made.stdout);
    let connection = made.json()?["id"].as_str().context("a connection has an id")?.to_owned();

    let consumer = fixture.consumer().await?;
    let ran = backhaul(&fixture, &["start", "--connection", &connection, "--wait", "--json"]).await?;
    assert_eq!((ran.code, &ran.json()?["status"]), (Some(0), &json!("completed")), "{}", ran.stderr);
    assert_eq!(ran.json()?["counters"]["inserted"], 25);
    let id = ran.json()?["id"].as_str().context("a job has an id")?.to_owned();

    let status = backhaul(&fixture, &["status", &id]).await?;
    assert!(
        status.stdout.contains("25 inserted") && status.stdout.contains("acme/calls"),
        "{}",
        status.stdout
    );
    let listed = backhaul(&fixture, &["list", "--status", "completed", "--json"]).await?;
    assert_eq!(listed.json()?[0]["id"], json!(id));
    let watched = backhaul(&fixture, &["watch", &id]).await?;
    assert_eq!(
        watched.stdout.trim(),
        format!("{id}  acme/calls  completed  25 records: 25 inserted  in 0 s")
    );
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn refusals_and_mistakes_have_their_own_exit_codes() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let connection = account.connection.to_string();
    fixture.upstream.hold();
    let consumer = fixture.consumer().await?;

    let first = backhaul(&fixture, &["start", "--connection", &connection, "--json"]).await?;
    assert_eq!((first.code, &first.json()?["answer"]), (Some(0), &json!("accepted")));
    let job = first.json()?["job_id"].as_str().context("a start names its job")?.to_owned();
    let second = backhaul(&fixture, &["start", "--connection", &connection]).await?;
    assert_eq!(second.code, Some(1));
    assert!(second.stderr.contains(&job) && second.stderr.starts_with("error: refused"), "{}", second.stderr);

    let cancel = backhaul(&fixture, &["cancel", "--connection", &connection, "--reason", "enough"]).await?;
    assert_eq!(cancel.code, Some(0), "{}", cancel.stderr);
    let view = fixture.until_over(job.parse()?, JobStatus::Cancelled).await?;
    assert_eq!(view.cancel_reason.as_deref(), Some("enough"));
    let late = backhaul(&fixture, &["cancel", &job]).await?;
    assert_eq!(late.code, Some(1));
    assert!(late.stderr.contains("already cancelled"), "{}", late.stderr);

    let nobody = "018f0000-0000-7000-8000-000000000001";
    assert_eq!(backhaul(&fixture, &["start", "--connection", nobody]).await?.code, Some(1));
    assert_eq!(backhaul(&fixture, &["status", nobody]).await?.code, Some(1));
    for mistake in [
        ["start", "--connection", "x"].as_slice(),
        &["start", "--connection", &connection, "--from", "2026-01-02", "--to", "2026-01-01"],
        &["cancel"],
        &["migrate", "--down"],
    ] {
        let ran = backhaul(&fixture, mistake).await?;
        assert_eq!(ran.code, Some(2), "{mistake:?}: {}", ran.stderr);
    }
    fixture.upstream.release();
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn without_a_database_a_command_is_published_all_the_same() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let connection = account.connection.to_string();
    let mut program = Program::built("backhaul")?;
    for (name, value) in fixture.environment() {
        if !name.contains("DATABASE__") {
            program = program.env(&name, value);
        }
    }
    let arguments = ["start", "--connection", &connection, "--json"];
    let output = arguments.iter().fold(program, |program, argument| program.arg(argument)).output().await?;
    let told: Value = serde_json::from_slice(&output.stdout)?;
    assert_eq!((output.status.code(), &told["answer"]), (Some(0), &Value::Null));

    let consumer = fixture.consumer().await?;
    let job = told["job_id"].as_str().context("a start names its job")?.parse()?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_contract_is_printed_and_a_conflict_settled() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let document = backhaul(&fixture, &["contract"]).await?.json()?;
    assert_eq!(document, protocol::contract::asyncapi());
    let schema = backhaul(&fixture, &["contract", "start", "--json"]).await?.json()?;
    assert_eq!(schema["title"], "Backhaul: start");
    let unknown = backhaul(&fixture, &["contract", "stop"]).await?;
    assert!(unknown.code == Some(2) && unknown.stderr.contains("start, cancel, reply"), "{}", unknown.stderr);

    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let connection = account.connection.to_string();
    let start = ["start", "--connection", connection.as_str(), "--json"];
    let first = backhaul(&fixture, &start).await?.json()?;
    let refused = backhaul(&fixture, &start).await?;
    assert_eq!((refused.code, &refused.json()?["answer"]), (Some(1), &json!("active")));
    let same = backhaul(&fixture, &[start.as_slice(), &["--on-conflict", "use_existing"]].concat()).await?;
    assert_eq!((same.code, &same.json()?["job_id"]), (Some(0), &first["job_id"]), "{}", same.stderr);
    let other = backhaul(&fixture, &[start.as_slice(), &["--on-conflict", "supersede"]].concat()).await?;
    assert_eq!((other.code, &other.json()?["answer"]), (Some(0), &json!("superseding")), "{}", other.stderr);
    let old = first["job_id"].as_str().context("an id")?.parse()?;
    fixture.until_over(old, JobStatus::Cancelled).await?;
    fixture.upstream.release();
    let new = other.json()?["job_id"].as_str().context("an id")?.parse()?;
    fixture.until_over(new, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn put_says_what_becomes_of_what_is_known() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    fixture.store.tenants().create("acme", 16).await?;
    let base_url = fixture.upstream.base_url();
    let credentials = json!({ "api_key": fixture.upstream.key("acme") }).to_string();
    let put = async |credentials: &str, more: &[&str]| {
        let put =
            ["admin", "connection", "put", "--tenant", "acme", "--name", "calls", "--source", "ultravox"];
        let at = ["--base-url", &base_url, "--credentials", credentials, "--json"];
        backhaul(&fixture, &[put.as_slice(), &at, more].concat()).await?.json()
    };
    let made = put(&credentials, &[]).await?;
    let connection = made["id"].as_str().context("a connection has an id")?.to_owned();
    assert_eq!(made["notice"], Value::Null);
    let consumer = fixture.consumer().await?;
    let incremental = ["start", "--connection", &connection, "--incremental", "--wait"];
    assert_eq!(backhaul(&fixture, &incremental).await?.code, Some(0));

    // The same once more changes nothing.
    assert_eq!(put(&credentials, &[]).await?["notice"], Value::Null);
    let other = put("{\"api_key\": \"another\"}", &[]).await?;
    let notice = other["notice"].as_str().context("there is one")?;
    assert!(notice.contains("--new-account") && notice.contains("stays known"), "{notice}");
    let new = put(&credentials, &["--new-account"]).await?;
    let notice = new["notice"].as_str().context("there is one")?;
    assert!(notice.contains("the next incremental job walks everything"), "{notice}");
    assert_eq!(backhaul(&fixture, &incremental).await?.code, Some(0));

    let of = ["acme", "calls"];
    let versions =
        backhaul(&fixture, &["admin", "connection", "versions", of[1], "--tenant", of[0], "--json"])
            .await?
            .json()?;
    let scopes: Vec<_> =
        versions["versions"].as_array().context("a list")?.iter().map(|one| &one["scope"]).collect();
    assert_eq!((scopes, &versions["known"]["scope"]), (vec![&json!(1), &json!(2)], &json!(2)), "{versions}");
    let listed = ["admin", "connection", "stragglers", of[1], "--tenant", of[0]];
    let none = backhaul(&fixture, &listed).await?;
    assert_eq!(none.stdout.trim(), "no stragglers: everything that was met is stored");
    fixture.finish([consumer]).await
}

/// Every program that reads the file, and every way in which a line with a secret can be wrong.
#[tokio::test]
async fn a_mistake_in_the_configuration_file_shows_no_secret() -> Result<()> {
    let folder = std::env::temp_dir().join(format!("backhaul-mistakes-{}", std::process::id()));
    std::fs::create_dir_all(&folder)?;
    for (name, text, place) in [
        ("unquoted", "[auth]\nhs256_secret = s3cret-s3cret\n", "line 2, column 16"),
        ("unterminated", "[auth]\nhs256_secret = \"s3cret\n", "line 2, column 23"),
        ("type", "[credentials]\nkey = [\"s3cret\"]\n", "line 2, column 7"),
        ("key", "[amqp]\nuri = \"amqp://me:s3cret@h\"\n", "line 2, column 7"),
    ] {
        let file = folder.join(format!("{name}.toml"));
        std::fs::write(&file, text)?;
        let path = file.display().to_string();
        for (program, arguments) in [
            ("backhaul", ["config"].as_slice()),
            ("backhaul", &["doctor"]),
            ("backhaul", &["doctor", "--json"]),
            ("producer", &[]),
            ("consumer", &[]),
        ] {
            let run = Program::built(program)?.arg("--config").arg(&path).env("RUST_BACKTRACE", "0");
            let run = run.env("BACKHAUL__DATABASE__URL", "postgres://me@127.0.0.1:1/x");
            let output = arguments.iter().fold(run, |run, argument| run.arg(argument)).output().await?;
            let said = [output.stdout, output.stderr].concat();
            let said = String::from_utf8(said)?;
            let ended = output.status.code().is_some_and(|code| code != 0);
            let told = said.contains(&format!("{path}, {place}"));
            assert!(ended && told && !said.contains("s3cret"), "{program} {arguments:?}, {name}: {said}");
        }
    }
    Ok(std::fs::remove_dir_all(folder)?)
}

/// A namespace that was mistyped gets nothing: no command that nobody will apply, and no names.
#[tokio::test]
async fn a_command_into_a_namespace_that_nobody_has_is_refused_and_declares_nothing() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut environment = fixture.environment();
    let mistyped = format!("{}_mistyped", fixture.namespace);
    environment.insert("BACKHAUL__AMQP__NAMESPACE".to_owned(), mistyped.clone());
    let connection = account.connection.to_string();
    for command in ["start", "cancel"] {
        let ran = command_line::backhaul(&environment, &[command, "--connection", &connection]).await?;
        assert_eq!(ran.code, Some(1), "{}", ran.stdout);
        assert!(ran.stderr.contains(&format!("has nothing of the namespace {mistyped:?}")), "{}", ran.stderr);
    }
    // What is published only as a hint makes nothing either.
    let job = fixture.accept(account.connection).await?.to_string();
    assert_eq!(command_line::backhaul(&environment, &["pause", &job]).await?.code, Some(0));

    let server = connect(&fixture.settings()?.amqp, "test").await?;
    let names = broker::inspect(&Topology::new(&mistyped), &server, Duration::from_secs(20)).await?;
    assert!(names.iter().all(|it| it.standing == Standing::Missing), "{names:?}");
    fixture.finish([]).await
}
