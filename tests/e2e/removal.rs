//! A connection is deleted: at once for whoever works on it, and its rows later, batch by batch.

use anyhow::{Context, Result, bail};
use engine::{Engine, EngineError};
use protocol::ids::{ConnectionId, JobId, LeaseToken, WorkerId};
use protocol::job::{JobMode, JobStatus};
use serde_json::json;
use std::time::Duration;
use store::jobs::{ResumeOutcome, StartOutcome, StartRequest};
use store::removal::{DeleteOutcome, Removed};
use store::slices::{Claim, ClaimRequest, Suspicion};
use testkit::fixture::Fixture;
use testkit::plan::plan;
use testkit::sample_upstream::{Options, TenantOptions};

/// How many rows there are of a connection, in all tables.
async fn rows_of(fixture: &Fixture, connection: ConnectionId) -> Result<i64> {
    let sql = "select (select count(*) from connections where id = $1)
                    + (select count(*) from jobs where connection_id = $1)
                    + (select count(*) from slices where connection_id = $1)
                    + (select count(*) from records where connection_id = $1)";
    Ok(sqlx::query_scalar(sql).bind(connection.0).fetch_one(&fixture.database.pool).await?)
}

/// Rows that belong to no job.
async fn orphans(fixture: &Fixture) -> Result<i64> {
    let sql = "select (select count(*) from page_log where job_id not in (select id from jobs))
                    + (select count(*) from carried where job_id not in (select id from jobs))
                    + (select count(*) from job_events where job_id not in (select id from jobs))";
    Ok(sqlx::query_scalar(sql).fetch_one(&fixture.database.pool).await?)
}

