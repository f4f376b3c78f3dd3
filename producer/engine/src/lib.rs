//! The engine: start, cancel, pause, resume, status. Plain data in and out; the one door that the adapters use.
//!
//! A start is a row first and a message second. Once the row is there the start is accepted, whatever the broker does:
//! the row is its own outbox, and a sweeper plans what no command reached. A cancel is the fence first and a broadcast
//! second: from its commit on nothing of the job is settled, and the broadcast only makes workers let go sooner.

mod authentication;
mod connections;
mod cursor;
pub mod deadline;
mod error;
mod events;
pub mod explain;
mod final_cancel;
mod followers;
mod historical_sync;
mod job_body;
mod key_prefixes;
mod lifecycle;
mod limits;
mod results;
mod schemas;

pub use authentication::Identity;
pub use connections::ConnectionDraft;
pub use cursor::{Cursor, CursorError};
pub use error::{EngineError, ErrorKind};
pub use events::{EventPage, Told};
pub use followers::{Following, NoPlace, SentAway};
pub use job_body::{JobBody, whole_seconds};
pub use limits::Exceeded;
pub use results::{ResultCursor, ResultPage, RowStatus, ShownRow};
pub use schemas::SchemaPage;

// What the engine answers with, and how it fails, in the store's own words.
pub use store::connections::ConnectionView;
pub use store::jobs::{JobView, SliceCounts};
pub use store::known::{StragglerQuery, StragglerView};
pub use store::schemas::Schema;
pub use store::{Asker, StoreError, asking, one_request};

use broker::{Destination, Envelope, Publisher};
use configuration::Rate;
use followers::Followers;
use identity::tokens::Tokens;
use key_prefixes::KeyPrefixes;
use limits::CallLimits;
use protocol::command::{CancelCommand, Command, OnConflict, StartCommand, request_hash};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobStatus;
use protocol::topology::KEY_START;
use protocol::trace;
use runtime::telemetry::{CancelEnd, cancel_ended};
use sealing::Keyring;
use serde_json::json;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use store::Store;
use store::batches::{Batches, Cancels, Confirms, Starts};
use store::commands::{CommandIdentity, CommandOwner};
use store::jobs::{
    CancelOutcome, CancelRequest, CancelTarget, JobFilter, JobSituation, StartOutcome, StartRequest,
};
use store::traces::Traces;
use tokio_util::sync::CancellationToken;

/// Which jobs to list.
#[derive(Clone, Debug, Default)]
pub struct JobQuery {
    /// Jobs of this connection.
    pub connection: Option<ConnectionId>,
    /// Jobs in one of these states; in any if there is none.
    pub statuses: Vec<JobStatus>,
    /// How many at most.
    pub limit: u16,
    /// Where the page before ended.
    pub after: Option<Cursor>,
    /// Whether the oldest come first.
    pub oldest_first: bool,
}

/// A part of a list of jobs.
#[derive(Clone, Debug)]
pub struct JobPage {
    /// The jobs.
    pub jobs: Vec<JobView>,
    /// Where the next part begins, if there is one.
    pub next: Option<Cursor>,
}

/// A job that was cancelled.
struct Closed {
    /// Whether it was by this call.
    newly: bool,
    /// Whether pages of it are in somebody's hands.
    in_flight: bool,
}

/// What the adapters call.
#[derive(Debug)]
pub struct Engine {
    store: Store,
    starts: Batches<Starts>,
    cancels: Batches<Cancels>,
    confirms: Batches<Confirms>,
    publisher: Publisher,
    traces: Traces,
    tokens: Tokens,
    limits: CallLimits,
    key_prefixes: KeyPrefixes,
    /// Seals the credentials of connections.
    keyring: Keyring,
    /// The broker did not confirm the last command. Said once per outage, not once per request.
    unconfirmed: AtomicBool,
    followers: Followers,
    /// Cancelled when the process is told to end.
    leaving: CancellationToken,
}

