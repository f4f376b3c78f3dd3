//! Why the engine refuses, or cannot.

use super::Exceeded;
use identity::tokens::TokenError;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::{JobMode, JobStatus};
use sealing::CannotSeal;
use store::StoreError;

/// An answer of the engine that is not a success.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The caller is not known. The text is for the caller.
    #[error("{0}")]
    Unauthenticated(String),
    /// The caller has made too many requests, or too many were made by nobody who is known.
    #[error(
        "too many requests: at most {} at once; the next one in {} s",
        .0.limit,
        .0.retry_after.as_secs_f64().ceil().max(1.0)
    )]
    TooManyRequests(Exceeded),
    /// The caller's token is good, but it is of nobody who is known here (any more).
    #[error("the token is valid, but its user is unknown here or disabled; ask the operator")]
    UnknownUser,
    /// The caller is known, and has no tenant.
    #[error("you belong to no agency; ask the operator to assign you to one")]
    NoAgency,
    /// The caller may only read.
    #[error("your role (viewer) is read-only; ask the operator for another role")]
    ReadOnly,
    /// The caller's token cannot be checked at this moment.
    #[error(transparent)]
    NoKeys(TokenError),
    /// The tenant has no such job.
    #[error("there is no job {0}; list the jobs to find the right one")]
    NoJob(JobId),
    /// The job is another tenant's. An adapter that must not tell says the same as for [`EngineError::NoJob`].
    #[error("job {0} belongs to another agency")]
    OthersJob(JobId),
    /// The tenant has no connection for the agency historical sync.
    #[error(
        "your agency has no connection for the historical sync; have the operator set one up (backhaul admin connection \
         put --historical-sync)"
    )]
    NoHistoricalConnection,
    /// The tenant has no such connection.
    #[error("there is no connection {0}; check the identifier, or have the connection set up")]
    NoConnection(ConnectionId),
    /// The connection has a pending or running job.
    #[error(
        "job {active} of connection {connection} is pending or running; wait until it ends, or cancel it first"
    )]
    JobActive {
        /// The connection.
        connection: ConnectionId,
        /// Its active job.
        active: JobId,
    },
    /// The identifier that was drawn for a job is another job's.
    #[error("the identifier {0}, drawn at random, is taken; send the request again")]
    IdTaken(JobId),
    /// The job is over.
    #[error("job {job} cannot be cancelled: it is already {status}")]
    NotCancellable {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// The job is over, or about to be.
    #[error("job {job} cannot be paused or unpaused: it is {status}")]
    NotPausable {
        /// The job.
        job: JobId,
        /// What it is.
        status: JobStatus,
    },
    /// The job has not failed and was not cancelled.
    #[error("job {job} cannot be resumed: it is {status}, and only a failed or cancelled job can be")]
    NotResumable {
        /// The job.
        job: JobId,
        /// What it is.
        status: JobStatus,
    },
    /// Another job has gone on from this one.
    #[error("job {job} was already resumed by job {successor}; resume that one")]
    ResumedBefore {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
        /// The job that resumed it.
        successor: JobId,
    },
    /// A job of this mode is not gone on with.
    #[error("job {job} cannot be resumed: a {} sync always starts anew; start a new job", mode.word())]
    ModeNotResumable {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
        /// Its mode.
        mode: JobMode,
    },
    /// The connection's settings list other records by now, or are of another account.
    #[error("job {job} is {status}, and the connection's settings or account have changed since then and list other records; start a new \
             job", status = status.word())]
    SettingsChanged {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// Its walks were over, and what they lack can only be found by another job.
    #[error("job {job} is {status}: its lists were read to the end, so continuing cannot find what they lacked; start a new \
             job", status = status.word())]
    StartAnew {
        /// The job.
        job: JobId,
        /// How it ended.
        status: JobStatus,
    },
    /// A connection that cannot be made.
    #[error("{field}: {reason}")]
    Connection {
        /// What is wrong.
        field: &'static str,
        /// Why, and what it should be. Never holds a secret.
        reason: String,
    },
    /// The credentials of a connection cannot be stored.
    #[error(
        "the credentials cannot be stored: this server has no key to seal them with; the operator configures one \
         (credentials.key, here and at every consumer)"
    )]
    CannotSeal(#[from] CannotSeal),
    /// The tenant has no such schema.
    #[error("there is no schema with that identifier; list the schemas to find the right one")]
    NoSchema,
    /// The key of the start stood for another request.
    #[error("the key was used for another request within the last day; use a new key for each request")]
    KeyReused,
    /// What was asked for makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What an error means for whoever asked. A contract chooses its status and words by it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Who asks is not known.
    Unauthenticated,
    /// Too much was asked for.
    TooManyRequests,
    /// Who asks is known, and may not.
    Forbidden,
    /// There is no such job.
    NoJob,
    /// There is such a job, of another tenant.
    OthersJob,
    /// There is no such connection.
    NoConnection,
    /// There is no such schema.
    NoSchema,
    /// Another job is in the way.
    JobActive,
    /// The job is over and cannot be cancelled.
    NotCancellable,
    /// The job cannot be paused or unpaused in its state.
    NotPausable,
    /// The job cannot be resumed.
    NotResumable,
    /// The key of a request stood for another one.
    KeyReused,
    /// What was asked for makes no sense.
    Invalid,
    /// It cannot be done at this moment.
    Unavailable,
    /// Credentials cannot be stored here.
    CannotSeal,
    /// A defect of ours.
    Defect,
    /// The database: see the error itself.
    Store,
}

