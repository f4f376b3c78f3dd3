//! The ends of several cancelled pages, and of their jobs.

use super::super::super::{Store, StoreError};
use super::number;
use crate::contract::EventKind;
use crate::ids::{JobId, LeaseToken};
use std::collections::HashMap;
use std::time::Duration;

impl Store {
    /// Ends several leases without a result, as [`Store::release`] does for each. False where one is not plainly released, or
    /// is not ours any more: release that one alone.
    ///
    /// # Errors
    /// When the database cannot be written; the leases then expire by themselves.
    pub async fn release_together(
        &self,
        leases: &[(JobId, i32, LeaseToken)],
    ) -> Result<Vec<bool>, StoreError> {
        let rows = sqlx::query_file_scalar!(
            "src/store/sql/release_together.sql",
            &leases.iter().map(|(job, ..)| job.0).collect::<Vec<_>>(),
            &leases.iter().map(|(_, slice, _)| *slice).collect::<Vec<_>>(),
            &leases.iter().map(|(.., token)| token.0).collect::<Vec<_>>(),
            number(leases)
        )
        .fetch_all(&self.pool)
        .await?;
        let mut released = vec![false; leases.len()];
        for nth in rows {
            if let Some(released) = usize::try_from(nth - 1).ok().and_then(|at| released.get_mut(at)) {
                *released = true;
            }
        }
        Ok(released)
    }

    /// Ends several cancels, as [`Store::end_cancel`] does for each; how long after its request each of them ended.
    ///
    /// # Errors
    /// As [`Store::end_cancel`].
    pub async fn end_cancels(&self, jobs: &[JobId]) -> Result<HashMap<JobId, Duration>, StoreError> {
        let mut transaction = self.pool.begin().await?;
        let locked = sqlx::query_scalar!(
            "select id from jobs where id = any ($1) and status = 'cancelling' order by id for no key update",
            &jobs.iter().map(|job| job.0).collect::<Vec<_>>()
        )
        .fetch_all(&mut *transaction)
        .await?;
        if locked.is_empty() {
            return Ok(HashMap::new());
        }
        let ended = sqlx::query_file!("src/store/sql/end_cancels.sql", &locked, EventKind::Cancelled.word())
            .fetch_all(&mut *transaction)
            .await?;
        self.commit_told(transaction).await?;
        // Negative if Postgres's clock was set back in between.
        let took = |seconds| Duration::try_from_secs_f64(seconds).unwrap_or_default();
        Ok(ended.into_iter().map(|row| (row.job, took(row.took))).collect())
    }
}
