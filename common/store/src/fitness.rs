//! Whether the database can be worked with at all: it answers, can be written, and has the tables of this program.

use super::examine::MigrationState;
use super::{Store, StoreError};

/// Why nothing can be done with a database that answers.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is a standby, or was made read-only.
    #[error(
        "the database is read-only: it is a standby, or default_transaction_read_only is set; it is asked again every second"
    )]
    ReadOnly,
    /// Its tables are those of an earlier version, or none.
    #[error("the database lacks migrations {0:?} of this version; run `backhaul migrate`")]
    Behind(Vec<i64>),
    /// A later version has changed what this one uses.
    #[error(
        "this program is too old for the database, which serves programs that know migration {0}; upgrade it to the version that \
         migrated the database"
    )]
    TooOld(i64),
    /// A migration has begun and not ended.
    #[error("migration {0} has begun and not ended; `backhaul doctor` says more")]
    Unfinished(i64),
}

impl Store {
    /// Looks whether the database can be worked with; `whole` looks at its schema, too. A database with migrations of a later
    /// version can, unless they say that this one is too old.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn fitness(&self, whole: bool) -> Result<Result<(), Unfit>, StoreError> {
        let mut session = self.pool.acquire().await?;
        let read_only = sqlx::query_scalar!(
            r#"select pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as "read_only!""#
        )
        .fetch_one(&mut session)
        .await?;
        if read_only {
            // The next look is to find out whether new sessions are, too.
            session.give_up();
            return Ok(Err(Unfit::ReadOnly));
        }
        drop(session);
        if !whole {
            return Ok(Ok(()));
        }
        let MigrationState { missing, unfinished, too_old, .. } = self.inspection().migration_state().await?;
        Ok(match unfinished {
            Some(unfinished) => Err(Unfit::Unfinished(unfinished)),
            None if !missing.is_empty() => Err(Unfit::Behind(missing)),
            None => too_old.map_or(Ok(()), |serves_from| Err(Unfit::TooOld(serves_from))),
        })
    }
}
