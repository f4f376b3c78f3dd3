//! A connection with calls, of which the upstream loses some.

use anyhow::{Context, Result};
use configuration::Settings;
use protocol::command::StartCommand;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobMode, JobStatus};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::jobs::JobView;
use testkit::fixture::{Account, Consumer, Fixture};

/// Rows that a page of a deletion handles: so few that a deletion has many pages.
pub(crate) const ROWS: u32 = 10;

pub(crate) fn full(connection: ConnectionId) -> StartCommand {
    StartCommand { mode: JobMode::Full, ..Fixture::start_command(connection, JobId::random()) }
}

pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) account: Account,
}

impl World {
    /// With so many calls, all of them stored.
    pub(crate) async fn synced(calls: u64) -> Result<(Self, Consumer)> {
        Self::synced_with(calls, json!({})).await
    }

    pub(crate) async fn synced_with(calls: u64, settings: Value) -> Result<(Self, Consumer)> {
        let fixture = Fixture::with_calls(calls).await?;
        let account = fixture.account("acme", settings).await?;
        let world = Self { fixture, account };
        let consumer = world.fixture.consumer_with(world.settings()?).await?;
        let first = world.completed(Fixture::start_command(account.connection, JobId::random())).await?;
        assert_eq!(first.counters.inserted, i64::try_from(calls)?);
        Ok((world, consumer))
    }

    pub(crate) fn settings(&self) -> Result<Settings> {
        let mut settings = self.fixture.settings()?;
        settings.pages.deletion_rows = ROWS;
        Ok(settings)
    }

    pub(crate) async fn start(&self, command: &StartCommand) -> Result<JobId> {
        self.fixture.publish_start_command(command).await?;
        command.job_id.context("chosen by the test")
    }

    pub(crate) async fn completed(&self, command: StartCommand) -> Result<JobView> {
        let job = self.start(&command).await?;
        self.fixture.until_over(job, JobStatus::Completed).await
    }

    /// A full sync, to its end.
    pub(crate) async fn full(&self) -> Result<JobView> {
        self.completed(full(self.account.connection)).await
    }

    /// The upstream loses these calls.
    pub(crate) fn lose(&self, calls: impl IntoIterator<Item = u64>) -> BTreeSet<String> {
        let upstream = &self.fixture.upstream;
        let lost = calls.into_iter().map(|ordinal| {
            upstream.delete("acme", ordinal);
            upstream.id("acme", ordinal)
        });
        lost.collect()
    }

    /// The records that are marked as deleted.
    pub(crate) async fn deleted(&self) -> Result<BTreeSet<String>> {
        let rows = sqlx::query_scalar("select external_id from records where deleted_at is not null")
            .fetch_all(&self.fixture.database.pool)
            .await?;
        Ok(rows.into_iter().collect())
    }

    /// That exactly these are deleted, and everything else is as the upstream has it.
    pub(crate) async fn exact(&self, deleted: &BTreeSet<String>) -> Result<()> {
        assert_eq!(self.deleted().await?, *deleted);
        self.fixture.exact(self.account, "acme").await
    }
}
