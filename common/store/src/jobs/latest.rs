//! The job of a connection that people ask about when they name none, and whose job it is when they name one.

use super::super::StoreError;
use super::status::{JobFilter, JobView, read};
use crate::handles::Jobs;
use protocol::ids::{ConnectionId, JobId, TenantId};

impl Jobs<'_> {
    /// The active job of a tenant's connection; if none is active, the newest one. Jobs over documents are not meant.
    pub async fn latest(
        self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<Option<JobView>, StoreError> {
        // Both statements see one moment: else a job that ends between them would be shown as neither.
        let mut transaction =
            self.store.pool.begin_with("begin isolation level repeatable read read only").await?;
        let found = sqlx::query_scalar!(
            r#"select id as "id!: JobId" from (
                   (select id, 0 as place from jobs
                     where connection_id = $1 and tenant_id = $2 and status in ('pending', 'running')
                       and documents is null limit 1)
                   union all
                   (select id, 1 from jobs
                     where connection_id = $1 and tenant_id = $2 and documents is null order by created_at desc, id desc limit 1)
               ) jobs order by place limit 1"#,
            connection.0,
            tenant.0
        )
        .fetch_optional(&mut *transaction)
        .await?;
        let Some(job) = found else { return Ok(None) };
        let filter = JobFilter { job: Some(job), limit: 1, ..JobFilter::default() };
        Ok(read(&mut *transaction, &filter).await?.pop())
    }

    /// The tenant of a job, if there is such a job.
    pub async fn tenant_of(self, job: JobId) -> Result<Option<TenantId>, StoreError> {
        Ok(sqlx::query_scalar!(r#"select tenant_id as "tenant: TenantId" from jobs where id = $1"#, job.0)
            .fetch_optional(&self.store.pool)
            .await?)
    }
}
