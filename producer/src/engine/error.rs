//! Why the engine refuses, or cannot.

use common::ids::{ConnectionId, JobId};
use common::job::JobStatus;
use common::store::StoreError;

/// An answer of the engine that is not a success.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The tenant has no such job.
    #[error("the tenant has no job {0}; list its jobs to see those that there are")]
    NoJob(JobId),
    /// The tenant has no such connection.
    #[error("the tenant has no connection {0}; check the identifier, or have the connection set up")]
    NoConnection(ConnectionId),
    /// The connection has a pending or running job.
    #[error(
        "job {active} of connection {connection} is pending or running; wait for its end, or cancel it first"
    )]
    JobActive {
        /// The connection.
        connection: ConnectionId,
        /// Its active job.
        active: JobId,
    },
    /// The chosen identifier is another job's.
    #[error(
        "the identifier {0} belongs to a job of another connection; choose a fresh UUID, or leave job_id out"
    )]
    IdTaken(JobId),
    /// The job is over.
    #[error("job {job} cannot be cancelled: it is {status} already")]
    NotCancellable {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}
