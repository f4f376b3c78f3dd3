//! Commands that were applied: a repeat gets the first answer.

use super::StoreError;
use crate::handles::Commands;
use crate::pool::Session;
use protocol::command::Reply;
use protocol::ids::{ConnectionId, JobId, TenantId};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// What a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandKind {
    /// A start.
    Start,
    /// A cancel.
    Cancel,
}

impl CommandKind {
    const fn word(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Cancel => "cancel",
        }
    }
}

/// Whose a command is: each tenant chooses identifiers of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommandOwner {
    /// This tenant's.
    Tenant(TenantId),
    /// That of the connection's tenant.
    Connection(ConnectionId),
    /// That of the job's tenant.
    Job(JobId),
}

/// How a command is recognised when it comes again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommandIdentity {
    /// By an identifier that its sender chose, which stands for one request: a repeat gets the first answer, for a week.
    Given {
        /// Whose identifier it is.
        owner: CommandOwner,
        /// The identifier.
        id: String,
        /// A hash of the request.
        request: [u8; 32],
    },
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
    /// What the command's row is found by.
    async fn key(&self, kind: CommandKind, session: &mut Session) -> Result<String, StoreError> {
        Ok(match self.lookup(kind) {
            Lookup::Key(key) => key,
            Lookup::OfTenant(subject, id) => {
                format!("{}/{}/{id}", kind.word(), subject.tenant(session).await?)
            }
        })
    }

    /// What the row of a command is found by, for a statement that looks up tenants itself.
    pub(super) fn lookup(&self, kind: CommandKind) -> Lookup<'_> {
        let kind = kind.word();
        match self {
            Self::Given { owner: CommandOwner::Tenant(tenant), id, .. } => {
                Lookup::Key(format!("{kind}/{tenant}/{id}"))
            }
            Self::Given { owner: CommandOwner::Connection(connection), id, .. } => {
                Lookup::OfTenant(Subject::Connection(*connection), id)
            }
            Self::Given { owner: CommandOwner::Job(job), id, .. } => Lookup::OfTenant(Subject::Job(*job), id),
            Self::Content { hash, .. } => Lookup::Key(format!("{kind}/body/{hash}")),
            Self::Key { tenant, key, .. } => Lookup::Key(format!("{kind}/key/{tenant}/{key}")),
        }
    }

    /// Whether an answer that is stored is the answer to this command: not if it is a new one with the same content.
    pub(super) const fn counts(&self) -> bool {
        !matches!(self, Self::Content { redelivered: false, .. })
    }

    pub(super) const fn given(&self) -> Option<&String> {
        match self {
            Self::Given { id, .. } => Some(id),
            Self::Content { .. } | Self::Key { .. } => None,
        }
    }

    pub(super) const fn request(&self) -> Option<&[u8; 32]> {
        match self {
            Self::Content { .. } => None,
            Self::Given { request, .. } | Self::Key { request, .. } => Some(request),
        }
    }
}

/// What a command is about, if its tenant is to be looked up.
#[derive(Clone, Copy, Debug)]
pub(super) enum Subject {
    Connection(ConnectionId),
    Job(JobId),
}

impl Subject {
    /// The name of its tenant; of what is not there (yet), itself.
    async fn tenant(self, session: &mut Session) -> Result<String, StoreError> {
        let (connection, job, otherwise) = match self {
            Self::Connection(connection) => (Some(connection.0), None, format!("connection {connection}")),
            Self::Job(job) => (None, Some(job.0), format!("job {job}")),
        };
        let tenant = sqlx::query_scalar!(
            r#"select tenant_id as "tenant!: TenantId" from connections where id = $1
               union all
               select tenant_id from jobs where id = $2"#,
            connection,
            job
        )
        .fetch_optional(session)
        .await?;
        Ok(tenant.map_or(otherwise, |tenant| tenant.to_string()))
    }
}

/// What the row of a command is found by.
#[derive(Debug)]
pub(super) enum Lookup<'c> {
    /// By this identifier, and the tenant whose the connection or the job is.
    OfTenant(Subject, &'c str),
    /// By this key.
    Key(String),
}

