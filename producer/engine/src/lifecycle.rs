//! Pause, unpause and resume of a job, and the deletion of a connection.

use super::{Engine, EngineError};
use broker::Envelope;
use futures::future::join_all;
use protocol::command::{OnConflict, StartCommand};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobMode;
use protocol::slice::Ring;
use store::jobs::{Current, JobView, PauseOutcome, ResumeOutcome};
use store::removal::DeleteOutcome;
use store::slices::RAMP_STEP;
use url::Url;

impl Engine {
    /// Holds a job back: when this returns no page of it is claimed any more. Pages in flight are still settled. A
    /// repeat is answered like the first.
    ///
    /// # Errors
    /// [`EngineError::NoJob`], [`EngineError::NotPausable`] or [`EngineError::Store`].
    pub async fn pause(&self, tenant: TenantId, job: JobId, by: &str) -> Result<JobView, EngineError> {
        let outcome = self.store.jobs().pause(job, Some(tenant), Some(by)).await?;
        done(job, outcome)?;
        self.job(tenant, job).await
    }

    /// Lets a job go on: its slices are rung at once, as many as the tenant's limit leaves room for. A repeat is answered
    /// like the first.
    ///
    /// # Errors
    /// As [`Engine::pause`].
    pub async fn unpause(&self, tenant: TenantId, job: JobId, by: &str) -> Result<JobView, EngineError> {
        let outcome = self.store.jobs().unpause(job, Some(tenant), Some(by)).await?;
        done(job, outcome)?;
        // Read before the doorbells go out, so that the answer shows the job as it was let go.
        let view = self.job(tenant, job).await?;
        match self.store.slices().refill(tenant, RAMP_STEP).await {
            Ok(rings) => {
                join_all(rings.into_iter().map(|ring| self.ring(ring))).await;
            }
            Err(error) => {
                tracing::debug!(%job, %error, "a sweeper will ring the slices of a job that goes on");
            }
        }
        Ok(view)
    }

    async fn ring(&self, ring: Ring) {
        let trace = self.traces.of(ring.job).await;
        self.publish(Envelope::doorbell(ring).with_trace(trace.as_deref())).await;
    }

    /// Makes a new job that goes on where a failed or cancelled one stopped.
    ///
    /// # Errors
    /// [`EngineError::NoJob`], [`EngineError::NoConnection`], [`EngineError::JobActive`], [`EngineError::NotResumable`],
    /// [`EngineError::ResumedBefore`], [`EngineError::ModeNotResumable`], [`EngineError::SettingsChanged`],
    /// [`EngineError::StartAnew`] or [`EngineError::Store`]; after the last the new job may or may not be there.
    pub async fn resume(&self, tenant: TenantId, job: JobId, by: &str) -> Result<JobView, EngineError> {
        let (resumed, connection) =
            match self.store.jobs().resume(job, Some(tenant), Some(by), fingerprint).await? {
                ResumeOutcome::Accepted { job, connection } => (job, connection),
                ResumeOutcome::Active { connection, active } => {
                    return Err(EngineError::JobActive { connection, active });
                }
                ResumeOutcome::NotEnded { status } => return Err(EngineError::NotResumable { job, status }),
                ResumeOutcome::ResumedBefore { status, successor } => {
                    return Err(EngineError::ResumedBefore { job, status, successor });
                }
                ResumeOutcome::WrongMode { status, mode } => {
                    return Err(EngineError::ModeNotResumable { job, status, mode });
                }
                ResumeOutcome::SettingsChanged { status } => {
                    return Err(EngineError::SettingsChanged { job, status });
                }
                ResumeOutcome::Anew { status } => return Err(EngineError::StartAnew { job, status }),
                ResumeOutcome::NoConnection(connection) => return Err(EngineError::NoConnection(connection)),
                ResumeOutcome::Unknown => return Err(EngineError::NoJob(job)),
            };
        let view = self.job(tenant, resumed).await?;
        // Whoever receives it finds the job there, and plans it.
        let command = StartCommand {
            connection_id: connection,
            job_id: Some(resumed),
            command_id: None,
            date_from: None,
            date_to: None,
            mode: JobMode::default(),
            name: None,
            schema_id: None,
            document_ids: None,
            on_conflict: OnConflict::default(),
            requested_by: None,
        };
        self.publish_start(command).await;
        Ok(view)
    }

    /// Deletes a connection: when this returns nothing more of it is started or settled. Its rows go later. Returns the
    /// job that was cancelled by it.
    ///
    /// # Errors
    /// [`EngineError::NoConnection`] or [`EngineError::Store`].
    pub async fn delete_connection(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        by: &str,
    ) -> Result<Option<JobId>, EngineError> {
        match self.store.connections().delete(connection, tenant, Some(by.to_owned())).await? {
            DeleteOutcome::Deleted { cancelled, in_flight } => {
                for job in in_flight {
                    self.broadcast_abort(job).await;
                }
                Ok(cancelled)
            }
            DeleteOutcome::Unknown => Err(EngineError::NoConnection(connection)),
        }
    }
}

/// What tells which records a connection lists; none if its settings are of no use.
fn fingerprint(current: &Current) -> Option<String> {
    let base_url = Url::parse(&current.base_url).ok()?;
    let scope = sources::scope(&current.source, &base_url, &current.settings, current.account).ok()?;
    Some(scope.fingerprint)
}

fn done(job: JobId, outcome: PauseOutcome) -> Result<(), EngineError> {
    match outcome {
        PauseOutcome::Done { .. } => Ok(()),
        PauseOutcome::NotActive { status } => Err(EngineError::NotPausable { job, status }),
        PauseOutcome::Unknown => Err(EngineError::NoJob(job)),
    }
}
