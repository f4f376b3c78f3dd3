//! The bare programs' tables, and sessions with them.

use anyhow::{Context, Result};
use sqlx::{Executor, PgConnection};
use tokio_postgres::{Client, NoTls, Statement};
use url::Url;
use uuid::Uuid;

/// The tables.
pub const TABLES: &str = include_str!("tables.sql");
const PAGE: &str = include_str!("page.sql");

/// A session that has prepared what it needs.
pub(super) struct Session {
    pub(super) client: Client,
    pub(super) page: Statement,
    pub(super) flag: Statement,
}

impl Session {
    /// Planned once, like ours.
    pub(super) async fn open(database: &Url) -> Result<Self> {
        let mut config: tokio_postgres::Config = database.as_str().parse()?;
        config.options("-c plan_cache_mode=force_generic_plan -c enable_seqscan=off -c jit=off");
        let (client, connection) = config.connect(NoTls).await.context("no session with Postgres")?;
        tokio::spawn(connection);
        let page = client.prepare(PAGE).await?;
        let flag = client.prepare("select cancelled from jobs where id = $1").await?;
        Ok(Self { client, page, flag })
    }
}

/// Makes the tables.
///
/// # Errors
/// When Postgres refuses.
pub async fn set_up(session: &mut PgConnection) -> Result<()> {
    session.execute(TABLES).await?;
    Ok(())
}

/// So many jobs at their beginning; without the records, too, if they are not `kept`.
///
/// # Errors
/// When Postgres refuses.
pub async fn reset(session: &mut PgConnection, jobs: u32, kept: bool) -> Result<()> {
    if !kept {
        session.execute("truncate records").await?;
    }
    session.execute("truncate jobs").await?;
    let fill = "insert into jobs (id) select generate_series(0, $1 - 1)";
    sqlx::query(fill).bind(i32::try_from(jobs)?).execute(session).await?;
    Ok(())
}

/// A job's connection.
pub(super) fn connection(job: u32) -> Uuid {
    Uuid::from_u128(u128::from(job) + 1)
}

/// The job of a connection.
#[must_use]
pub fn job_of(connection: Uuid) -> Option<u32> {
    u32::try_from(connection.as_u128().checked_sub(1)?).ok()
}
