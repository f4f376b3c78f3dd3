//! Cancels at unexpected times: before the start, again, after the end, with a new start on their heels. And what is
//! told of them.

use anyhow::{Context, Result};
use configuration::ApiConfig;
use engine::Engine;
use futures::StreamExt;
use identity::api_key::ApiKey;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use protocol::command::CancelCommand;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use std::sync::Arc;
use store::commands::CommandKind;
use store::jobs::{CancelOutcome, StartOutcome};
use testkit::fixture::{Account, Fixture};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

const REASON: &str = "the agency has left";

fn cancel(job: JobId, reason: &str, command_id: &str) -> CancelCommand {
    CancelCommand {
        job_id: Some(job),
        reason: Some(reason.to_owned()),
        command_id: Some(command_id.to_owned()),
        requested_by: Some("billing".to_owned()),
        ..CancelCommand::default()
    }
}

/// Starts a job whose only page is in the hands of a worker that neither answers nor lets go: a cancel of it lasts.
async fn start_with_a_ghost(fixture: &Fixture, account: Account) -> Result<JobId> {
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture
        .database
        .execute(
            "update slices set lease_token = gen_random_uuid(), worker = gen_random_uuid(),
                    leased_until = now() + interval '1 hour'",
        )
        .await?;
    fixture.upstream.until(|seen| seen.disconnects == 1).await;
    fixture.upstream.release();
    Ok(job)
}

/// The ghost lets go.
async fn let_go(fixture: &Fixture) -> Result<()> {
    let sql = "update slices set lease_token = null, leased_ring = null, worker = null, leased_until = null";
    fixture.database.execute(sql).await
}

async fn kinds(fixture: &Fixture, job: JobId) -> Result<Vec<String>> {
    Ok(fixture.store.events().of_job(job).await?.into_iter().map(|event| event.kind).collect())
}

