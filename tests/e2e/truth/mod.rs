//! What "complete", "known" and "deleted" mean against upstreams with windows, caps, clocks and moods: each test is the
//! smallest input of its kind.

mod accounts;
mod complete;
mod deleted;
mod known;
mod newer;
mod stragglers;
mod walks;

use anyhow::{Context, Result};
use chrono::{DateTime, Utc};
use protocol::command::StartCommand;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobMode, JobStatus};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use store::connections::{AccountChange, NewConnection, no_credentials};
use store::jobs::JobView;
use testkit::fixture::{Consumer, Fixture};
use testkit::scripted::Scripted;

/// A connection to a scripted upstream, and a consumer.
pub(crate) struct World {
    pub(crate) fixture: Fixture,
    pub(crate) upstream: Scripted,
    pub(crate) tenant: TenantId,
    pub(crate) connection: ConnectionId,
    consumer: Consumer,
}

/// The settings of a list at `/items`, with `changes` merged into them.
pub(crate) fn settings(changes: Value) -> Value {
    let mut settings = json!({
        "path": "/items",
        "page_size": { "parameter": "limit", "size": 100 },
        "records": { "pointer": "/data", "id": "/id", "time": "/created_at" },
        "next": { "style": "next_url", "pointer": "/next" },
    });
    merge(&mut settings, changes);
    settings
}

fn merge(into: &mut Value, changes: Value) {
    match (into, changes) {
        (Value::Object(into), Value::Object(changes)) => {
            for (name, value) in changes {
                if value.is_null() {
                    into.remove(&name);
                } else if name == "next" {
                    into.insert(name, value);
                } else {
                    merge(into.entry(name).or_insert(Value::Null), value);
                }
            }
        }
        (into, changes) => *into = changes,
    }
}

/// Dates by `from` and `to`, where a job without a lower bound sends none.
pub(crate) fn dates() -> Value {
    json!({
        "start": null,
        "parameters": [{ "name": "from", "value": "{from}" }, { "name": "to", "value": "{to}" }],
    })
}

/// A moment; a mistyped one is long ago, where no test has records.
pub(crate) fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap_or_default()
}

impl World {
    pub(crate) async fn start(upstream: Scripted, settings: Value) -> Result<Self> {
        let fixture = Fixture::with_calls(0).await?;
        let tenant = fixture.store.tenants().create("acme", 16).await?.id;
        let consumer = fixture.consumer().await?;
        let connection = ConnectionId::random();
        let mut world = Self { fixture, upstream, tenant, connection, consumer };
        world.put(settings).await?;
        Ok(world)
    }

    /// Gives the connection these settings.
    pub(crate) async fn put(&mut self, settings: Value) -> Result<()> {
        self.put_as(settings, AccountChange::Unchanged).await
    }

    /// The same, for an account that may be another one.
    pub(crate) async fn put_as(&mut self, settings: Value, account: AccountChange) -> Result<()> {
        let new = NewConnection {
            tenant: self.tenant,
            name: "list".to_owned(),
            source: "paged_json".to_owned(),
            base_url: self.upstream.url.clone(),
            settings,
        };
        self.connection =
            self.fixture.store.connections().put(&new, account, Some("test"), no_credentials).await?;
        Ok(())
    }

    pub(crate) fn command(&self, mode: JobMode) -> StartCommand {
        StartCommand { mode, ..Fixture::start_command(self.connection, JobId::random()) }
    }

    /// A job, to the end that is expected.
    pub(crate) async fn job(&self, command: StartCommand, status: JobStatus) -> Result<JobView> {
        self.fixture.publish_start_command(&command).await?;
        self.fixture.until_over(command.job_id.context("chosen here")?, status).await
    }

    pub(crate) async fn completed(&self, mode: JobMode) -> Result<JobView> {
        self.job(self.command(mode), JobStatus::Completed).await
    }

    pub(crate) async fn failed(&self, mode: JobMode) -> Result<JobView> {
        self.job(self.command(mode), JobStatus::Failed).await
    }

    /// The ids of the records that are there, and of those that are marked deleted.
    pub(crate) async fn records(&self) -> Result<(BTreeSet<String>, BTreeSet<String>)> {
        let rows: Vec<(String, bool)> = sqlx::query_as(
            "select external_id, deleted_at is not null from records where connection_id = $1",
        )
        .bind(self.connection.0)
        .fetch_all(&self.fixture.database.pool)
        .await?;
        let (deleted, alive): (Vec<_>, Vec<_>) = rows.into_iter().partition(|(_, deleted)| *deleted);
        let ids = |rows: Vec<(String, bool)>| rows.into_iter().map(|(id, _)| id).collect();
        Ok((ids(alive), ids(deleted)))
    }

    pub(crate) async fn alive(&self) -> Result<usize> {
        Ok(self.records().await?.0.len())
    }

    pub(crate) async fn end(self) -> Result<()> {
        self.fixture.finish([self.consumer]).await
    }
}

/// What a job warns of.
pub(crate) fn warned(job: &JobView) -> Vec<(WarningKind, i64)> {
    job.warnings.iter().map(|warning| (warning.kind, warning.count)).collect()
}

/// Why it failed.
pub(crate) fn cause(job: &JobView) -> String {
    job.error.as_ref().map(|error| error.cause.clone()).unwrap_or_default()
}
