//! What can go wrong between a process and Postgres, sorted by what the caller does about it.

use super::SCHEMA;
use sqlx::migrate::MigrateError;
use std::time::Duration;

/// Why a statement of the store failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// Postgres is gone, restarting, read-only, overloaded, or another transaction was in the way: the same call may
    /// succeed later. Whether a write happened is unknown.
    #[error("the database cannot do this now ({0}); it is tried again")]
    Unavailable(#[source] sqlx::Error),
    /// Postgres refused the data itself (SQLSTATE 22 or 23): the same call will fail again.
    #[error("the database refused the data ({0})")]
    Refused(#[source] sqlx::Error),
    /// Postgres failed in a way that is not foreseen (a trigger's own error, a limit of the server, an unknown SQLSTATE): it is
    /// about what was written, and may pass.
    #[error("the database failed ({0})")]
    Unforeseen(#[source] sqlx::Error),
    /// A statement and the database do not fit each other: its schema, its rights, its name.
    #[error("the database does not fit this program ({0}); run `backhaul migrate` with the same version")]
    Mismatch(#[source] sqlx::Error),
    /// The migrations could not be applied.
    #[error("the migrations could not be applied: {0}; `backhaul doctor` says more")]
    Migrate(#[from] MigrateError),
    /// A file of functions or views could not be applied, so none was.
    #[error(
        "migrations/repeatable/{file}.sql could not be applied ({error}), so no function or view was changed; run `backhaul \
         migrate` as the owner of the schema, and drop what stands in its way, if anything does"
    )]
    Repeatable {
        /// The file.
        file: &'static str,
        /// What Postgres says.
        #[source]
        error: sqlx::Error,
    },
    /// This user may make no schema, and ours is not there.
    #[error(
        "there is no schema {SCHEMA}, and this user may not make it ({0}); let the owner of the database run `create schema \
         {SCHEMA} authorization` with the name of this user, then run `backhaul migrate` again"
    )]
    Schema(#[source] sqlx::Error),
    /// The address of the database cannot be read.
    #[error(
        "database.url is not a PostgreSQL URL ({0}); expected postgres://user:password@host:port/database"
    )]
    Url(#[source] sqlx::Error),
}

impl StoreError {
    /// Of the statement that makes the schema.
    pub(super) fn schema(error: sqlx::Error) -> Self {
        match error.as_database_error().and_then(|database| database.code()).as_deref() {
            Some("42501") => Self::Schema(error),
            _ => error.into(),
        }
    }

    /// Of a statement whose answer nobody can have any more.
    #[must_use]
    pub const fn unanswered() -> Self {
        Self::Unavailable(sqlx::Error::WorkerCrashed)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_))
    }
}

impl StoreError {
    /// What Postgres calls the error, five characters; none if it is not Postgres that complains.
    #[must_use]
    pub fn sqlstate(&self) -> Option<String> {
        let error = match self {
            Self::Unavailable(error)
            | Self::Refused(error)
            | Self::Unforeseen(error)
            | Self::Mismatch(error)
            | Self::Repeatable { error, .. }
            | Self::Schema(error)
            | Self::Url(error) => error,
            Self::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => error,
            Self::Migrate(_) => return None,
        };
        Some(error.as_database_error()?.code()?.into_owned())
    }

    /// The cause alone, without what to do about it.
    #[must_use]
    pub fn cause(&self) -> String {
        std::error::Error::source(self).map_or_else(|| self.to_string(), ToString::to_string)
    }
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let code = error.as_database_error().and_then(|database| database.code()).unwrap_or_default();
        match code.get(..2).unwrap_or_default() {
            "22" | "23" => Self::Refused(error),
            // A read-only server, which may be a standby that is about to be promoted.
            "25" if code == "25006" => Self::Unavailable(error),
            // Connection, transaction rollback, resources, state (55P03 is a lock_timeout), operator intervention, system,
            // defects of the server.
            "08" | "40" | "53" | "55" | "57" | "58" | "XX" => Self::Unavailable(error),
            // Features, transaction state, authorization, names of databases and schemas, syntax and rights.
            "0A" | "25" | "28" | "3D" | "3F" | "42" => Self::Mismatch(error),
            // No answer of the server at all: it cannot be reached, or stopped in the middle.
            "" if is_about_the_connection(&error) => Self::Unavailable(error),
            "" => Self::Mismatch(error),
            _ => Self::Unforeseen(error),
        }
    }
}

const fn is_about_the_connection(error: &sqlx::Error) -> bool {
    matches!(
        error,
        sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed
    )
}

/// How a session of the store behaves. Every wait has an end.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long a statement may run.
    pub statement_timeout: Duration,
    /// How long a transaction may stay open without a statement.
    pub idle_in_transaction_timeout: Duration,
    /// How long a caller waits for a free connection.
    pub acquire_timeout: Duration,
}

impl Default for SessionLimits {
    fn default() -> Self {
        Self {
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(30),
            idle_in_transaction_timeout: Duration::from_secs(10),
            acquire_timeout: Duration::from_secs(5),
        }
    }
}
