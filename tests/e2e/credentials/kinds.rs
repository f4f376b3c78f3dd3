//! Every kind of credentials that settings allow, against an upstream that sends them back wherever it can.
//!
//! What a record says is the tenant's data, and is kept as it came: a record that had the key in it would be found in
//! `records`, and a `last_id` walk would have it in its checkpoint. The upstream here puts it everywhere but there.

use super::hunt::{Hunt, base64};
use super::mirror::{ITEMS, Mirror, WAYS};
use anyhow::{Context, Result, ensure};
use protocol::command::StartCommand;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::collections::HashMap;
use store::connections::NewConnection;
use testkit::command_line::backhaul;
use testkit::fixture::{CREDENTIALS_KEY, Fixture};
use testkit::process::{Process, Program};

/// What gives each secret away.
const CORES: [&str; 5] = [
    "Tk4wQ9zLmX2pVb7RsY6n",
    "Bs8dFh3JkW5vCx1NzG0q",
    "Us2mTy7PaE4rLi9OwK6h",
    "Pw5xZc8VnD1gQj3HbS7f",
    "Ak6uRo0YeI2tMd4FvX9j",
];

/// How a connection authenticates, and its credentials.
fn kinds() -> [(&'static str, Value, Value); 4] {
    let secret = |core: &str| format!("\"<&\\/+%{core}'>");
    let [token, basic, user, password, key] = CORES;
    let basic = base64(format!("someone:{}", secret(basic)).as_bytes());
    [
        (
            "bearer",
            json!({"header": "Authorization", "value": "Bearer {token}"}),
            json!({"token": secret(token)}),
        ),
        ("basic", json!({"header": "Authorization", "value": "Basic {basic}"}), json!({"basic": basic})),
        (
            "two",
            json!({"header": "X-Auth", "value": "{user}:{password}"}),
            json!({"user": secret(user), "password": secret(password)}),
        ),
        ("key", json!({"header": "X-API-Key", "value": "{api_key}"}), json!({"api_key": secret(key)})),
    ]
}

fn settings(way: &str, kind: &str, auth: &Value) -> Value {
    let next = match way {
        "link" => json!({"style": "link_header"}),
        "cursor" | "cursor-in-base64" => {
            json!({"style": "cursor", "pointer": "/next", "parameter": "cursor"})
        }
        _ => json!({"style": "next_url", "pointer": "/next", "more": "/more"}),
    };
    json!({
        "path": format!("/{way}/{kind}"),
        "records": {"pointer": "/data", "id": "/id", "time": "/at"},
        "next": next,
        "total": "/total",
        "auth": auth,
        "item": {"path": format!("/{way}/{kind}/{{id}}")},
    })
}

fn process(environment: &HashMap<String, String>, name: &str) -> Result<Process> {
    let program = Program::built(name)?.env("BACKHAUL__LOG__FILTER", "trace");
    program.envs(environment).start()
}

#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_every_kind_appear_nowhere() -> Result<()> {
    let mut fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let (mirror, environment) = (Mirror::start().await?, fixture.environment());
    let mut hunt = Hunt::for_needles(&[&CORES[..], &[CREDENTIALS_KEY.trim_end_matches('=')]].concat());
    let everything = fixture.listen_to_everything().await?;
    let mut consumer = process(&environment, "consumer")?;
    consumer.ready().await?;

    let mut jobs = Vec::new();
    for (kind, auth, credentials) in kinds() {
        for (way, gets_over) in WAYS {
            let new = NewConnection {
                tenant,
                name: format!("{kind} {way}"),
                source: "paged_json".to_owned(),
                base_url: mirror.address.clone(),
                settings: settings(way, kind, &auth),
            };
            let connection = fixture.put_connection(&new, &credentials).await?;
            let command = StartCommand {
                document_ids: (way == "items").then(|| ITEMS.map(ToOwned::to_owned).to_vec()),
                ..Fixture::start_command(connection, JobId::random())
            };
            fixture.publish_start_command(&command).await?;
            jobs.push((new.name, gets_over, command.job_id.context("it was chosen")?));
        }
    }
    // A dead letter, to have looked at one.
    fixture.publish_start(ConnectionId::random()).await?;
    for (name, gets_over, job) in &jobs {
        let expected = if *gets_over { JobStatus::Completed } else { JobStatus::Failed };
        let view = fixture.until_over(*job, expected).await.with_context(|| name.clone())?;
        if let Some(error) = view.error {
            let error = format!("{error:?}");
            let says = ["[redacted]", "holds the connection's credentials", "content type not given"];
            ensure!(says.iter().any(|words| error.contains(words)), "{name}: {error}");
        }
        // People and scripts are told the same; of one kind it is enough to see to both.
        let is_first = name.starts_with("bearer");
        for command in if is_first { &["status", "explain"][..] } else { &["explain"] } {
            let ran = backhaul(&environment, &["-vv", command, &job.to_string()]).await?;
            hunt.text(&format!("{command} of {name}"), &format!("{}\n{}", ran.stdout, ran.stderr));
        }
        let forms = [["--json", "--show=9"].as_slice(), &["--show=9"]];
        for more in forms.into_iter().take(if is_first { 2 } else { 1 }) {
            let arguments =
                [["-vv", "admin", "connection", "test", name, "--tenant", "acme"].as_slice(), more].concat();
            let ran = backhaul(&environment, &arguments).await?;
            ensure!(ran.code == Some(0) || ran.code == Some(1), "{name}: {}", ran.stderr);
            hunt.text(&format!("the test of {name}"), &format!("{}\n{}", ran.stdout, ran.stderr));
        }
    }
    ensure!(mirror.given_back() >= 12, "the key was put back {} times", mirror.given_back());
    fixture
        .until_sql(
            "select count(*) = 52 and bool_and(published_at is not null) from job_events where kind in ('completed', 'failed')",
        )
        .await?;
    for path in ["/metrics", "/healthz", "/readyz"] {
        hunt.text(path, &consumer.get(path).await?.1);
    }
    consumer.terminate()?;
    ensure!(consumer.exit().await?.success());
    ensure!(std::fs::read_to_string(consumer.log())?.contains("TRACE"));
    hunt.file(consumer.log())?;
    hunt.database(&fixture.database).await?;
    let letters = fixture.look_at_dead_letters().await?;
    ensure!(letters.len() == 1, "{letters:?}");
    for message in everything.end().await?.iter().chain(&letters) {
        hunt.text("a message", message);
    }
    let (found, bytes) = hunt.end();
    ensure!(found.is_empty(), "{} places in {bytes} bytes:\n{}", found.len(), found.join("\n"));
    ensure!(bytes > 300_000, "only {bytes} bytes were looked through");
    fixture.expect_dead_letters(1);
    fixture.finish([]).await
}