#[tokio::test]
async fn a_connection_whose_page_is_being_fetched() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 25), TenantOptions::new("other", 25)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let account = fixture.account("acme", json!({})).await?;
    let other = fixture.account("other", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    settings.leases.renew_every = Duration::from_secs(100);
    let consumer = fixture.consumer_with(settings).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    let theirs = fixture.publish_start(other.connection).await?;
    fixture.upstream.until(|seen| seen.held == 2).await;

    let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone());
    let wrong = engine.delete_connection(other.tenant, account.connection, "test").await;
    assert!(matches!(wrong, Err(EngineError::NoConnection(_))), "another tenant's is not there");
    assert_eq!(engine.delete_connection(account.tenant, account.connection, "test").await?, Some(job));
    // The page is given up by the push; no renewal and no expiry helps.
    fixture.upstream.until(|seen| seen.disconnects == 1).await;
    fixture.until_sql("select not exists (select from connections where name = 'acme')").await?;
    assert_eq!((rows_of(&fixture, account.connection).await?, orphans(&fixture).await?), (0, 0));
    let again = engine.delete_connection(account.tenant, account.connection, "test").await;
    assert!(matches!(again, Err(EngineError::NoConnection(_))));
    assert!(matches!(engine.resume(account.tenant, job, "test").await, Err(EngineError::NoJob(_))));

    fixture.upstream.release();
    fixture.until_over(theirs, JobStatus::Completed).await?;
    fixture.exact(other, "other").await?;
    // The name is free, and the new connection knows nothing of the old one.
    let anew = fixture.account("acme", json!({})).await?;
    let job = fixture.publish_start(anew.connection).await?;
    assert_eq!(fixture.until_over(job, JobStatus::Completed).await?.counters.inserted, 25);
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn every_batch_leaves_a_sound_database() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 35), TenantOptions::new("other", 15)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let account = fixture.account("acme", json!({})).await?;
    let other = fixture.account("other", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone());
    // Two jobs of which the second resumes the first, one before them, and somebody else's.
    let whole = fixture.publish_start(account.connection).await?;
    fixture.until_over(whole, JobStatus::Completed).await?;
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let first = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_cancel(first, "enough").await?;
    fixture.until_cancelled(first, "enough").await?;
    fixture.upstream.release();
    let second = engine.resume(account.tenant, first, "test").await?.id;
    fixture.until_over(second, JobStatus::Completed).await?;
    let theirs = fixture.publish_start(other.connection).await?;
    fixture.until_over(theirs, JobStatus::Completed).await?;
    fixture.until_sql("select not exists (select from job_events where published_at is null)").await?;
    consumer.stop().await?;

    assert_eq!(fixture.store.connections().remove_deleted(10).await?, Removed::Nothing);
    assert_eq!(engine.delete_connection(account.tenant, account.connection, "test").await?, None);
    let start = StartRequest {
        job: JobId::random(),
        connection: account.connection,
        tenant: None,
        date_from: None,
        date_to: None,
        mode: JobMode::Range,
        name: None,
        requested_by: None,
        on_conflict: protocol::command::OnConflict::default(),
        command: None,
        schema: None,
        documents: Vec::new(),
    };
    assert_eq!(fixture.store.jobs().start(&start).await?, StartOutcome::NoConnection);
    let resumed = fixture.store.jobs().resume(first, None, None, |_| None).await?;
    assert_eq!(resumed, ResumeOutcome::NoConnection(account.connection));

    // Both refusals are rolled back behind their answers, and until then they have the connection's row locked, which a
    // removal would pass over.
    fixture
        .until_sql(
            "select not exists (select from pg_locks l join pg_database d on d.oid = l.database
              where d.datname = current_database() and l.relation = 'connections'::regclass
                and l.mode in ('RowShareLock', 'RowExclusiveLock'))",
        )
        .await?;
    let (mut batches, mut left) = (0, rows_of(&fixture, account.connection).await?);
    while let Removed::Rows(rows) = fixture.store.connections().remove_deleted(10).await? {
        batches += 1;
        let now = rows_of(&fixture, account.connection).await?;
        assert!(rows > 0 && now < left, "batch {batches}: {rows} rows removed, {left} before, {now} now");
        left = now;
        let broken = fixture.store.broken_invariants().await?;
        assert!(broken.is_empty(), "after batch {batches}: {broken:?}");
    }
    // 35 records in four batches, three jobs in two each, and the connection.
    assert_eq!((batches, left, orphans(&fixture).await?), (11, 0, 0));
    fixture.exact(other, "other").await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn nothing_is_removed_while_a_lease_lives() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let store = &fixture.store;
    let job = fixture.accept(account.connection).await?;
    let plannable = store.jobs().plannable(job).await?.context("pending")?;
    assert!(store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    let ring =
        store.slices().refill(account.tenant, Duration::ZERO).await?.pop().context("a slice is rung")?;
    let (worker, token) = (WorkerId::random(), LeaseToken::random());
    let suspicion = Suspicion { has_place: Some(true), suspect_after: 2, fail_after: 5 };
    let lease = Duration::from_secs(60);
    let claim = ClaimRequest { ring, redelivered: false, worker, token, lease, suspicion };
    let Claim::Claimed(claimed) = store.slices().claim(&claim).await? else { bail!("not claimed") };

    let deleted = store.connections().delete(account.connection, account.tenant, None).await?;
    assert_eq!(deleted, DeleteOutcome::Deleted { cancelled: Some(job), in_flight: vec![job] });
    let view = store.jobs().get(job, None).await?.context("the job")?;
    assert_eq!(view.status, JobStatus::Cancelling);
    assert_eq!(view.cancel_reason.as_deref(), Some("the connection was deleted"));
    fixture.database.execute("update job_events set published_at = now()").await?;
    assert_eq!(store.connections().remove_deleted(10).await?, Removed::Nothing, "somebody holds a page");

    assert!(store.slices().release(&claimed.0).await?);
    assert!(store.jobs().end_cancel(job).await?.is_some());
    assert_eq!(store.connections().remove_deleted(10).await?, Removed::Nothing, "the end was not told yet");
    fixture.database.execute("update job_events set published_at = now()").await?;
    while store.connections().remove_deleted(10).await? != Removed::Nothing {}
    assert_eq!(rows_of(&fixture, account.connection).await?, 0);
    // Whoever still believes in the page finds nothing, and does no harm.
    assert!(!store.slices().release(&claimed.0).await? && store.jobs().end_cancel(job).await?.is_none());
    assert!(matches!(store.slices().claim(&claim).await?, Claim::Stale));
    fixture.finish([]).await
}
