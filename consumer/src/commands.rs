//! Applying start and cancel commands. Each is applied once, however often it is delivered; it knows no broker beyond
//! what a delivery says about itself.

use crate::outbox::Outbox;
use crate::planner::Planner;
use chrono::DateTime;
use protocol::command::{
    CancelCommand, Decoded, Rejection, Reply, StartCommand, decode, request_hash, warning,
};
use protocol::ids::{ConnectionId, JobId};
use runtime::telemetry::{CancelEnd, cancel_ended};
use std::time::Duration;
use store::batches::{Batches, Cancels, Starts};
use store::commands::{CommandIdentity, CommandKind, CommandOwner};
use store::jobs::{CancelOutcome, CancelRequest, CancelTarget, StartOutcome, StartRequest};
use store::{Store, StoreError};

/// What a delivery says about a command, beside its body.
#[derive(Clone, Copy, Debug)]
pub struct Carrier<'a> {
    /// The body.
    pub body: &'a [u8],
    /// The `type` property.
    pub kind: Option<&'a str>,
    /// The `message_id` property.
    pub message_id: Option<&'a str>,
    /// When it was first refused, if it was a dead letter before.
    pub first_seen: Option<&'a str>,
    /// Whether the broker delivered it before.
    pub redelivered: bool,
    /// Whether its sender asks for a reply.
    pub wants_reply: bool,
}

/// What became of a command.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The answer for its sender, if it is wanted.
    pub reply: Option<Reply>,
    /// Which of its fields were ignored, if any.
    pub warning: Option<String>,
}

/// Why a command was not applied.
#[derive(Debug, thiserror::Error)]
pub enum CommandError {
    /// It can never be applied: it belongs into the dead-letter queue.
    #[error(transparent)]
    Dead(#[from] Rejection),
    /// The database is away: it is to be applied later.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Applies commands. Starts and cancels each have a store of their own, so that a cancel never waits behind planning or
/// pages.
#[derive(Clone, Debug)]
pub struct Commands {
    starts: Batches<Starts>,
    cancels: Batches<Cancels>,
    replies: Replies,
    outbox: Outbox,
    planner: Planner,
}

/// The stores that first replies are kept in.
#[derive(Clone, Debug)]
struct Replies {
    to_starts: Store,
    to_cancels: Store,
}

impl Commands {
    /// Applies starts and cancels, each through its own store.
    #[must_use]
    pub fn new(starts: Store, cancels: Store, outbox: Outbox) -> Self {
        let planner = Planner::new(starts.clone(), outbox.clone());
        let replies = Replies { to_starts: starts.clone(), to_cancels: cancels.clone() };
        let starts = Batches::new(Starts { store: starts, confirmed: true });
        Self { starts, cancels: Batches::new(Cancels { store: cancels }), replies, outbox, planner }
    }

    /// Applies a start: the job is made, planned, and its first slices are rung.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn start(&self, carrier: Carrier<'_>) -> Result<Applied, CommandError> {
        let Decoded { command, unknown } = decode::<StartCommand>(carrier.body, carrier.kind)?;
        let warning = warn_of_unknown("start", &unknown);
        let owner = CommandOwner::Connection(command.connection_id);
        let identity = identity(command.command_id.as_deref(), owner, request_hash(&command), carrier)?;
        let request = StartRequest {
            job: command.job_id.unwrap_or_else(JobId::random),
            connection: command.connection_id,
            tenant: None,
            date_from: command.date_from,
            date_to: command.date_to,
            mode: command.mode,
            on_conflict: command.on_conflict,
            name: command.name,
            requested_by: command.requested_by,
            command: Some(identity.clone()),
            schema: command.schema_id,
            documents: command.document_ids.unwrap_or_default(),
        };
        let (accepted, job, reason) = match self.starts.apply(request).await? {
            StartOutcome::Accepted(job) => {
                self.outbox.made(job);
                self.planner.plan(job).await?;
                (true, Some(job), None)
            }
            StartOutcome::Known(job) => {
                self.planner.plan(job).await?;
                (true, Some(job), None)
            }
            StartOutcome::Superseding { job, superseded } => {
                tracing::info!(%job, %superseded, "a start supersedes the active job");
                self.outbox.made(job);
                self.outbox.abort(superseded).await;
                self.planner.plan(job).await?;
                (true, Some(job), Some(format!("job {superseded} of this connection was cancelled for it")))
            }
            StartOutcome::Existing(job) => {
                (true, Some(job), Some(format!("job {job} of this connection was there already")))
            }
            StartOutcome::CancelledBefore(job) => {
                (false, Some(job), Some("the job was cancelled before it was started".to_owned()))
            }
            StartOutcome::Active(job) => {
                tracing::info!(connection = %command.connection_id, active = %job, "a start is refused: a job is active");
                (false, Some(job), Some(format!("job {job} of this connection is pending or running")))
            }
            StartOutcome::IdTaken(job) => {
                let detail = format!("job_id {job} belongs to a job of another connection");
                return Err(Rejection { reason: "job_id_taken", detail }.into());
            }
            StartOutcome::NoConnection => {
                return Err(unknown_connection(Some(command.connection_id)).into());
            }
            StartOutcome::NoSchema => {
                let detail = "the connection's tenant has no schema of that identifier".to_owned();
                return Err(Rejection { reason: "unknown_schema", detail }.into());
            }
            StartOutcome::KeyReused => {
                return Err(key_reused().into());
            }
            StartOutcome::EmptySpan => {
                let detail = "date_from must be before date_to (by default: now)".to_owned();
                return Err(Rejection { reason: "invalid", detail }.into());
            }
        };
        let reply = Reply { accepted, job_id: job, status: None, reason };
        let kept = Kept { store: &self.replies.to_starts, kind: CommandKind::Start, command: &identity };
        Ok(Applied { reply: kept.answer(reply, carrier.wants_reply).await?, warning })
    }

    /// Applies a cancel: the fence is set, and whoever holds a page of the job is told.
    ///
    /// # Errors
    /// See [`CommandError`].
    pub async fn cancel(&self, carrier: Carrier<'_>) -> Result<Applied, CommandError> {
        let Decoded { command, unknown } = decode::<CancelCommand>(carrier.body, carrier.kind)?;
        let warning = warn_of_unknown("cancel", &unknown);
        let target = match (command.job_id, command.connection_id) {
            (Some(job), _) => CancelTarget::Job(job),
            (None, Some(connection)) => CancelTarget::Connection(connection),
            (None, None) => {
                let detail = "exactly one of job_id and connection_id is needed".to_owned();
                return Err(Rejection { reason: "invalid", detail }.into());
            }
        };
        let owner = match target {
            CancelTarget::Job(job) => CommandOwner::Job(job),
            CancelTarget::Connection(connection) => CommandOwner::Connection(connection),
        };
        let identity = identity(command.command_id.as_deref(), owner, request_hash(&command), carrier)?;
        let request = CancelRequest {
            target,
            tenant: None,
            reason: command.reason,
            requested_by: command.requested_by,
            command: Some(identity.clone()),
            keep_if_unknown: true,
        };
        let (accepted, job, reason) = match self.cancels.apply(request).await? {
            CancelOutcome::Cancelling { job, .. } => {
                tracing::info!(%job, "a job is being cancelled");
                self.outbox.abort(job).await;
                (true, Some(job), None)
            }
            CancelOutcome::Cancelled { job } => {
                cancel_ended(CancelEnd::AtOnce, Duration::ZERO);
                tracing::info!(%job, "a job is cancelled; nothing of it was in flight");
                (true, Some(job), None)
            }
            CancelOutcome::Kept { job } => {
                tracing::info!(%job, "a cancel came before its start, and is kept for a day");
                (true, None, Some(format!("there is no job {job} yet; its start will find it cancelled")))
            }
            CancelOutcome::Over { job, status } => {
                (false, Some(job), Some(format!("the job is already {status}")))
            }
            CancelOutcome::NoEffect => {
                (true, None, Some("no effect: the connection has no active job".to_owned()))
            }
            CancelOutcome::Unknown => (false, None, Some("there is no such job".to_owned())),
            CancelOutcome::KeyReused => return Err(key_reused().into()),
            CancelOutcome::NoConnection => {
                return Err(unknown_connection(command.connection_id).into());
            }
        };
        let reply = Reply { accepted, job_id: job, status: None, reason };
        let kept = Kept { store: &self.replies.to_cancels, kind: CommandKind::Cancel, command: &identity };
        Ok(Applied { reply: kept.answer(reply, carrier.wants_reply).await?, warning })
    }
}

fn unknown_connection(connection: Option<ConnectionId>) -> Rejection {
    let named = connection.map(|connection| format!(" {connection}")).unwrap_or_default();
    Rejection { reason: "unknown_connection", detail: format!("there is no connection{named}") }
}

/// A command, and where the first reply to it is kept.
#[derive(Clone, Copy)]
struct Kept<'a> {
    store: &'a Store,
    kind: CommandKind,
    command: &'a CommandIdentity,
}

