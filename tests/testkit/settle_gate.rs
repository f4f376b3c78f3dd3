//! A gate inside Postgres: while it is closed every settle stands still in the middle of its transaction, after it
//! has written its records and with its slice locked. Consumers under test need [`PATIENT`] sessions, or Postgres ends
//! a settle that stands there for long.

use crate::database::Database;
use anyhow::{Context, Result};
use protocol::ids::JobId;
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection};
use std::time::Duration;

/// A condition that is not met by then never will be.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two looks.
const LOOK: Duration = Duration::from_millis(5);

/// `lock_timeout` and `statement_timeout` for settles that may stand at the gate for as long as a test lasts, in ms.
pub const PATIENT: u64 = 300_000;

/// A closed gate: an advisory lock of the test's database, which settles share and the gate holds alone. It opens when
/// this is dropped, since its session ends.
#[derive(Debug)]
pub struct SettleGate {
    session: PgConnection,
}

impl SettleGate {
    /// Closes the gate for the settles of one job.
    pub async fn close(database: &Database, job: JobId) -> Result<Self> {
        Self::close_when(database, &format!("new.job_id = '{job}'")).await
    }

    /// Closes the gate for settles whose row of the page log, `new`, meets this condition.
    pub async fn close_when(database: &Database, condition: &str) -> Result<Self> {
        let mut session = database.pool.acquire().await?.detach();
        let sql = format!(
            "create function pass_the_gate() returns trigger language plpgsql as
                $$ begin perform pg_advisory_xact_lock_shared(20405); return new; end $$;
             create trigger gate before insert on page_log
                for each row when ({condition}) execute function pass_the_gate();
             select pg_advisory_lock(20405)"
        );
        session.execute(AssertSqlSafe(sql)).await?;
        Ok(Self { session })
    }

    /// Waits until so many settles stand at the gate.
    pub async fn until_held(&mut self, settles: i64) -> Result<()> {
        let sql = "select count(*) >= $1 from pg_locks l join pg_database d on d.oid = l.database
                    where d.datname = current_database() and l.locktype = 'advisory' and not l.granted";
        let met = tokio::time::timeout(LONGEST, async {
            while !sqlx::query_scalar::<_, bool>(sql).bind(settles).fetch_one(&mut self.session).await? {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        });
        met.await.with_context(|| format!("there were never {settles} settles at the gate"))?
    }

    /// Opens it: what stands there goes on, and nothing stands there again.
    pub async fn open(self) -> Result<()> {
        Ok(self.session.close().await?)
    }
}
