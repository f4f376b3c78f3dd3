//! The relay: publishes what happened to jobs from the rows that say so.
//!
//! Every process has one. It publishes right after its own process's transitions, and at each sweep, which finds those
//! of processes that could not. One at a time publishes over the whole fleet, so that the events of a job leave in the
//! order in which they were written. Each is published at least once; a repeat has the same `message_id`.

use broker::{Destination, Envelope, PublishError, Publisher};
use futures::future::join_all;
use metrics::counter;
use protocol::contract::{EventKind, EventMessage};
use protocol::ids::JobId;
use protocol::retry::RetryPolicy;
use serde_json::json;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use store::events::{JobEventRow, ProgressTurn, RelayTurn};
use store::traces::Traces;
use store::{Store, StoreError};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// How long the relay stays with a process that does not come back: longer than a batch and a publish may take.
const LEASE: Duration = Duration::from_secs(30);
/// No publish begins later than this after the relay was taken.
const PUBLISH_FOR: Duration = Duration::from_secs(10);
/// Progress of a job is told this often at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// How many running jobs are told of at a time; which ones is chance, so that each has its turn.
const PROGRESS_BATCH: i64 = 200;
/// Between two tries while another process is publishing: it may have missed what was written here.
const BUSY: RetryPolicy = RetryPolicy::new(Duration::from_millis(20), Duration::from_millis(200));
/// After so many the sweeper has it.
const TRIES: usize = 8;

/// Why events could not be published; they are published later.
#[derive(Debug, thiserror::Error)]
pub enum RelayError {
    /// The database cannot be read or written.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker does not confirm.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// What became of the events of a batch, by their identifiers.
#[derive(Debug, Default)]
struct Published {
    /// The broker has them.
    confirmed: Vec<i64>,
    /// The queue of some listener is full, and refuses instead of dropping.
    refused: Vec<i64>,
}

/// Publishes events. Cheap to clone.
#[derive(Clone, Debug)]
pub struct EventRelay {
    store: Store,
    traces: Traces,
    publisher: Publisher,
    batch: i64,
}

impl EventRelay {
    /// A relay from the store to the broker, at most `batch` events at a time.
    #[must_use]
    pub fn new(store: Store, publisher: Publisher, batch: i64) -> Self {
        Self { traces: Traces::new(store.clone()), store, publisher, batch }
    }

    /// Publishes after each transition that the store (or one that shares with it) commits, until `ended`.
    pub async fn run(&self, ended: CancellationToken) {
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = self.store.next_transition() => {}
            }
            for delay in BUSY.delays().take(TRIES) {
                match self.pass(None).await {
                    Ok(RelayTurn::Ours { .. } | RelayTurn::Idle) => break,
                    Ok(RelayTurn::Busy) => tokio::time::sleep(delay).await,
                    Err(error) => {
                        tracing::debug!(%error, "events are not published yet; a sweeper does it");
                        break;
                    }
                }
            }
        }
    }

    /// Publishes whatever is due, and the progress of running jobs: a duty of the sweeper.
    ///
    /// # Errors
    /// See [`RelayError`]. What was not published is published by a later sweep.
    pub async fn sweep(&self) -> Result<(), RelayError> {
        self.pass(Some(PROGRESS_EVERY)).await.map(drop)
    }

    async fn pass(&self, progress: Option<Duration>) -> Result<RelayTurn, RelayError> {
        loop {
            let token = Uuid::new_v4();
            let turn = self.store.events().take_relay(token, LEASE, progress).await?;
            let RelayTurn::Ours { progress } = turn else { return Ok(turn) };
            let mut told = Published::default();
            let result = self.publish(progress, &mut told).await;
            self.store.events().give_relay_back(token, &told.confirmed, &told.refused).await?;
            result?;
            let dealt_with = told.confirmed.len() + told.refused.len();
            if i64::try_from(dealt_with).unwrap_or(i64::MAX) < self.batch {
                return Ok(turn);
            }
        }
    }

    /// Publishes one batch. `published` gets what became of events, whatever comes after them.
    async fn publish(
        &self,
        progress: Option<ProgressTurn>,
        published: &mut Published,
    ) -> Result<(), RelayError> {
        let until = Instant::now() + PUBLISH_FOR;
        // Progress is read first: of a job whose start or end was written in between, it must not be told.
        let progress = match progress {
            Some(turn) => self.store.events().progress(turn, PROGRESS_BATCH).await?,
            None => Vec::new(),
        };
        let events = self.store.events().unpublished(self.batch).await?;
        let more = i64::try_from(events.len()).unwrap_or(i64::MAX) >= self.batch;
        let mut jobs: BTreeMap<JobId, Vec<JobEventRow>> = BTreeMap::new();
        for event in events {
            jobs.entry(event.job).or_default().push(event);
        }
        let told: BTreeSet<JobId> = jobs.keys().copied().collect();
        // Those of one job one after the other, those of different jobs at once.
        let results = join_all(jobs.into_values().map(|events| self.publish_in_order(events, until))).await;
        let mut failed = None;
        for (told, result) in results {
            published.confirmed.extend(told.confirmed);
            published.refused.extend(told.refused);
            failed = failed.or(result.err());
        }
        if let Some(error) = failed {
            return Err(error.into());
        }
        // More events may wait behind a full batch, a job's end among them.
        if !more && Instant::now() < until {
            let progress = progress.iter().filter(|message| !told.contains(&message.job_id));
            let results = join_all(progress.map(|message| self.tell_progress(message))).await;
            if let Some(error) = results.into_iter().find_map(Result::err) {
                tracing::debug!(%error, "progress was not told");
            }
        }
        Ok(())
    }

    /// Publishes events of one job until one fails, and says what became of them. One that the queue of a listener refuses has
    /// reached every other listener, so the next ones follow it.
    async fn publish_in_order(
        &self,
        events: Vec<JobEventRow>,
        until: Instant,
    ) -> (Published, Result<(), PublishError>) {
        let mut published = Published::default();
        for event in events {
            let Some(message) = event.message().filter(|_| Instant::now() < until) else { break };
            match self.tell(&message, Some(event.id), event.traceparent.as_deref()).await {
                Ok(()) => published.confirmed.push(event.id),
                Err(PublishError::Refused { .. }) => {
                    counter!("events_refused_total").increment(1);
                    published.refused.push(event.id);
                }
                Err(error) => return (published, Err(error)),
            }
        }
        (published, Ok(()))
    }

    async fn tell_progress(&self, message: &EventMessage) -> Result<(), PublishError> {
        let trace = self.traces.of(message.job_id).await;
        self.tell(message, None, trace.as_deref()).await
    }

    async fn tell(
        &self,
        message: &EventMessage,
        id: Option<i64>,
        trace: Option<&str>,
    ) -> Result<(), PublishError> {
        let key = message.event.key();
        let body = json!(message).to_string();
        let mut envelope = Envelope::new(Destination::Event { key: key.clone() }, key, body)
            .with_correlation_id(message.job_id.to_string())
            .with_trace(trace);
        if let Some(id) = id {
            envelope = envelope.with_message_id(format!("event/{id}"));
        }
        debug_assert!(id.is_some() || message.event == EventKind::Progressed, "progress alone has no row");
        self.publisher.publish(envelope).await
    }
}
