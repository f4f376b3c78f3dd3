//! Commands that were applied: a repeat gets the first answer.

use super::{Store, StoreError};
use serde::Serialize;
use serde::de::DeserializeOwned;
use sqlx::PgConnection;

/// How a command is recognised when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandIdentity {
    /// By an identifier that its sender chose: a repeat gets the first answer, at any time.
    Given(String),
    /// By its content, for want of an identifier: only a redelivery is a repeat, anything else is a new command.
    Content {
        /// A hash of the body.
        hash: String,
        /// Whether the broker delivered it before.
        redelivered: bool,
    },
}

impl CommandIdentity {
    fn id(&self) -> String {
        match self {
            Self::Given(id) => format!("id:{id}"),
            Self::Content { hash, .. } => format!("body:{hash}"),
        }
    }
}

/// The stored answer to a command, if the command was applied before.
pub(super) async fn first_answer<T: DeserializeOwned>(
    transaction: &mut PgConnection,
    command: Option<&CommandIdentity>,
) -> Result<Option<T>, StoreError> {
    let Some(command) = command else { return Ok(None) };
    let id = command.id();
    // Two deliveries of one command wait for each other here, so that the second finds the first one's answer.
    sqlx::query!(r#"select pg_advisory_xact_lock(hashtextextended($1, 1)) as "locked?: ()""#, id)
        .fetch_one(&mut *transaction)
        .await?;
    if matches!(command, CommandIdentity::Content { redelivered: false, .. }) {
        return Ok(None);
    }
    let row =
        sqlx::query!("select answer from commands where id = $1", id).fetch_optional(transaction).await?;
    // An answer of a form that this version does not know counts as none: every command is idempotent by itself.
    Ok(row.and_then(|row| serde_json::from_value(row.answer).ok()))
}

/// Stores the answer to a command, in the transaction that applied it.
pub(super) async fn remember<T: Serialize + Sync>(
    transaction: &mut PgConnection,
    command: Option<&CommandIdentity>,
    kind: &str,
    answer: &T,
) -> Result<(), StoreError> {
    let Some(command) = command else { return Ok(()) };
    let answer = serde_json::to_value(answer).unwrap_or_default();
    sqlx::query!(
        "insert into commands (id, kind, answer) values ($1, $2, $3)
         on conflict (id) do update set answer = excluded.answer, received_at = now()",
        command.id(),
        kind,
        answer
    )
    .execute(transaction)
    .await?;
    Ok(())
}

impl Store {
    /// What a command with this identifier was answered, once it has been applied: for its sender.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn command_answer<T: DeserializeOwned>(&self, id: &str) -> Result<Option<T>, StoreError> {
        let id = CommandIdentity::Given(id.to_owned()).id();
        let row =
            sqlx::query!("select answer from commands where id = $1", id).fetch_optional(&self.pool).await?;
        Ok(row.and_then(|row| serde_json::from_value(row.answer).ok()))
    }
}
