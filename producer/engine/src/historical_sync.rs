//! The historical sync of an agency: its callers name no connection, since the agency has one that is meant, and to them a
//! cancel is over once it is accepted.

use super::{Engine, EngineError};
use chrono::{DateTime, Utc};
use protocol::command::{OnConflict, StartCommand};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::{JobMode, JobStatus};
use store::jobs::JobView;

impl Engine {
    /// Starts a sync of the tenant's designated connection.
    ///
    /// # Errors
    /// [`EngineError::NoHistoricalConnection`], and as [`Engine::start`].
    pub async fn start_historical(
        &self,
        tenant: TenantId,
        date_from: Option<DateTime<Utc>>,
        date_to: Option<DateTime<Utc>>,
        requested_by: Option<String>,
    ) -> Result<JobView, EngineError> {
        let command = StartCommand {
            connection_id: self.historical_connection(tenant).await?,
            job_id: None,
            command_id: None,
            date_from,
            date_to,
            mode: JobMode::Range,
            on_conflict: OnConflict::Reject,
            name: None,
            schema_id: None,
            document_ids: None,
            requested_by,
        };
        self.start(tenant, command).await
    }

    /// Cancels any job of the tenant, once: a job that is being cancelled can no longer be cancelled.
    ///
    /// # Errors
    /// As [`Engine::cancel`].
    pub async fn cancel_once(
        &self,
        tenant: TenantId,
        job: JobId,
        requested_by: &str,
    ) -> Result<(), EngineError> {
        if self.fence(tenant, job, None, requested_by).await? {
            return Ok(());
        }
        Err(EngineError::NotCancellable { job, status: JobStatus::Cancelling })
    }

    /// The active job of the tenant's designated connection; if none is active, its newest one. None without such a
    /// connection.
    pub async fn latest_historical(&self, tenant: TenantId) -> Result<Option<JobView>, EngineError> {
        match self.store.connections().for_historical_sync(tenant).await? {
            Some(connection) => Ok(self.store.jobs().latest(tenant, connection).await?),
            None => Ok(None),
        }
    }

    async fn historical_connection(&self, tenant: TenantId) -> Result<ConnectionId, EngineError> {
        self.store.connections().for_historical_sync(tenant).await?.ok_or(EngineError::NoHistoricalConnection)
    }
}
