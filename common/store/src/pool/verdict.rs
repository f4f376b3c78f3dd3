//! What an error says about the session that met it.

use sqlx::Error;
use sqlx::postgres::{PgDatabaseError, PgSeverity};
use std::io;
use std::time::Duration;

/// What becomes of the session, and of the others of its process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It may go on.
    Keep,
    /// It is lost. The others will find out for themselves.
    Drop,
    /// It is of no use any more, and neither are those that were opened before now.
    DropAll,
}

impl Verdict {
    pub(super) fn of(error: &Error) -> Self {
        let Some(database) = error.as_database_error() else {
            // A server ends a statement that takes too long. If nothing at all is heard, nothing will be.
            if matches!(error, Error::Io(error) if error.kind() == io::ErrorKind::TimedOut) {
                return Self::DropAll;
            }
            return if is_of_the_connection(error) { Self::Drop } else { Self::Keep };
        };
        let code = database.code().unwrap_or_default();
        let fatal = database
            .try_downcast_ref::<PgDatabaseError>()
            .is_some_and(|error| matches!(error.severity(), PgSeverity::Fatal | PgSeverity::Panic));
        match &*code {
            // A server that was demoted, or a session that began before its server could be written.
            "25006" => Self::DropAll,
            _ if is_stale_plan(error) => Self::DropAll,
            // A statement that was prepared is not there, or one that was not is: somebody stands between.
            "26000" | "42P05" => Self::Drop,
            // The server ends the session.
            _ if fatal || code.starts_with("08") => Self::Drop,
            _ => Self::Keep,
        }
    }
}

const fn is_of_the_connection(error: &Error) -> bool {
    matches!(error, Error::Io(_) | Error::Tls(_) | Error::Protocol(_) | Error::WorkerCrashed)
}

/// Whether a prepared statement has met columns of other types than it was prepared for. Nothing of it was executed, and a
/// session that has not prepared it yet can.
pub(crate) fn is_stale_plan(error: &Error) -> bool {
    let database =
        error.as_database_error().and_then(|database| database.try_downcast_ref::<PgDatabaseError>());
    database.is_some_and(|error| error.code() == "0A000" && error.routine() == Some("RevalidateCachedQuery"))
}

/// Of a server that says nothing at all.
pub(super) fn silent(whom: &str, within: Duration) -> Error {
    let said = format!("{whom} has not answered within {:.1} s", within.as_secs_f64());
    Error::Io(io::Error::new(io::ErrorKind::TimedOut, said))
}
