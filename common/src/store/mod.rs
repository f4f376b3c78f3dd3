//! The store: the only module that holds SQL. Postgres is the truth; every method is one transaction.

pub mod commands;
pub mod connections;
pub mod credentials;
mod error;
pub mod events;
pub mod examine;
mod historical_sync;
pub mod jobs;
pub mod limits;
pub mod records;
pub mod removal;
pub mod results;
pub mod schemas;
pub mod slices;
pub mod sweep;
pub mod users;
pub mod workers;

pub use error::{SessionLimits, StoreError};

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgPool, PgPoolOptions};
use sqlx::{Executor, Postgres, Transaction};
use std::str::FromStr;
use std::sync::Arc;
use tokio::sync::Notify;

static MIGRATIONS: Migrator = sqlx::migrate!("../migrations");

/// The first statement of a session that settles. Postgres gives all that a statement needed back to its allocator at the
/// end, and glibc's gives what is more than twice the largest piece so far back to the system (mallopt(3), "dynamic mmap
/// threshold"), to be had again, and filled with zeros, for the next statement: for a settle of several full pages a
/// thirtieth of its time. After one piece of 8 MiB, a session keeps up to 16 MiB. Elsewhere this does nothing.
const KEEPS_ITS_MEMORY: &str = "select length(repeat(' ', 8388608))";

/// A pool of connections to the database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    pool: PgPool,
    /// Woken after every transition of a job; see [`Store::told`].
    told: Arc<Notify>,
}

impl Store {
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
        // A generic plan that was cached while a table was empty may read all of it, long after it has grown.
        let planning = [("plan_cache_mode", "force_custom_plan")];
        Self::open(url, name, limits, &planning, PgPoolOptions::new().max_connections(max_connections))
    }

    /// The same, for those who walk pages: each statement is planned once per connection, since planning a settle takes
    /// three times as long as the settle of a small page. What makes that safe is that these sessions never choose to
    /// read a whole table: their statements look single rows up by key, and a plan made while a table was empty does so, too.
    ///
    /// # Errors
    /// As [`Store::new`].
    pub fn for_pages(
        url: &str,
        name: &str,
        max_connections: u32,
        limits: SessionLimits,
    ) -> Result<Self, StoreError> {
        let planned_once = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];
        let pool = PgPoolOptions::new().max_connections(max_connections).after_connect(|session, _meta| {
            Box::pin(async move { session.execute(KEEPS_ITS_MEMORY).await.map(drop) })
        });
        Self::open(url, name, limits, &planned_once, pool)
    }

    fn open(
        url: &str,
        name: &str,
        limits: SessionLimits,
        planning: &[(&str, &str)],
        pool: PgPoolOptions,
    ) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)
            .map_err(StoreError::Url)?
            .application_name(name)
            .options([
                ("lock_timeout", limits.lock_timeout.as_millis().to_string()),
                ("statement_timeout", limits.statement_timeout.as_millis().to_string()),
                (
                    "idle_in_transaction_session_timeout",
                    limits.idle_in_transaction_timeout.as_millis().to_string(),
                ),
                // Every statement here is short; compiling one takes longer than running it.
                ("jit", "off".to_owned()),
            ])
            .options(planning.iter().copied());
        let pool = pool
            .acquire_timeout(limits.acquire_timeout)
            // A dead connection shows at its next statement, which the caller repeats anyway.
            .test_before_acquire(false)
            .connect_lazy_with(options);
        Ok(Self { pool, told: Arc::default() })
    }

    /// Applies the migrations that are missing.
    ///
    /// # Errors
    /// When the database cannot be reached, or was migrated by a newer version.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        Ok(MIGRATIONS.run(&self.pool).await?)
    }

    /// Takes back every migration, newest first: the data is gone with it.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        Ok(MIGRATIONS.undo(&self.pool, 0).await?)
    }

    /// The text of every migration, in order: for whoever keeps a migrated copy and wants to know whether it is current.
    pub fn migrations() -> impl Iterator<Item = &'static str> {
        MIGRATIONS.iter().map(|migration| migration.sql.as_str())
    }

    /// Commits a transaction that may have told a transition, and wakes whoever publishes that.
    async fn commit_told(&self, transaction: Transaction<'_, Postgres>) -> Result<(), StoreError> {
        transaction.commit().await?;
        self.told.notify_one();
        Ok(())
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
    ///
    /// # Errors
    /// When the database cannot be read.
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

    /// Closes the connections, after the statements that are under way.
    pub async fn close(&self) {
        self.pool.close().await;
    }
}
