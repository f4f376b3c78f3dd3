//! Workers: one row per boot of a consumer process.

use super::{Store, StoreError};
use crate::ids::WorkerId;

impl Store {
    /// Registers a worker; again after a lost answer is harmless.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn worker_started(&self, worker: WorkerId, host: &str, pid: u32) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into workers (id, host, pid) values ($1, $2, $3) on conflict (id) do update set seen_at = now()",
            worker.0,
            host,
            i32::try_from(pid).unwrap_or_default()
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// Notes that a worker ended in good order.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn worker_stopped(&self, worker: WorkerId) -> Result<(), StoreError> {
        sqlx::query!("update workers set stopped_at = now() where id = $1", worker.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }

    /// Notes that the suspect page which a worker held is settled or released.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn suspect_cleared(&self, worker: WorkerId) -> Result<(), StoreError> {
        sqlx::query!("update workers set suspect_job = null, suspect_slice = null where id = $1", worker.0)
            .execute(&self.pool)
            .await?;
        Ok(())
    }
}