impl Engine {
    /// An engine that writes to `store` and publishes with `publisher`, whose publish time-out bounds how long an
    /// answer waits for the broker. It believes no token, limits nobody, and stores no credentials.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher) -> Self {
        Self {
            traces: Traces::new(store.clone()),
            starts: Batches::new(Starts { store: store.clone(), confirmed: false }),
            cancels: Batches::new(Cancels { store: store.clone() }),
            confirms: Batches::new(Confirms { store: store.clone() }),
            store,
            publisher,
            tokens: Tokens::closed(),
            limits: CallLimits::none(),
            key_prefixes: KeyPrefixes::default(),
            keyring: Keyring::default(),
            unconfirmed: AtomicBool::new(false),
            followers: Followers::default(),
            leaving: CancellationToken::new(),
        }
    }

    /// The same, with limits to the requests of each caller who is known, and of each who presents keys that are not.
    #[must_use]
    pub fn with_limits(self, each: Rate, guesser: Rate) -> Self {
        Self { limits: CallLimits::new(each, guesser), ..self }
    }

    /// The same, believing these tokens.
    #[must_use]
    pub fn with_tokens(self, tokens: Tokens) -> Self {
        Self { tokens, ..self }
    }

    /// The same, whose streams end once this is cancelled.
    #[must_use]
    pub fn with_end_of_streams(self, leaving: CancellationToken) -> Self {
        Self { leaving, ..self }
    }

    /// Cancelled when streams are to end.
    #[must_use]
    pub const fn leaving(&self) -> &CancellationToken {
        &self.leaving
    }

    /// The same, sealing credentials with these keys.
    #[must_use]
    pub fn with_keyring(self, keyring: Keyring) -> Self {
        Self { keyring, ..self }
    }

    /// Accepts a job: its row, then its start command. A repeat (of `command_id`) is answered with the job that is there,
    /// and so is a start that would use the active one.
    ///
    /// # Errors
    /// [`EngineError::Invalid`], [`EngineError::NoConnection`], [`EngineError::JobActive`] or [`EngineError::Store`]; after
    /// the last the job may or may not be there.
    pub async fn start(&self, tenant: TenantId, command: StartCommand) -> Result<JobView, EngineError> {
        let id = command.command_id.clone().filter(|id| !id.is_empty());
        let identity = id.map(|id| CommandIdentity::Given {
            owner: CommandOwner::Tenant(tenant),
            id,
            request: request_hash(&command),
        });
        self.start_once(tenant, command, identity).await
    }

    /// The same, once for each key of the tenant: for a day a repeat is answered like the first.
    ///
    /// # Errors
    /// As [`Engine::start`], and [`EngineError::KeyReused`] if the key stood for another request.
    pub async fn start_keyed(
        &self,
        tenant: TenantId,
        command: StartCommand,
        key: Option<String>,
    ) -> Result<JobView, EngineError> {
        let request = request_hash(&command);
        let identity = key.map(|key| CommandIdentity::Key { tenant, key, request });
        self.start_once(tenant, command, identity).await
    }

    async fn start_once(
        &self,
        tenant: TenantId,
        command: StartCommand,
        identity: Option<CommandIdentity>,
    ) -> Result<JobView, EngineError> {
        command.check().map_err(EngineError::Invalid)?;
        if command.job_id.is_some() {
            // Identifiers of jobs are one namespace: a caller could take those that another tenant will choose, or ask which
            // there are.
            let why = "job_id cannot be chosen here: the answer names the job; send a command_id to make a repeat safe";
            return Err(EngineError::Invalid(why.to_owned()));
        }
        let connection = command.connection_id;
        let request = StartRequest {
            job: JobId::random(),
            connection,
            tenant: Some(tenant),
            date_from: command.date_from,
            date_to: command.date_to,
            mode: command.mode,
            on_conflict: command.on_conflict,
            name: command.name.clone(),
            requested_by: command.requested_by.clone(),
            command: identity,
            schema: command.schema_id,
            documents: command.document_ids.clone().unwrap_or_default(),
        };
        let job = match self.starts.apply(request).await? {
            StartOutcome::Accepted(job) | StartOutcome::Known(job) | StartOutcome::CancelledBefore(job) => {
                job
            }
            StartOutcome::Superseding { job, superseded } => {
                self.broadcast_abort(superseded).await;
                job
            }
            StartOutcome::Existing(job) => return self.job(tenant, job).await,
            StartOutcome::Active(active) => return Err(EngineError::JobActive { connection, active }),
            StartOutcome::NoConnection => return Err(EngineError::NoConnection(connection)),
            StartOutcome::EmptySpan => {
                return Err(EngineError::Invalid(
                    "date_from must be before date_to (now, if absent)".to_owned(),
                ));
            }
            StartOutcome::IdTaken(job) => {
                tracing::error!(%job, "a fresh identifier of a job was taken");
                return Err(EngineError::IdTaken(job));
            }
            StartOutcome::NoSchema => return Err(EngineError::NoSchema),
            StartOutcome::KeyReused => return Err(EngineError::KeyReused),
        };
        // Read before the command goes out, so that the answer shows the job as it was accepted.
        let view = self.job(tenant, job).await?;
        if view.status == JobStatus::Pending {
            // The conflict is settled, and the ids are stored: whoever receives this finds the job.
            let told = StartCommand {
                job_id: Some(job),
                command_id: None,
                on_conflict: OnConflict::Reject,
                document_ids: None,
                ..command
            };
            self.publish_start(told).await;
        }
        Ok(view)
    }

    /// Cancels a job: when this returns, nothing more of it is settled. A repeat while it is cancelling is answered like
    /// the first.
    ///
    /// # Errors
    /// [`EngineError::NoJob`], [`EngineError::OthersJob`], [`EngineError::NotCancellable`], [`EngineError::Invalid`] or
    /// [`EngineError::Store`].
    pub async fn cancel(
        &self,
        tenant: TenantId,
        job: JobId,
        reason: Option<String>,
        requested_by: &str,
    ) -> Result<JobView, EngineError> {
        self.fence(tenant, job, reason, requested_by).await?;
        self.job(tenant, job).await
    }

    /// Whether this call was the first to cancel the job.
    async fn fence(
        &self,
        tenant: TenantId,
        job: JobId,
        reason: Option<String>,
        requested_by: &str,
    ) -> Result<bool, EngineError> {
        let fenced = self.close(tenant, job, reason, requested_by).await?;
        if fenced.in_flight {
            self.broadcast_abort(job).await;
        }
        Ok(fenced.newly)
    }

    /// The same, but that whoever holds a page of the job is yet to be told.
    async fn close(
        &self,
        tenant: TenantId,
        job: JobId,
        reason: Option<String>,
        requested_by: &str,
    ) -> Result<Closed, EngineError> {
        let command = CancelCommand {
            job_id: Some(job),
            reason,
            requested_by: Some(requested_by.to_owned()),
            ..CancelCommand::default()
        };
        command.check().map_err(EngineError::Invalid)?;
        let request = CancelRequest {
            target: CancelTarget::Job(job),
            tenant: Some(tenant),
            reason: command.reason,
            requested_by: command.requested_by,
            command: None,
            keep_if_unknown: false,
        };
        match self.cancels.apply(request).await? {
            CancelOutcome::Cancelling { newly, .. } => Ok(Closed { newly, in_flight: true }),
            CancelOutcome::Cancelled { .. } => {
                cancel_ended(CancelEnd::AtOnce, Duration::ZERO);
                Ok(Closed { newly: true, in_flight: false })
            }
            CancelOutcome::Over { status, .. } => Err(EngineError::NotCancellable { job, status }),
            CancelOutcome::Unknown
            | CancelOutcome::Kept { .. }
            | CancelOutcome::NoEffect
            | CancelOutcome::KeyReused
            | CancelOutcome::NoConnection => {
                let exists = self.store.jobs().tenant_of(job).await?.is_some();
                Err(if exists { EngineError::OthersJob(job) } else { EngineError::NoJob(job) })
            }
        }
    }

    /// One job of the tenant.
    ///
    /// # Errors
    /// [`EngineError::NoJob`] (also for another tenant's job) or [`EngineError::Store`].
    pub async fn job(&self, tenant: TenantId, job: JobId) -> Result<JobView, EngineError> {
        self.store.jobs().get(job, Some(tenant)).await?.ok_or(EngineError::NoJob(job))
    }

    /// One job of the tenant, and what it waits for.
    ///
    /// # Errors
    /// As [`Engine::job`].
    pub async fn situation(&self, tenant: TenantId, job: JobId) -> Result<JobSituation, EngineError> {
        let mut situation =
            self.store.jobs().situation(job, Some(tenant)).await?.ok_or(EngineError::NoJob(job))?;
        // Where workers run is for operators.
        for slice in &mut situation.slices {
            slice.host = None;
        }
        Ok(situation)
    }

    /// Jobs of the tenant, in the order of their acceptance.
    pub async fn jobs(&self, tenant: TenantId, query: &JobQuery) -> Result<JobPage, EngineError> {
        let filter = JobFilter {
            tenant: Some(tenant),
            connection: query.connection,
            statuses: query.statuses.clone(),
            job: None,
            key: None,
            after: query.after.map(|cursor| (cursor.created_at, cursor.job)),
            // One more than asked for tells whether the list goes on.
            limit: i64::from(query.limit) + 1,
            oldest_first: query.oldest_first,
        };
        let mut jobs = self.store.jobs().list(&filter).await?;
        let goes_on = jobs.len() > usize::from(query.limit);
        jobs.truncate(usize::from(query.limit));
        let next = jobs.last().filter(|_| goes_on).map(Cursor::after);
        Ok(JobPage { jobs, next })
    }

    /// How many jobs of the tenant are in one of these states; in any if there is none.
    pub async fn count_jobs(&self, tenant: TenantId, statuses: &[JobStatus]) -> Result<i64, EngineError> {
        Ok(self.store.jobs().count(tenant, statuses).await?)
    }

    async fn publish_start(&self, command: StartCommand) {
        let Some(job) = command.job_id else { return };
        // The same id however often it is published: receivers can tell that it is one command.
        let envelope = Envelope::new(Destination::StartCommand, KEY_START, json!(command).to_string())
            .with_message_id(format!("start/{job}"))
            .with_correlation_id(job.to_string())
            .with_trace(trace::current().as_deref());
        if self.publish(envelope).await
            && let Err(error) = self.confirms.apply(job).await
        {
            tracing::debug!(%job, %error, "the confirm of a start was not noted; a sweeper looks at the job once more");
        }
    }

    async fn broadcast_abort(&self, job: JobId) {
        self.publish(Envelope::abort(job).with_trace(trace::current().as_deref())).await;
    }

    /// Whether the broker has confirmed the message. Nothing is lost when it has not: starts are swept, and a cancel is
    /// seen at the next renewal.
    async fn publish(&self, envelope: Envelope) -> bool {
        let Err(error) = self.publisher.publish(envelope).await else {
            if self.unconfirmed.swap(false, Ordering::Relaxed) {
                tracing::info!("the broker confirms commands again");
            }
            return true;
        };
        if self.unconfirmed.swap(true, Ordering::Relaxed) {
            tracing::debug!(%error, "the broker still does not confirm");
        } else {
            tracing::warn!(%error, "the broker does not confirm; starts are accepted and wait for a sweeper");
        }
        false
    }
}
