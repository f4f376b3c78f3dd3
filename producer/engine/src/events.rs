//! What happened to a job: its events as a list, and followed as they come.

use super::followers::{Following, NoPlace};
use super::{Engine, EngineError, Identity};
use futures::Stream;
use futures::stream::unfold;
use protocol::contract::{EventData, EventKind, EventMessage, JobCounters};
use protocol::ids::{JobId, TenantId};
use protocol::job::JobStatus;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::StoreError;
use store::events::JobEventRow;
use store::jobs::JobView;
use tokio::time::{Instant, sleep};

/// Between two looks of a follower.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Progress is told this often at most.
const PROGRESS_EVERY: Duration = Duration::from_secs(1);
/// Events that a follower reads at a time.
const BATCH: u16 = 100;

/// Something that happened to a job.
#[derive(Clone, Debug)]
pub struct Told {
    /// Its place in the order of writing. Progress has none: it is not kept.
    pub id: Option<i64>,
    /// What happened, as the broker's event says it.
    pub message: EventMessage,
}

/// A part of a job's events, oldest first.
#[derive(Clone, Debug)]
pub struct EventPage {
    /// The events.
    pub events: Vec<Told>,
    /// After which event the next part begins, if there is one.
    pub next: Option<i64>,
}

impl Engine {
    /// The events of a job after the one with this id (0: from the first).
    ///
    /// # Errors
    /// As [`Engine::job`].
    pub async fn events(
        &self,
        tenant: TenantId,
        job: JobId,
        after: i64,
        limit: u16,
    ) -> Result<EventPage, EngineError> {
        self.job(tenant, job).await?;
        // One more than asked for tells whether the list goes on.
        let mut rows = self.store.events().after(job, Some(tenant), after, i64::from(limit) + 1).await?;
        let goes_on = rows.len() > usize::from(limit);
        rows.truncate(usize::from(limit));
        let next = rows.last().filter(|_| goes_on).map(|row| row.id);
        Ok(EventPage { events: rows.iter().filter_map(told).collect(), next })
    }

    /// The same, then each event as it comes and the progress in between, up to the end of the job; with the place that it
    /// takes, or why there is none. Ends early only if the job is removed.
    ///
    /// # Errors
    /// As [`Engine::job`].
    pub async fn follow(
        self: Arc<Self>,
        identity: &Identity,
        job: JobId,
        after: i64,
    ) -> Result<Result<(impl Stream<Item = Told> + use<>, Following), NoPlace>, EngineError> {
        let tenant = identity.tenant;
        self.job(tenant, job).await?;
        let following = match self.followers.admit(identity, &self.store) {
            Ok(following) => following,
            Err(none) => return Ok(Err(none)),
        };
        let follower = Follower {
            engine: self,
            tenant,
            job,
            last: after,
            processed: 0,
            next_progress: Instant::now(),
            ready: VecDeque::new(),
            state: State::New,
        };
        Ok(Ok((unfold(follower, Follower::next), following)))
    }
}

/// A kind that only a newer version knows is left out.
fn told(row: &JobEventRow) -> Option<Told> {
    Some(Told { id: Some(row.id), message: row.message()? })
}

struct Follower {
    engine: Arc<Engine>,
    tenant: TenantId,
    job: JobId,
    /// The last event that was read.
    last: i64,
    /// The records that the last progress told of.
    processed: i64,
    next_progress: Instant,
    ready: VecDeque<Told>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Waiting,
    /// The job was seen to be over: what is not there at the next look never comes.
    LastLook,
    Over,
}

impl Follower {
    async fn next(mut self) -> Option<(Told, Self)> {
        loop {
            if let Some(told) = self.ready.pop_front() {
                if told.message.status.is_some_and(JobStatus::is_terminal) {
                    self.state = State::Over;
                }
                return Some((told, self));
            }
            match self.state {
                State::Over => return None,
                State::New => self.state = State::Waiting,
                State::Waiting => sleep(LOOK_EVERY).await,
                State::LastLook => {}
            }
            if let Err(error) = self.look().await {
                // It goes on when the database answers; the caller may leave whenever it wants.
                tracing::debug!(job = %self.job, %error, "a follower waits for the database");
            }
        }
    }

    async fn look(&mut self) -> Result<(), StoreError> {
        let store = &self.engine.store;
        let rows = store.events().after(self.job, Some(self.tenant), self.last, i64::from(BATCH)).await?;
        if let Some(newest) = rows.last() {
            self.last = newest.id;
            self.ready.extend(rows.iter().filter_map(told));
            return Ok(());
        }
        if self.state == State::LastLook {
            self.state = State::Over;
            return Ok(());
        }
        match store.jobs().get(self.job, Some(self.tenant)).await? {
            None => self.state = State::Over,
            Some(view) if view.status.is_terminal() => self.state = State::LastLook,
            Some(view) => self.progress(&view),
        }
        Ok(())
    }

    fn progress(&mut self, view: &JobView) {
        let processed = view.counters.processed();
        if view.status != JobStatus::Running
            || processed <= self.processed
            || Instant::now() < self.next_progress
        {
            return;
        }
        self.processed = processed;
        self.next_progress = Instant::now() + PROGRESS_EVERY;
        let message = EventMessage {
            job_id: view.id,
            tenant_id: Some(view.tenant),
            connection_id: Some(view.connection),
            event: EventKind::Progressed,
            status: Some(view.status),
            counters: Some(JobCounters::new(&view.counters, view.total)),
            at: view.read_at,
            reason: None,
            data: EventData::default(),
        };
        self.ready.push_back(Told { id: None, message });
    }
}
