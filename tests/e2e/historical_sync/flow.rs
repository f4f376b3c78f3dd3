//! The whole road with real programs: set up from the command line, start, watch, cancel, start again, completed.

use super::agency::{Agency, Answer, Api, CANCEL, START, STATUS};
use super::signer::{AUDIENCE, ISSUER, SECRET, Signer};
use anyhow::{Context, Result, ensure};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::fixture::{Account, Fixture};
use testkit::process::Program;
use testkit::readme::{example, shell};

fn program(fixture: &Fixture, name: &str) -> Result<Program> {
    let environment = fixture.environment();
    Ok(Program::built(name)?.envs(&environment))
}

async fn backhaul(fixture: &Fixture, arguments: &[&str]) -> Result<Value> {
    let program = program(fixture, "backhaul")?.arg("--json");
    let output = arguments.iter().fold(program, |program, argument| program.arg(argument)).output().await?;
    ensure!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    Ok(serde_json::from_slice(&output.stdout)?)
}

#[tokio::test]
async fn an_agency_syncs_cancels_and_syncs_again() -> Result<()> {
    let fixture = Fixture::with_calls(35).await?;
    let tenant = backhaul(&fixture, &["admin", "tenant", "create", "acme"]).await?;
    let credentials = json!({ "api_key": fixture.upstream.key("acme") }).to_string();
    let base_url = fixture.upstream.base_url();
    let put = |name| {
        let put = ["admin", "connection", "put", "--tenant", "acme", "--source", "ultravox", "--name", name];
        let more =
            ["--base-url", &base_url, "--credentials", &credentials, "--settings", "{\"page_size\": 10}"];
        [put.as_slice(), &more].concat()
    };
    backhaul(&fixture, &[put("first").as_slice(), &["--historical-sync"]].concat()).await?;
    let calls = backhaul(&fixture, &[put("calls").as_slice(), &["--historical-sync"]].concat()).await?;
    let unchanged = backhaul(&fixture, &put("calls")).await?;
    assert_eq!((&calls["historical_sync"], &unchanged["historical_sync"]), (&json!(true), &json!(true)));
    let listed = backhaul(&fixture, &["admin", "connection", "list"]).await?;
    let flags = |name: &str| {
        let list = listed.as_array().into_iter().flatten();
        list.filter(|one| one["name"] == name).map(|one| one["historical_sync"].clone()).collect::<Vec<_>>()
    };
    assert_eq!((flags("first"), flags("calls")), (vec![json!(false)], vec![json!(true)]), "it has moved");

    let ann = backhaul(&fixture, &["admin", "user", "put", "--subject", "ann", "--tenant", "acme"]).await?;
    assert_eq!((&ann["role"], &ann["tenant_id"]), (&json!("member"), &tenant["id"]));
    let producer = program(&fixture, "producer")?
        .env("BACKHAUL__AUTH__HS256_SECRET", SECRET)
        .env("BACKHAUL__AUTH__ISSUER", ISSUER)
        .env("BACKHAUL__AUTH__AUDIENCE", AUDIENCE)
        .start()?;
    let api = Api::at(producer.address().await?);
    let token = Signer::secret().token("ann", None)?;
    let call = async |function, body: &Value| -> Result<Answer> {
        let answer = api.call(function, Some(&token), &body.to_string()).await?;
        ensure!(answer.status == 200, "{answer:?}");
        Ok(answer)
    };

    // Held after its first page, the job is in progress.
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let first = call(START, &json!({})).await?.job()?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let status = call(STATUS, &json!({})).await?.body;
    let job = &status["job"];
    assert_eq!(json!([status["active"], job["id"], job["status"]]), json!([true, first, "in_progress"]));
    assert_eq!(
        json!([job["total_calls"], job["processed_calls"], job["imported_calls"], job["progress_percent"]]),
        json!([35, 10, 10, 29])
    );

    call(CANCEL, &json!({ "job_id": first })).await?;
    let status = call(STATUS, &json!({})).await?.body;
    let recent = &status["recent_job"];
    assert_eq!(json!([status["active"], recent["id"], recent["status"]]), json!([false, first, "cancelled"]));
    assert_eq!(json!([recent["processed_calls"], recent["imported_calls"]]), json!([10, 10]));
    fixture.until_over(first, JobStatus::Cancelled).await?;

    fixture.upstream.release();
    let second = call(START, &json!({})).await?.job()?;
    fixture.until_over(second, JobStatus::Completed).await?;
    let status = call(STATUS, &json!({})).await?.body;
    let recent = &status["recent_job"];
    assert_eq!(
        json!([status["active"], recent["id"], recent["status"]]),
        json!([false, second, "completed"])
    );
    assert_eq!(
        json!([
            recent["total_calls"],
            recent["processed_calls"],
            recent["imported_calls"],
            recent["skipped_calls"]
        ]),
        json!([35, 35, 25, 10])
    );
    let parsed =
        |value: &Value| value.as_str().context("an id")?.parse::<uuid::Uuid>().map_err(anyhow::Error::from);
    let account = Account {
        tenant: protocol::ids::TenantId(parsed(&tenant["id"])?),
        connection: protocol::ids::ConnectionId(parsed(&calls["id"])?),
    };
    fixture.exact(account, "acme").await?;

    // Removed, ann is nobody at once.
    backhaul(&fixture, &["admin", "user", "remove", "ann"]).await?;
    let users = backhaul(&fixture, &["admin", "user", "list", "--tenant", "acme"]).await?;
    assert!(users[0]["disabled_at"].is_string(), "{users}");
    assert_eq!(api.call(STATUS, Some(&token), "").await?.status, 403);
    drop(producer);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_producer_says_what_is_wrong_with_its_settings() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let cases = [
        ("BACKHAUL__AUTH__HS256_SECRET", "too short", "at least 32"),
        ("BACKHAUL__AUTH__HS256_SECRET", SECRET, "auth.issuer must be set"),
        ("BACKHAUL__AUTH__JWKS_URL", "http://issuer.example/jwks", "must be https"),
    ];
    for (name, value, words) in cases {
        let output = program(&fixture, "producer")?.env(name, value).output().await?;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(!output.status.success() && said.contains(words) && !said.contains(SECRET), "{said}");
    }
    let closed = program(&fixture, "producer")?.start()?;
    closed.line("the agency historical sync (/functions/v1) is closed").await?;
    drop(closed);
    fixture.finish([]).await
}

/// The lines that docs/api/historical-sync.md shows to whoever writes the web page.
#[tokio::test]
async fn the_examples_work() -> Result<()> {
    let agency = Agency::with_calls(35).await?;
    let lines = example("agency")?.replace("localhost:8080", &agency.api.address.to_string());
    let (start, rest) = lines.split_at(lines.match_indices("curl ").nth(1).context("three calls")?.0);
    let token: &[(&str, &str)] = &[("JWT", &agency.ann)];
    let started: Value = serde_json::from_str(&shell(start, token).await?)?;
    let job = started["job_id"].as_str().context("a job")?;
    let answers = shell(rest, &[token, &[("JOB", job)]].concat()).await?;
    let answers: Vec<Value> = answers.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    assert_eq!(started["status"], "pending");
    assert_eq!((&answers[0]["active"], &answers[0]["job"]["id"]), (&json!(true), &started["job_id"]));
    assert_eq!(answers[1], json!({ "job_id": job, "status": "cancelled" }));
    agency.fixture.finish([]).await
}