#[tokio::test]
async fn before_its_start_a_cancel_wins() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let job = JobId::random();
    fixture.publish_cancel_command(&cancel(job, REASON, "early")).await?;
    assert_eq!(
        fixture.answer::<CancelOutcome>(CommandKind::Cancel, "early").await?,
        CancelOutcome::Kept { job }
    );
    assert!(fixture.store.jobs().get(job, None).await?.is_none());

    fixture.publish_start_command(&Fixture::start_command(account.connection, job)).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.cancel_requested_by.as_deref(), Some("billing"));
    assert_eq!((view.started_at, view.slices.total), (None, 0));
    assert_eq!(kinds(&fixture, job).await?, ["accepted", "cancelled"]);
    assert_eq!(fixture.upstream.seen().requests, 0);

    let another = fixture.publish_start(account.connection).await?;
    fixture.until_over(another, JobStatus::Completed).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn twice_is_as_good_as_once() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let job = start_with_a_ghost(&fixture, account).await?;

    fixture.publish_cancel_command(&cancel(job, REASON, "first")).await?;
    let first: CancelOutcome = fixture.answer(CommandKind::Cancel, "first").await?;
    assert_eq!(first, CancelOutcome::Cancelling { job, newly: true });
    fixture.publish_cancel_command(&cancel(job, "changed my mind", "second")).await?;
    let second: CancelOutcome = fixture.answer(CommandKind::Cancel, "second").await?;
    assert_eq!(second, CancelOutcome::Cancelling { job, newly: false });
    let requested =
        fixture.until(job, |view| view.status == JobStatus::Cancelling).await?.cancel_requested_at;

    let_go(&fixture).await?;
    let view = fixture.until_cancelled(job, REASON).await?;
    assert_eq!(view.cancel_requested_at, requested, "the deadline counts from the first request");
    fixture.publish_cancel_command(&cancel(job, "to be sure", "third")).await?;
    let third: CancelOutcome = fixture.answer(CommandKind::Cancel, "third").await?;
    assert_eq!(third, CancelOutcome::Over { job, status: JobStatus::Cancelled });
    fixture.until_cancelled(job, REASON).await?;
    assert_eq!(kinds(&fixture, job).await?, ["accepted", "started", "cancelling", "cancelled"]);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn after_the_end_nothing_changes() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let job = fixture.publish_start(account.connection).await?;
    let before = fixture.until_over(job, JobStatus::Completed).await?;

    fixture.publish_cancel_command(&cancel(job, REASON, "late")).await?;
    let late: CancelOutcome = fixture.answer(CommandKind::Cancel, "late").await?;
    assert_eq!(late, CancelOutcome::Over { job, status: JobStatus::Completed });
    let after = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((after.cancel_requested_at, after.cancel_reason), (None, None));
    assert_eq!((after.counters, after.finished_at), (before.counters, before.finished_at));
    assert_eq!(kinds(&fixture, job).await?, ["accepted", "started", "completed"]);
    fixture.exact(account, "acme").await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_new_start_need_not_wait_for_a_cancel_to_end() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let job = start_with_a_ghost(&fixture, account).await?;
    fixture.publish_cancel(job, REASON).await?;
    fixture.until(job, |view| view.status == JobStatus::Cancelling).await?;

    let next = fixture.publish_start(account.connection).await?;
    fixture.until_over(next, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    // A repeat of its own start does not bring it back.
    let mut repeat = Fixture::start_command(account.connection, job);
    repeat.command_id = Some("repeat".to_owned());
    fixture.publish_start_command(&repeat).await?;
    assert_eq!(fixture.answer::<StartOutcome>(CommandKind::Start, "repeat").await?, StartOutcome::Known(job));
    let view = fixture.until(job, |_any| true).await?;
    assert_eq!((view.status, view.pages_settled), (JobStatus::Cancelling, 0));

    let_go(&fixture).await?;
    fixture.until_cancelled(job, REASON).await?;
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_connection_stands_for_its_active_job() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    let by_connection = |command_id: &str| CancelCommand {
        job_id: None,
        connection_id: Some(account.connection),
        ..cancel(job, REASON, command_id)
    };
    fixture.publish_cancel_command(&by_connection("first")).await?;
    fixture.until_cancelled(job, REASON).await?;
    fixture.publish_cancel_command(&by_connection("second")).await?;
    assert_eq!(
        fixture.answer::<CancelOutcome>(CommandKind::Cancel, "second").await?,
        CancelOutcome::NoEffect
    );
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_reason_is_shown_by_the_status_and_told_by_the_events() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let amqp = fixture.settings()?.amqp;
    let listener = broker::connect(&amqp, "backhaul-test listening").await?;
    let channel = listener.create_channel().await?;
    let exclusive = QueueDeclareOptions { exclusive: true, ..QueueDeclareOptions::default() };
    let queue = channel.queue_declare("".into(), exclusive, FieldTable::default()).await?.name().clone();
    for key in ["job.cancelling", "job.cancelled"] {
        let (queue, exchange) = (queue.clone(), amqp.topology().events().into());
        channel
            .queue_bind(queue, exchange, key.into(), QueueBindOptions::default(), FieldTable::default())
            .await?;
    }
    let options = BasicConsumeOptions { no_ack: true, ..BasicConsumeOptions::default() };
    let mut events = channel.basic_consume(queue, "".into(), options, FieldTable::default()).await?;

    let api_key = ApiKey::generate();
    fixture.store.tenants().create_api_key(account.tenant, "test", &api_key.hash(), api_key.prefix()).await?;
    let engine = Arc::new(Engine::new(fixture.store.clone(), fixture.publisher.clone()));
    let router = api::router(engine, &ApiConfig::default(), axum::Router::new());
    let socket = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/api/v1/jobs", socket.local_addr()?);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    tokio::spawn(runtime::health::serve(socket, router, stop));

    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let client = reqwest::Client::new();
    let request = client.post(format!("{url}/{job}/cancel")).bearer_auth(api_key.expose());
    let answer = request.json(&json!({ "reason": REASON })).send().await?;
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<Value>().await?["cancel_reason"], REASON);
    fixture.until_cancelled(job, REASON).await?;
    let status = client.get(format!("{url}/{job}")).bearer_auth(api_key.expose()).send().await?;
    let status: Value = status.json().await?;
    assert_eq!((&status["status"], &status["cancel_reason"]), (&json!("cancelled"), &json!(REASON)));

    for word in ["cancelling", "cancelled"] {
        let event = events.next().await.context("the broker told nothing")??;
        let event: Value = serde_json::from_slice(&event.data)?;
        assert_eq!((&event["event"], &event["job_id"]), (&json!(word), &json!(job)));
        assert_eq!((&event["reason"], &event["data"]["requested_by"]), (&json!(REASON), &json!("api")));
    }
    listener.close(200, "done".into()).await?;
    fixture.finish([consumer]).await
}
