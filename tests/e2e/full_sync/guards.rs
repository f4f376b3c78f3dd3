//! What keeps a full sync from deleting.

use super::world::{World, full};
use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use store::jobs::ResumeOutcome;
use testkit::sample_upstream::Answer;
use testkit::settle_gate::{PATIENT, SettleGate};

const NOTHING: &str = r#"{"results": [], "next": null, "total": 0}"#;

#[tokio::test]
async fn more_than_half_is_refused_in_words() -> Result<()> {
    let (world, consumer) = World::synced(40).await?;
    world.fixture.upstream.script(|_| true, Answer::json(NOTHING));
    let job = world.start(&full(world.account.connection)).await?;
    let view = world.fixture.until_over(job, JobStatus::Failed).await?;
    let error = view.error.context("it says why")?;
    let cause = error.cause;
    assert!(
        cause.starts_with("the full sync did not meet 40 of the 40 records in its range, and"),
        "{cause}"
    );
    assert!(
        cause.contains("more than half of them is refused") && cause.contains("delete_any_number"),
        "{cause}"
    );
    assert_eq!(view.counters.deleted, 0);
    world.exact(&BTreeSet::new()).await?;
    // It starts anew, with what is then there.
    let resumed = world.fixture.store.jobs().resume(job, None, None, |_| None).await?;
    assert!(matches!(resumed, ResumeOutcome::WrongMode { .. }), "{resumed:?}");
    assert_eq!(world.full().await?.counters.deleted, 0);
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn half_is_not_more_than_half() -> Result<()> {
    let (world, consumer) = World::synced(40).await?;
    let lost = world.lose(0..20);
    assert_eq!(world.full().await?.counters.deleted, 20);
    // Of what is left: the deleted ones do not count any more.
    world.lose(20..31);
    let job = world.start(&full(world.account.connection)).await?;
    let view = world.fixture.until_over(job, JobStatus::Failed).await?;
    assert!(view.error.context("why")?.cause.contains("11 of the 20 records in its range"));
    assert_eq!(world.deleted().await?, lost);
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_settings_may_allow_any_number() -> Result<()> {
    let (world, consumer) = World::synced_with(40, json!({ "delete_any_number": true })).await?;
    let lost = world.lose(1..40);
    let view = world.full().await?;
    assert_eq!((view.counters.deleted, view.counters.processed(), view.percent()), (39, 1, Some(100)));
    world.exact(&lost).await?;
    world.fixture.finish([consumer]).await
}

/// It may be among those that were not seen.
#[tokio::test]
async fn a_record_that_failed_leaves_the_deletion_out() -> Result<()> {
    let (world, consumer) = World::synced(30).await?;
    world.lose([4]);
    world.fixture.upstream.set_raw("acme", 9, r#"{"created": "2025-01-01T00:00:00Z"}"#);
    let view = world.full().await?;
    assert_eq!((view.counters.failed, view.counters.deleted), (1, 0));
    let why = view.deletion_left_out.context("it says why")?;
    assert!(why.starts_with("1 records could not be read or stored"), "{why}");
    assert_eq!(world.deleted().await?, BTreeSet::new());
    let told: serde_json::Value =
        sqlx::query_scalar("select data from job_events where job_id = $1 and kind = 'completed'")
            .bind(view.id.0)
            .fetch_one(&world.fixture.database.pool)
            .await?;
    assert_eq!(told["deletion_left_out"], json!(why));
    world.fixture.finish([consumer]).await
}

/// Jobs over a few records by name may run beside a full sync: what they see is there.
#[tokio::test]
async fn what_another_job_has_seen_since_is_spared() -> Result<()> {
    let (world, consumer) = World::synced(30).await?;
    consumer.stop().await?;
    let lost = world.lose([4, 5, 6]);
    // Before the first page that deletes.
    let confirming = "new.slice = 2";
    let mut gate = SettleGate::close_when(&world.fixture.database, confirming).await?;
    let mut settings = world.settings()?;
    settings.database.lock_timeout = Duration::from_millis(PATIENT);
    settings.database.statement_timeout = Duration::from_millis(PATIENT);
    let consumer = world.fixture.consumer_with(settings).await?;
    let job = world.start(&full(world.account.connection)).await?;
    gate.until_held(1).await?;
    let (seen, written) = (world.fixture.upstream.id("acme", 5), world.fixture.upstream.id("acme", 6));
    let other = format!(
        "insert into jobs (id, tenant_id, connection_id, date_to, status, started_at, finished_at, name)
         select gen_random_uuid(), tenant_id, connection_id, now(), 'completed', now(), now(), 'other'
           from jobs where id = '{job}';
         insert into slices (job_id, slice, tenant_id, connection_id, span_to, status, page, unchanged, updated, total, whole)
         select id, 0, tenant_id, connection_id, now(), 'done', 1, 1, 1, 2, true from jobs where name = 'other';
         insert into page_log (job_id, slice, page, keys, outcomes, worker)
         select id, 0, 0, array['{seen}', '{written}'], '=~', id from jobs where name = 'other';
         update records set as_of = now() + interval '1 minute' where external_id in ('{seen}', '{written}');
         update records set updated_at = now(), revision = revision + 1, job_id = (select id from jobs where name = 'other')
          where external_id = '{written}'"
    );
    world.fixture.database.execute(&other).await?;
    gate.open().await?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(view.counters.deleted, 1);
    let spared: BTreeSet<_> = [seen, written].into();
    assert_eq!(world.deleted().await?, &lost - &spared);
    world.fixture.finish([consumer]).await
}
