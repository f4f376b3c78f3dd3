//! Full syncs that are cancelled, killed, paused and cut off in the middle of their deletion.

use super::world::{World, full};
use anyhow::Result;
use configuration::Settings;
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use store::jobs::PauseOutcome;
use testkit::fixture::{Consumer, Fixture};
use testkit::process::Process;
use testkit::settle_gate::{PATIENT, SettleGate};

/// Rows that a page handles: of the 25 that are lost, five pages delete five each.
const ROWS: u32 = 5;

/// A gate at the second page that deletes. (A trigger's condition has no place for a subquery, but for a function.)
async fn gate(world: &World) -> Result<SettleGate> {
    world
        .fixture
        .database
        .execute(
            "create function has_deleted(uuid) returns boolean language sql as
             $$ select exists (select from page_log where job_id = $1 and outcomes like 'x%') $$",
        )
        .await?;
    let condition = "new.outcomes like 'x%' and has_deleted(new.job_id)";
    SettleGate::close_when(&world.fixture.database, condition).await
}

/// Page by page, and as long as the gate is closed.
fn patient(mut settings: Settings) -> Settings {
    settings.pages.deletion_rows = ROWS;
    settings.pages.quantum = Duration::ZERO;
    settings.database.lock_timeout = Duration::from_millis(PATIENT);
    settings.database.statement_timeout = Duration::from_millis(PATIENT);
    settings.leases.duration = Duration::from_secs(300);
    settings
}

/// 60 calls are stored, and 25 of them lost; nobody works.
async fn lost() -> Result<(World, BTreeSet<String>)> {
    let (world, consumer) = World::synced(60).await?;
    consumer.stop().await?;
    let lost = world.lose((0..50).filter(|ordinal| ordinal % 2 == 0));
    Ok((world, lost))
}

async fn process(fixture: &Fixture) -> Result<Process> {
    let program = fixture
        .consumer_program()?
        .env("BACKHAUL__PAGES__DELETION_ROWS", ROWS.to_string())
        .env("BACKHAUL__LEASES__DURATION_MS", "300000")
        .env("BACKHAUL__LEASES__RENEW_EVERY_MS", "100000")
        .env("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS", PATIENT.to_string())
        .env("BACKHAUL__DATABASE__STATEMENT_TIMEOUT_MS", PATIENT.to_string());
    let process = program.start()?;
    process.ready().await?;
    Ok(process)
}

#[tokio::test]
async fn a_cancel_in_the_middle_holds() -> Result<()> {
    let (world, lost) = lost().await?;
    let mut gate = gate(&world).await?;
    let consumer = world.fixture.consumer_with(patient(world.settings()?)).await?;
    let job = world.start(&full(world.account.connection)).await?;
    gate.until_held(1).await?;
    world.fixture.publish_cancel(job, "enough").await?;
    // It waits for the page that is being settled; no other follows.
    let waits = "select exists (select from pg_stat_activity where datname = current_database()
                                   and wait_event_type = 'Lock' and wait_event in ('transactionid', 'tuple'))";
    world.fixture.until_sql(waits).await?;
    gate.open().await?;
    let view = world.fixture.until_over(job, JobStatus::Cancelled).await?;
    let deleted = world.deleted().await?;
    assert_eq!(i64::try_from(deleted.len())?, view.counters.deleted);
    assert!(deleted.is_subset(&lost) && (5..25).contains(&deleted.len()), "{}", deleted.len());
    // The next one finds the rest.
    let next = world.full().await?;
    assert_eq!(next.counters.deleted + view.counters.deleted, 25);
    world.exact(&lost).await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_killed_consumers_deletion_is_exact() -> Result<()> {
    let (world, lost) = lost().await?;
    let mut gate = gate(&world).await?;
    let mut doomed = process(&world.fixture).await?;
    let job = world.start(&full(world.account.connection)).await?;
    gate.until_held(1).await?;
    doomed.kill().await?;
    let heir: Consumer = world.fixture.consumer_with(patient(world.settings()?)).await?;
    gate.open().await?;
    let view = world.fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(view.counters.deleted, 25);
    world.exact(&lost).await?;
    world.fixture.finish([heir]).await
}

#[tokio::test]
async fn a_pause_in_the_middle_holds_it_back() -> Result<()> {
    let (world, lost) = lost().await?;
    let mut gate = gate(&world).await?;
    let consumer = world.fixture.consumer_with(patient(world.settings()?)).await?;
    let job = world.start(&full(world.account.connection)).await?;
    gate.until_held(1).await?;
    let pausing = world.fixture.store.clone();
    let pause = tokio::spawn(async move { pausing.jobs().pause(job, None, None).await });
    // It waits for no page: the flag is read by the next one.
    let outcome = pause.await??;
    assert!(matches!(outcome, PauseOutcome::Done { newly: true, .. }), "{outcome:?}");
    gate.open().await?;
    let view = world.fixture.until(job, |view| view.slices.queued == 1).await?;
    assert_eq!((view.status, view.paused), (JobStatus::Running, true));
    assert!((5..25).contains(&view.counters.deleted), "{view:#?}");
    world.fixture.store.jobs().unpause(job, None, None).await?;
    assert_eq!(world.fixture.until_over(job, JobStatus::Completed).await?.counters.deleted, 25);
    world.exact(&lost).await?;
    world.fixture.finish([consumer]).await
}

/// A cancel before the walk is complete deletes nothing, and so does a failure.
#[tokio::test]
async fn a_pass_that_did_not_complete_its_walk_deletes_nothing() -> Result<()> {
    let (world, consumer) = World::synced_with(60, json!({ "delete_any_number": true })).await?;
    world.lose(0..20);
    let upstream = &world.fixture.upstream;
    upstream.hold_if(|asked| !asked.is_first_page());
    let cancelled = world.start(&full(world.account.connection)).await?;
    upstream.until(|seen| seen.held == 1).await;
    world.fixture.publish_cancel(cancelled, "enough").await?;
    let view = world.fixture.until_over(cancelled, JobStatus::Cancelled).await?;
    assert_eq!((view.counters.deleted, view.slices.total), (0, 1));
    upstream.release();

    upstream.script(
        |asked| !asked.is_first_page(),
        testkit::sample_upstream::Answer::Respond { status: 403, headers: Vec::new(), body: Vec::new() },
    );
    let failed = world.start(&full(world.account.connection)).await?;
    let view = world.fixture.until_over(failed, JobStatus::Failed).await?;
    assert_eq!((view.counters.deleted, view.slices.total), (0, 1));
    assert_eq!(world.deleted().await?, BTreeSet::new());
    world.fixture.finish([consumer]).await
}
