//! The same jobs by message, over the native API and from the command line.

use super::api::{World, documents};
use anyhow::{Context, Result, ensure};
use protocol::command::{OnConflict, StartCommand};
use protocol::ids::{JobId, SchemaId};
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use testkit::process::Program;

#[tokio::test]
async fn a_message_starts_a_job_over_documents() -> Result<()> {
    let mut world = World::with_calls(25).await?;
    let schema: SchemaId =
        world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?.parse()?;
    let consumer = world.fixture.consumer().await?;
    let ids = world.ids([3, 1, 4, 15, 9, 2, 6]);
    let command = StartCommand {
        schema_id: Some(schema),
        document_ids: Some(ids.clone()),
        // Without effect: it conflicts with nothing.
        on_conflict: OnConflict::Supersede,
        ..Fixture::start_command(world.account.connection, JobId::random())
    };
    world.fixture.publish_start_command(&command).await?;
    let job = command.job_id.context("chosen here")?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let rows = world.rows(job, 3).await?;
    assert_eq!(documents(&rows), ids);
    assert!(rows.iter().all(|row| row["values"]["id"] == row["document_id"]), "{rows:?}");

    let unknown = StartCommand {
        schema_id: Some(SchemaId::random()),
        ..Fixture::start_command(world.account.connection, JobId::random())
    };
    world.fixture.publish_start_command(&unknown).await?;
    let dead = async {
        while world.fixture.dead_letters().await? == 0 {
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), dead).await??;
    world.fixture.expect_dead_letters(1);
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_native_api_and_the_command_line_take_them_too() -> Result<()> {
    let world = World::with_calls(25).await?;
    let schema = world.schema(json!([{ "name": "id", "pointer": "/callId", "type": "string" }])).await?;
    let consumer = world.fixture.consumer().await?;
    let ids = world.ids([7, 21]);
    let connection = world.account.connection;
    let body = json!({ "connection_id": connection, "document_ids": ids, "schema_id": schema });
    let started = world.api.post("/api/v1/jobs", &body).await?;
    ensure!(started.status == 202, "{started:?}");
    let job = started.id()?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(documents(&world.rows(job, 3).await?), ids);
    let unknown = json!({ "connection_id": connection, "schema_id": SchemaId::random() });
    let request = world.api.request(reqwest::Method::POST, "/api/v1/jobs").bearer_auth(&world.api.key);
    let answer = request.json(&unknown).send().await?;
    assert_eq!(answer.status(), 404);
    assert_eq!(answer.json::<Value>().await?["code"], "schema_not_found");

    let connection = connection.to_string();
    let program = world
        .fixture
        .environment()
        .iter()
        .fold(Program::built("backhaul")?, |it, (name, value)| it.env(name, value));
    let arguments = ["start", "--connection", &connection, "--schema", &schema, "--wait", "--json"];
    let arguments = arguments.into_iter().chain(["--document", &ids[1], "--document", &ids[0]]);
    let output = arguments.fold(program, |program, argument| program.arg(argument)).output().await?;
    ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let job: JobId =
        serde_json::from_slice::<Value>(&output.stdout)?["id"].as_str().context("a job")?.parse()?;
    let rows = world.rows(job, 3).await?;
    assert_eq!(documents(&rows), [ids[1].clone(), ids[0].clone()]);
    assert_eq!(rows[0]["values"], json!({ "id": ids[1] }));
    world.fixture.finish([consumer]).await
}
