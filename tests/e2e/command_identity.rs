//! By what a command is recognised when it comes again: its tenant, what it asks for, and the identifier that its sender
//! chose.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use protocol::command::OnConflict;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobMode, JobStatus};
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_START;
use serde_json::{Value, json};
use store::commands::{CommandIdentity, CommandOwner};
use store::connections::NewConnection;
use store::jobs::{JobView, StartOutcome, StartRequest};
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};

async fn publish(fixture: &Fixture, to: Destination, key: &'static str, id: &str, body: Value) -> Result<()> {
    let envelope = Envelope::new(to, key, body.to_string()).with_message_id(id);
    Ok(fixture.publisher.publish(envelope).await?)
}

async fn start(fixture: &Fixture, id: &str, connection: ConnectionId) -> Result<()> {
    publish(fixture, Destination::StartCommand, KEY_START, id, json!({ "connection_id": connection })).await
}

/// The only job of a connection, once it is over.
async fn only_job(fixture: &Fixture, connection: ConnectionId) -> Result<JobView> {
    let sql = "select count(*) = 1 from jobs where connection_id = $1";
    let there = async {
        while !sqlx::query_scalar::<_, bool>(sql).bind(connection.0).fetch_one(&fixture.database.pool).await?
        {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), there).await.context("no job was made")??;
    let job: uuid::Uuid = sqlx::query_scalar("select id from jobs where connection_id = $1")
        .bind(connection.0)
        .fetch_one(&fixture.database.pool)
        .await?;
    fixture.until_over(JobId(job), JobStatus::Completed).await
}

async fn dead(fixture: &Fixture, number: u32) -> Result<()> {
    let there = async {
        while fixture.dead_letters().await? < number {
            tokio::task::yield_now().await;
        }
        anyhow::Ok(())
    };
    tokio::time::timeout(std::time::Duration::from_secs(60), there).await.context("no dead letter")?
}

/// A scheduler that names every start `nightly`: one connection's start is not another one's.
#[tokio::test]
async fn one_identifier_for_two_requests_is_refused() -> Result<()> {
    let mut fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let new = NewConnection {
        tenant: account.tenant,
        name: "second".to_owned(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({}),
    };
    let second = fixture.put_connection(&new, &json!({ "api_key": fixture.upstream.key("acme") })).await?;
    let consumer = fixture.consumer().await?;
    start(&fixture, "nightly", account.connection).await?;
    only_job(&fixture, account.connection).await?;
    start(&fixture, "nightly", second).await?;
    dead(&fixture, 1).await?;
    // The very same request is a repeat.
    start(&fixture, "nightly", account.connection).await?;
    // A cancel may bear the same name: it is another kind of command.
    let cancel = json!({ "connection_id": account.connection });
    publish(&fixture, Destination::CancelCommand, KEY_CANCEL, "nightly", cancel).await?;
    fixture.until_sql("select count(*) = 2 from commands where given = 'nightly'").await?;
    start(&fixture, "nightly", account.connection).await?;
    fixture.until_sql("select count(*) = 1 from jobs").await?;
    fixture.expect_dead_letters(1);
    fixture.finish([consumer]).await
}

/// An empty identifier is none.
#[tokio::test]
async fn an_empty_identifier_is_none() -> Result<()> {
    let fixture =
        Fixture::start(Options::new([TenantOptions::new("acme", 25), TenantOptions::new("other", 25)]))
            .await?;
    let (first, second) =
        (fixture.account("acme", json!({})).await?, fixture.account("other", json!({})).await?);
    let consumer = fixture.consumer().await?;
    for account in [first, second] {
        start(&fixture, "", account.connection).await?;
        only_job(&fixture, account.connection).await?;
    }
    fixture.finish([consumer]).await
}

/// An identifier in a message holds for a week, a key of HTTP for a day.
#[tokio::test]
async fn answers_are_kept_as_long_as_identifiers_hold() -> Result<()> {
    let fixture = Fixture::with_calls(1).await?;
    let account = fixture.account("acme", json!({})).await?;
    let request = [7; 32];
    let owner = CommandOwner::Connection(account.connection);
    let start = |job, command| StartRequest {
        job,
        connection: account.connection,
        tenant: None,
        date_from: None,
        date_to: None,
        mode: JobMode::Range,
        on_conflict: OnConflict::UseExisting,
        name: None,
        requested_by: None,
        command: Some(command),
        schema: None,
        documents: Vec::new(),
    };
    let given = || CommandIdentity::Given { owner, id: "nightly".to_owned(), request };
    let key = || CommandIdentity::Key { tenant: account.tenant, key: "nightly".to_owned(), request };
    let first = JobId::random();
    assert_eq!(fixture.store.jobs().start(&start(first, given())).await?, StartOutcome::Accepted(first));
    fixture.store.jobs().start(&start(JobId::random(), key())).await?;
    for (age, left) in [("23 hours", 2), ("6 days", 1), ("8 days", 0)] {
        let sql = format!("update commands set received_at = now() - interval '{age}'");
        sqlx::query(sqlx::AssertSqlSafe(sql)).execute(&fixture.database.pool).await?;
        fixture.store.sweeps().prune(100).await?;
        let kept: i64 =
            sqlx::query_scalar("select count(*) from commands").fetch_one(&fixture.database.pool).await?;
        assert_eq!(kept, left, "{age}");
        if left > 0 {
            let again = fixture.store.jobs().start(&start(JobId::random(), given())).await?;
            assert_eq!(again, StartOutcome::Accepted(first), "{age}");
        }
    }
    fixture.finish([]).await
}