/// A command whose answer is to be stored.
pub(super) struct Row<'c> {
    key: String,
    kind: CommandKind,
    command: &'c CommandIdentity,
}

/// What is known of a command.
pub(super) enum Known<'c, T> {
    /// Nothing: it is to be applied, and its answer stored here, if it can be recognised.
    New(Option<Row<'c>>),
    /// It was applied before, and answered with this.
    Answered(T),
    /// Its key stood for another request.
    OtherRequest,
}

/// The stored answer to a command, if the command was applied before.
pub(super) async fn first_answer<'c, T: DeserializeOwned>(
    transaction: &mut Session,
    kind: CommandKind,
    command: Option<&'c CommandIdentity>,
) -> Result<Known<'c, T>, StoreError> {
    let Some(command) = command else { return Ok(Known::New(None)) };
    let row = Row { key: command.key(kind, transaction).await?, kind, command };
    // Two deliveries of one command wait for each other here, so that the second finds the first one's answer.
    sqlx::query!(r#"select pg_advisory_xact_lock(hashtextextended($1, 1)) as "locked?: ()""#, row.key)
        .fetch_one(&mut *transaction)
        .await?;
    if !command.counts() {
        return Ok(Known::New(Some(row)));
    }
    let stored = sqlx::query!(
        "select answer, request from commands
          where id = $1 and (not $2 or received_at > now() - interval '24 hours')",
        row.key,
        matches!(command, CommandIdentity::Key { .. })
    )
    .fetch_optional(transaction)
    .await?;
    let Some(stored) = stored else { return Ok(Known::New(Some(row))) };
    if stored.request.as_deref() != command.request().map(<[u8; 32]>::as_slice) {
        return Ok(Known::OtherRequest);
    }
    // An answer of a form that this version does not know counts as none: every command is idempotent by itself.
    Ok(serde_json::from_value(stored.answer).map_or(Known::New(Some(row)), Known::Answered))
}

impl Row<'_> {
    /// Stores the answer to the command, in the transaction that applied it.
    pub(super) async fn remember<T: Serialize + Sync>(
        self,
        transaction: &mut Session,
        answer: &T,
    ) -> Result<(), StoreError> {
        let answer = serde_json::to_value(answer).unwrap_or_default();
        sqlx::query!(
            "insert into commands (id, kind, given, answer, request) values ($1, $2, $3, $4, $5)
             on conflict (id) do update set answer = excluded.answer, request = excluded.request, received_at = now()",
            self.key,
            self.kind.word(),
            self.command.given(),
            answer,
            self.command.request().map(<[u8; 32]>::as_slice)
        )
        .execute(transaction)
        .await?;
        Ok(())
    }
}

impl Commands<'_> {
    /// The reply that a command was sent first, which is this one unless there was one before. A command that is not kept, or
    /// not any more, has this one.
    pub async fn first_reply(
        self,
        kind: CommandKind,
        command: &CommandIdentity,
        reply: Reply,
    ) -> Result<Reply, StoreError> {
        let mut session = self.store.pool.acquire().await?;
        let stored = sqlx::query_scalar!(
            r#"update commands set answer = case when answer ? 'reply' then answer
                                                 else answer || jsonb_build_object('reply', $2::jsonb) end
                where id = $1 returning answer -> 'reply'"#,
            command.key(kind, &mut session).await?,
            serde_json::to_value(&reply).unwrap_or_default()
        )
        .fetch_optional(&mut session)
        .await?;
        Ok(stored.flatten().and_then(|stored| serde_json::from_value(stored).ok()).unwrap_or(reply))
    }

    /// What a command with this identifier was answered, once it has been applied: for its sender.
    pub async fn answer<T: DeserializeOwned>(
        self,
        kind: CommandKind,
        id: &str,
    ) -> Result<Option<T>, StoreError> {
        let row = sqlx::query!(
            "select answer from commands where given = $1 and kind = $2 order by received_at desc limit 1",
            id,
            kind.word()
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.and_then(|row| serde_json::from_value(row.answer).ok()))
    }
}