impl Kept<'_> {
    /// The answer to a command, with the state of its job. A repeat gets the first one, whatever has become of the job
    /// since. Nothing is read or kept for a sender who wants none.
    async fn answer(self, reply: Reply, wanted: bool) -> Result<Option<Reply>, CommandError> {
        if !wanted {
            return Ok(None);
        }
        let view = match reply.job_id {
            Some(job) => self.store.jobs().get(job, None).await?,
            None => None,
        };
        let reply = Reply { status: view.map(|view| view.status), ..reply };
        Ok(Some(self.store.commands().first_reply(self.kind, self.command, reply).await?))
    }
}

fn warn_of_unknown(command: &str, unknown: &[String]) -> Option<String> {
    let warning = warning(unknown);
    if let Some(warning) = &warning {
        tracing::warn!(command, warning, "fields of a command are ignored");
    }
    warning
}

/// By what the command is recognised when it comes again. An empty identifier is none.
fn identity(
    command_id: Option<&str>,
    owner: CommandOwner,
    request: [u8; 32],
    carrier: Carrier<'_>,
) -> Result<CommandIdentity, Rejection> {
    if carrier.message_id.is_some_and(|id| id.contains('\0')) {
        // Postgres cannot store it, so the command could not be recognised when it comes again.
        let detail = "the message_id property contains a NUL character".to_owned();
        return Err(Rejection { reason: "invalid", detail });
    }
    let given = |id: &str| CommandIdentity::Given { owner, id: id.to_owned(), request };
    let chosen = [command_id, carrier.message_id].into_iter().flatten().find(|id| !id.is_empty());
    if let Some(id) = chosen {
        return Ok(given(id));
    }
    let hash = blake3::hash(carrier.body).to_hex().to_string();
    Ok(match carrier.first_seen.filter(|time| DateTime::parse_from_rfc3339(time).is_ok()) {
        // A letter that was sent back may be there twice, if whoever did it was stopped.
        Some(time) => given(&format!("letter of {time}: {hash}")),
        None => CommandIdentity::Content { hash, redelivered: carrier.redelivered },
    })
}

fn key_reused() -> Rejection {
    let detail = "the command's identifier (command_id, or message_id) was used for another request of this tenant before: \
                  give each request its own";
    Rejection { reason: "key_reused", detail: detail.to_owned() }
}
