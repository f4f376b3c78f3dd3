//! The turns of tenants: which of the slices that wait are rung.

use super::super::StoreError;
use crate::handles::Slices;
use protocol::ids::{JobId, TenantId};
use protocol::slice::Ring;
use sqlx::{Executor, Postgres};
use std::time::Duration;
use uuid::Uuid;

impl Slices<'_> {
    /// Rings slices that wait for their tenant's turn, as many as the limits of the tenant and of its connections leave
    /// room for. The doorbells are to be published.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper refills later.
    pub async fn refill(self, tenant: TenantId, ramp_step: Duration) -> Result<Vec<Ring>, StoreError> {
        self.refill_each(&[tenant], ramp_step).await
    }

    /// The same for several tenants.
    ///
    /// # Errors
    /// As [`Slices::refill`].
    pub async fn refill_each(
        self,
        tenants: &[TenantId],
        ramp_step: Duration,
    ) -> Result<Vec<Ring>, StoreError> {
        let tenants: Vec<Uuid> = tenants.iter().map(|tenant| tenant.0).collect();
        let (mut rings, limited) = refill(&self.store.pool, &tenants, ramp_step, false).await?;
        if limited {
            // Counted in a later statement than the lock, so that two processes never ring more than the limit together.
            let mut transaction = self.store.pool.begin().await?;
            sqlx::query!(
                "select id from connections where tenant_id = any ($1) and max_pages_in_flight is not null
                  order by id for no key update",
                &tenants
            )
            .fetch_all(&mut *transaction)
            .await?;
            rings.extend(refill(&mut *transaction, &tenants, ramp_step, true).await?.0);
            transaction.commit().await?;
        }
        Ok(rings)
    }
}

/// The rung slices of the connections that have (or do not have) a limit of their own, and whether any has one.
async fn refill(
    executor: impl Executor<'_, Database = Postgres>,
    tenants: &[Uuid],
    ramp_step: Duration,
    of_limited: bool,
) -> Result<(Vec<Ring>, bool), StoreError> {
    let ramp_step = ramp_step.as_secs_f64() * 1000.0;
    let rows =
        sqlx::query_file!("src/sql/refill.sql", tenants, ramp_step, of_limited).fetch_all(executor).await?;
    let limited = rows.first().is_some_and(|row| row.limited);
    let rings = rows
        .into_iter()
        .filter_map(|row| Some(Ring { job: row.job?, slice: row.slice?, page: row.page?, ring: row.ring? }));
    Ok((rings.collect(), limited))
}
