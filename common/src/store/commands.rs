//! Commands that were applied: a repeat gets the first answer.

use super::{Store, StoreError};
use crate::command::Reply;
use crate::ids::TenantId;
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
    /// By a key that its sender chose, which stands for one request and holds for a day.
    Key {
        /// Whose key it is: each tenant has its own.
        tenant: TenantId,
        /// The key.
        key: String,
        /// A hash of the request.
        request: [u8; 32],
    },
}

impl CommandIdentity {
    fn id(&self) -> String {
        match self {
            Self::Given(id) => format!("id:{id}"),
            Self::Content { hash, .. } => format!("body:{hash}"),
            Self::Key { tenant, key, .. } => format!("key:{tenant}/{key}"),
        }
    }

    const fn request(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Given(_) | Self::Content { .. } => None,
            Self::Key { request, .. } => Some(request),
        }
    }
}

/// What is known of a command.
pub(super) enum Known<T> {
    /// Nothing: it is to be applied.
    New,
    /// It was applied before, and answered with this.
    Answered(T),
    /// Its key stood for another request.
    OtherRequest,
}

/// The stored answer to a command, if the command was applied before.
pub(super) async fn first_answer<T: DeserializeOwned>(
    transaction: &mut PgConnection,
    command: Option<&CommandIdentity>,
) -> Result<Known<T>, StoreError> {
    let Some(command) = command else { return Ok(Known::New) };
    let id = command.id();
    // Two deliveries of one command wait for each other here, so that the second finds the first one's answer.
    sqlx::query!(r#"select pg_advisory_xact_lock(hashtextextended($1, 1)) as "locked?: ()""#, id)
        .fetch_one(&mut *transaction)
        .await?;
    if matches!(command, CommandIdentity::Content { redelivered: false, .. }) {
        return Ok(Known::New);
    }
    let row = sqlx::query!(
        "select answer, request from commands
          where id = $1 and (request is null or received_at > now() - interval '24 hours')",
        id
    )
    .fetch_optional(transaction)
    .await?;
    let Some(row) = row else { return Ok(Known::New) };
    if row.request.as_deref() != command.request().map(<[u8; 32]>::as_slice) {
        return Ok(Known::OtherRequest);
    }
    // An answer of a form that this version does not know counts as none: every command is idempotent by itself.
    Ok(serde_json::from_value(row.answer).map_or(Known::New, Known::Answered))
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
        "insert into commands (id, kind, answer, request) values ($1, $2, $3, $4)
         on conflict (id) do update set answer = excluded.answer, request = excluded.request, received_at = now()",
        command.id(),
        kind,
        answer,
        command.request().map(<[u8; 32]>::as_slice)
    )
    .execute(transaction)
    .await?;
    Ok(())
}

impl Store {
    /// The reply that a command was sent first, which is this one unless there was one before. A command that is not kept, or
    /// not any more, has this one.
    ///
    /// # Errors
    /// When the database cannot be written.
    pub async fn first_reply(&self, command: &CommandIdentity, reply: Reply) -> Result<Reply, StoreError> {
        let stored = sqlx::query_scalar!(
            r#"update commands set answer = case when answer ? 'reply' then answer
                                                 else answer || jsonb_build_object('reply', $2::jsonb) end
                where id = $1 returning answer -> 'reply'"#,
            command.id(),
            serde_json::to_value(&reply).unwrap_or_default()
        )
        .fetch_optional(&self.pool)
        .await?;
        Ok(stored.flatten().and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or(reply))
    }

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
