//! What can go wrong between a process and Postgres, sorted by what the caller does about it.

use super::pool::{Pooled, is_stale_plan};
use configuration::DatabaseConfig;
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
    /// Postgres does not know this user, or has no such database.
    #[error(
        "the database does not let this program in ({0}); correct user, password and name of the database in DATABASE_URL or \
         database.url, or the server's pg_hba.conf"
    )]
    Admission(#[source] sqlx::Error),
    /// A pooler gives each transaction to another of its sessions with the server.
    #[error(
        "a pooler between here and the database gives a session's server to others between its transactions ({0}), and what was \
         prepared and set there is gone; let it pool by session (pgbouncer: pool_mode = session), or connect to the server"
    )]
    Pooler(#[source] sqlx::Error),
    /// This user may not do that.
    #[error("this user lacks a right in the database ({0}); `backhaul doctor` says what to grant")]
    Rights(#[source] sqlx::Error),
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
    /// This user may not migrate.
    #[error(
        "this user may not migrate the database ({}); let a superuser or the owner of the database run\n    {lines}\nthen \
         `backhaul migrate` again",
        error.cause()
    )]
    MayNotMigrate {
        /// What to run.
        lines: String,
        /// What was refused.
        #[source]
        error: Box<StoreError>,
    },
    /// The address of the database cannot be read.
    #[error(
        "database.url is not a PostgreSQL URL ({0}); expected postgres://user:password@host:port/database"
    )]
    Url(#[source] sqlx::Error),
}

impl StoreError {
    /// Of a statement whose answer nobody can have any more.
    #[must_use]
    pub const fn unanswered() -> Self {
        Self::Unavailable(sqlx::Error::WorkerCrashed)
    }

    /// Whether the same call may succeed later.
    #[must_use]
    pub const fn is_transient(&self) -> bool {
        matches!(self, Self::Unavailable(_) | Self::Admission(_) | Self::Pooler(_))
    }

    /// Whether it is part of an outage, which whoever watches the database tells of: no server, one
    /// that ends or begins, one that cannot be written, or one that lets nobody in.
    #[must_use]
    pub fn is_outage(&self) -> bool {
        if let Self::Unavailable(_) = self {
            return self.sqlstate().is_none_or(|state| {
                state == "25006" || state == "53300" || state.starts_with("08") || state.starts_with("57P")
            });
        }
        matches!(self, Self::Admission(_) | Self::Pooler(_))
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
            | Self::Admission(error)
            | Self::Pooler(error)
            | Self::Rights(error)
            | Self::Repeatable { error, .. }
            | Self::Url(error) => error,
            Self::Migrate(MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _)) => error,
            Self::Migrate(_) => return None,
            Self::MayNotMigrate { error, .. } => return error.sqlstate(),
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
        if matches!(&error, sqlx::Error::Configuration(cause) if cause.is::<Pooled>()) {
            return Self::Pooler(error);
        }
        let code = error.as_database_error().and_then(|database| database.code()).unwrap_or_default();
        match code.get(..2).unwrap_or_default() {
            "22" | "23" => Self::Refused(error),
            // A read-only server, which may be a standby that is about to be promoted.
            "25" if code == "25006" => Self::Unavailable(error),
            // The server has ended a session that sat in its transaction, as that of a frozen process does.
            "25" if code == "25P03" => Self::Unavailable(error),
            // Connection, transaction rollback, resources, state (55P03 is a lock_timeout), operator intervention, system,
            // defects of the server.
            "08" | "40" | "53" | "55" | "57" | "58" | "XX" => Self::Unavailable(error),
            // A prepared statement that is gone, or was there before: somebody else's session with the server.
            "26" => Self::Pooler(error),
            "42" if code == "42P05" => Self::Pooler(error),
            "28" | "3D" => Self::Admission(error),
            "42" if code == "42501" => Self::Rights(error),
            // Columns of another type than a kept plan is for: a session that has kept none can.
            "0A" if is_stale_plan(&error) => Self::Unavailable(error),
            // Features, transaction state, names of schemas, syntax.
            "0A" | "25" | "3F" | "42" => Self::Mismatch(error),
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

impl From<&DatabaseConfig> for SessionLimits {
    fn from(config: &DatabaseConfig) -> Self {
        Self {
            lock_timeout: config.lock_timeout,
            statement_timeout: config.statement_timeout,
            idle_in_transaction_timeout: config.idle_in_transaction_timeout,
            acquire_timeout: config.connect_timeout,
        }
    }
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
