//! Somebody who looks at jobs all the time, and notices their ends.

use anyhow::{Context, Result};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::ids::JobId;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use testkit::database::session;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// Rounds that compare the clocks; the quickest counts.
const ROUNDS: u32 = 20;
/// Far beyond every goal.
const LONGEST: Duration = Duration::from_secs(120);

/// When something was asked for, by both clocks of this process.
#[derive(Clone, Copy, Debug)]
pub struct Asked {
    instant: Instant,
    time: DateTime<Utc>,
}

impl Asked {
    /// Now.
    #[must_use]
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: Utc::now() }
    }
}

/// How long after the request a job had ended.
#[derive(Clone, Copy, Debug)]
pub struct Took {
    /// By the database's `finished_at`: the moment at which the ending transaction began. The difference between its
    /// clock and ours is taken out.
    pub stored: Duration,
    /// Until a poll every 2 ms saw it.
    pub seen: Duration,
}

type Watched = HashMap<Uuid, oneshot::Sender<(DateTime<Utc>, Instant)>>;

/// Polls the jobs that somebody waits for, all in one statement. Stops when dropped.
#[derive(Debug)]
pub struct Observer {
    shared: Arc<Shared>,
    ahead: TimeDelta,
    _stop: DropGuard,
}

#[derive(Debug, Default)]
struct Shared {
    watched: Mutex<Watched>,
    more: Notify,
}

impl Observer {
    /// Begins to look.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn start(database: &Url) -> Result<Self> {
        let mut session = session(database).await?;
        let ahead = clock_ahead(&mut session).await?;
        let shared = Arc::new(Shared::default());
        let stop = CancellationToken::new();
        let (until, look) = (stop.clone(), Arc::clone(&shared).look(session));
        tokio::spawn(async move {
            if let Some(Err(error)) = until.run_until_cancelled(look).await {
                tracing::warn!(%error, "the observer cannot look any more");
            }
        });
        Ok(Self { shared, ahead, _stop: stop.drop_guard() })
    }

    /// Looks at a job from now on. The returned future waits for its end.
    pub fn end_of(&self, job: JobId, asked: Asked) -> impl Future<Output = Result<Took>> + use<> {
        let (sender, end) = oneshot::channel();
        self.shared.watched.lock().unwrap_or_else(PoisonError::into_inner).insert(job.0, sender);
        self.shared.more.notify_one();
        let ahead = self.ahead;
        async move {
            let end = timeout(LONGEST, end).await.with_context(|| format!("job {job} does not end"))?;
            let (finished, seen) = end.context("the observer has lost the database")?;
            // A transaction may begin before the message that it reacts to has been handed over completely.
            let stored = (finished - ahead - asked.time).to_std().unwrap_or_default();
            Ok(Took { stored, seen: seen - asked.instant })
        }
    }
}

impl Shared {
    async fn look(self: Arc<Self>, mut session: PgConnection) -> Result<()> {
        loop {
            let jobs: Vec<Uuid> = self.with(|watched| watched.keys().copied().collect());
            if jobs.is_empty() {
                self.more.notified().await;
                continue;
            }
            let sql = "select id, finished_at from jobs where id = any($1) and finished_at is not null";
            let ended: Vec<(Uuid, DateTime<Utc>)> =
                sqlx::query_as(sql).bind(&jobs).fetch_all(&mut session).await?;
            let seen = Instant::now();
            for (job, finished) in ended {
                if let Some(waiting) = self.with(|watched| watched.remove(&job))
                    && waiting.send((finished, seen)).is_err()
                {
                    tracing::debug!(%job, "nobody waits for its end any more");
                }
            }
            sleep(LOOK).await;
        }
    }

    fn with<T>(&self, work: impl FnOnce(&mut Watched) -> T) -> T {
        work(&mut self.watched.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How far the database's clock is ahead of ours.
async fn clock_ahead(session: &mut PgConnection) -> Result<TimeDelta> {
    let mut best = (TimeDelta::MAX, TimeDelta::zero());
    for _round in 0..ROUNDS {
        let before = Utc::now();
        let theirs: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut *session).await?;
        let round = Utc::now() - before;
        if round < best.0 {
            best = (round, theirs - (before + round / 2));
        }
    }
    Ok(best.1)
}