impl EngineError {
    /// What it means.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        match self {
            Self::Unauthenticated(_) => ErrorKind::Unauthenticated,
            Self::TooManyRequests(_) => ErrorKind::TooManyRequests,
            Self::UnknownUser | Self::NoAgency | Self::ReadOnly => ErrorKind::Forbidden,
            Self::NoKeys(_) => ErrorKind::Unavailable,
            Self::NoJob(_) => ErrorKind::NoJob,
            Self::OthersJob(_) => ErrorKind::OthersJob,
            Self::NoHistoricalConnection | Self::NoConnection(_) => ErrorKind::NoConnection,
            Self::JobActive { .. } => ErrorKind::JobActive,
            Self::IdTaken(_) => ErrorKind::Defect,
            Self::NotCancellable { .. } => ErrorKind::NotCancellable,
            Self::NotPausable { .. } => ErrorKind::NotPausable,
            Self::NotResumable { .. }
            | Self::ResumedBefore { .. }
            | Self::ModeNotResumable { .. }
            | Self::SettingsChanged { .. }
            | Self::StartAnew { .. } => ErrorKind::NotResumable,
            Self::Connection { .. } | Self::Invalid(_) => ErrorKind::Invalid,
            Self::CannotSeal(_) => ErrorKind::CannotSeal,
            Self::NoSchema => ErrorKind::NoSchema,
            Self::KeyReused => ErrorKind::KeyReused,
            Self::Store(_) => ErrorKind::Store,
        }
    }

    /// The job that it is about: the one that was asked for, or the one that is in the way.
    #[must_use]
    pub const fn job(&self) -> Option<JobId> {
        match self {
            Self::NoJob(job)
            | Self::OthersJob(job)
            | Self::JobActive { active: job, .. }
            | Self::NotCancellable { job, .. }
            | Self::NotPausable { job, .. }
            | Self::NotResumable { job, .. }
            | Self::ResumedBefore { job, .. }
            | Self::ModeNotResumable { job, .. }
            | Self::SettingsChanged { job, .. }
            | Self::StartAnew { job, .. } => Some(*job),
            Self::Unauthenticated(_)
            | Self::TooManyRequests(_)
            | Self::UnknownUser
            | Self::NoAgency
            | Self::ReadOnly
            | Self::NoKeys(_)
            | Self::NoHistoricalConnection
            | Self::NoConnection(_)
            | Self::IdTaken(_)
            | Self::Connection { .. }
            | Self::CannotSeal(_)
            | Self::NoSchema
            | Self::KeyReused
            | Self::Invalid(_)
            | Self::Store(_) => None,
        }
    }

    /// The state of the job that does not allow what was asked for.
    #[must_use]
    pub const fn job_status(&self) -> Option<JobStatus> {
        match self {
            Self::NotCancellable { status, .. }
            | Self::NotPausable { status, .. }
            | Self::NotResumable { status, .. }
            | Self::ResumedBefore { status, .. }
            | Self::ModeNotResumable { status, .. }
            | Self::SettingsChanged { status, .. }
            | Self::StartAnew { status, .. } => Some(*status),
            Self::Unauthenticated(_)
            | Self::TooManyRequests(_)
            | Self::UnknownUser
            | Self::NoAgency
            | Self::ReadOnly
            | Self::NoKeys(_)
            | Self::NoJob(_)
            | Self::OthersJob(_)
            | Self::NoHistoricalConnection
            | Self::NoConnection(_)
            | Self::JobActive { .. }
            | Self::IdTaken(_)
            | Self::Connection { .. }
            | Self::CannotSeal(_)
            | Self::NoSchema
            | Self::KeyReused
            | Self::Invalid(_)
            | Self::Store(_) => None,
        }
    }
}
