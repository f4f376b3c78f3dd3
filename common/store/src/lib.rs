//! The store: the only crate that holds SQL. Postgres is the truth; every method is one transaction.
//!
//! Every method fails when the database cannot be reached, refuses, or does not answer in time ([`StoreError`] tells which);
//! their documentation names only what else can go wrong.

pub mod batches;
pub mod commands;
pub mod connections;
pub mod credentials;
mod error;
pub mod events;
pub mod examine;
mod fitness;
mod handles;
mod historical_sync;
pub mod jobs;
pub mod known;
pub mod limits;
mod migrations;
mod pool;
pub mod records;
pub mod removal;
pub mod results;
pub mod schemas;
mod session;
pub mod sizes;
pub mod slices;
pub mod sweep;
pub mod tenants;
pub mod traces;
pub mod users;
pub mod workers;

pub use error::{SessionLimits, StoreError};
pub use fitness::Unfit;
pub use handles::{
    Commands, Connections, Events, Inspection, Jobs, Schemas, Slices, Sweeps, Tenants, Workers,
};
pub use migrations::MigrationStep;
use session::Beginning;
pub use session::SCHEMA;

use chrono::{DateTime, Utc};
use configuration::DatabaseConfig;
pub use pool::{Asker, asked_by, asking, one_request};
use pool::{Connector, Pool, Transaction};
use std::sync::Arc;
use tokio::sync::Notify;

/// A pool of connections to the database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: Pool,
    /// Woken after every transition of a job; see [`Store::next_transition`].
    transitions: Arc<Notify>,
    /// What each session sets when it begins.
    settings: Arc<[(&'static str, String)]>,
}

impl Store {
    /// A store for this configuration, with the pool's usual size. It connects at its first use; `name` is what Postgres shows
    /// for its sessions.
    ///
    /// # Errors
    /// The address cannot be read.
    pub fn configured(config: &DatabaseConfig, name: &str) -> Result<Self, StoreError> {
        Self::new(config.url.expose(), name, config.max_connections, config.into())
    }

    /// A store that connects at its first use, so that a process can start while the database is away. Each of its
    /// statements is planned anew each time, for the values that it is given.
    ///
    /// # Errors
    /// [`StoreError::Url`] when the address cannot be read.
    pub fn new(
        url: &str,
        name: &str,
        max_connections: u32,
        limits: SessionLimits,
    ) -> Result<Self, StoreError> {
        Self::open(url, name, max_connections, limits, session::planned_anew(limits))
    }

    /// The same, for those who walk pages: each statement is planned once per connection.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn for_pages(
        url: &str,
        name: &str,
        max_connections: u32,
        limits: SessionLimits,
    ) -> Result<Self, StoreError> {
        Self::open(url, name, max_connections, limits, session::planned_once(limits))
    }

    fn open(
        url: &str,
        name: &str,
        max_connections: u32,
        limits: SessionLimits,
        beginning: Beginning,
    ) -> Result<Self, StoreError> {
        let connector = Connector::new(url, name, beginning.statement).map_err(StoreError::Url)?;
        let pool = Pool::new(connector, max_connections, limits);
        Ok(Self { pool, transitions: Arc::default(), settings: beginning.settings.into() })
    }

    /// Commits a transaction that may have told a transition, and wakes whoever publishes that.
    async fn commit_told(&self, transaction: Transaction) -> Result<(), StoreError> {
        transaction.commit().await?;
        self.transitions.notify_one();
        Ok(())
    }

    /// The database's time.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn clock(&self) -> Result<DateTime<Utc>, StoreError> {
        Ok(sqlx::query_scalar!(r#"select clock_timestamp() as "now!""#).fetch_one(&self.pool).await?)
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        sqlx::query!("select 1 as one").fetch_one(&self.pool).await?;
        Ok(())
    }

    /// Rows that break an invariant, in words. Empty unless there is a defect, or somebody changed the data by hand.
    pub async fn broken_invariants(&self) -> Result<Vec<String>, StoreError> {
        let rows = sqlx::query!(
            r#"select invariant as "invariant!", subject as "subject!", problem as "problem!" from broken_invariants()"#
        )
        .fetch_all(&self.pool)
        .await?;
        Ok(rows
            .into_iter()
            .map(|row| format!("invariant {}: {}: {}", row.invariant, row.subject, row.problem))
            .collect())
    }

    /// Gives up the sessions that were opened before now: each when it is needed next, or given back.
    pub fn retire_sessions(&self) {
        self.pool.retire();
    }

    /// Closes the connections, after the statements that are under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
