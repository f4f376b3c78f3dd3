//! Sees when jobs end: one look at the database for all that are waited for.

use anyhow::{Context, Result};
use protocol::ids::JobId;
use sqlx::PgConnection;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

/// Between two looks.
const EVERY: Duration = Duration::from_millis(15);

type Waiting = Arc<Mutex<HashMap<Uuid, oneshot::Sender<()>>>>;

/// Sees when jobs end.
#[derive(Clone, Debug, Default)]
pub(super) struct Watch(Waiting);

impl Watch {
    /// Waits for a job's end; false if that takes too long.
    pub(super) async fn until_over(&self, job: JobId, longest: Duration) -> Result<bool> {
        let (over, ended) = oneshot::channel();
        lock(&self.0).insert(job.0, over);
        match timeout(longest, ended).await {
            Ok(ended) => ended.context("nobody looks any more").map(|()| true),
            Err(_elapsed) => {
                lock(&self.0).remove(&job.0);
                Ok(false)
            }
        }
    }

    /// Looks until it is dropped.
    pub(super) async fn look(&self, session: &mut PgConnection) -> Result<()> {
        loop {
            let jobs: Vec<Uuid> = lock(&self.0).keys().copied().collect();
            if !jobs.is_empty() {
                let sql = "select id from jobs
                            where id = any($1) and status in ('completed', 'failed', 'cancelled')";
                let over: Vec<Uuid> = sqlx::query_scalar(sql).bind(&jobs).fetch_all(&mut *session).await?;
                let mut waiting = lock(&self.0);
                for job in over {
                    if let Some(over) = waiting.remove(&job) {
                        // Whoever waited may have gone.
                        over.send(()).unwrap_or_default();
                    }
                }
            }
            sleep(EVERY).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
