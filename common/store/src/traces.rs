//! The traces of jobs: what is published for a job carries the trace of the command that started it.

use crate::Store;
use protocol::ids::JobId;
use protocol::trace::current;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// So many jobs are remembered at a time.
const MOST_JOBS: usize = 10_000;
/// Nothing waits longer for the database only to carry a trace.
const PATIENCE: Duration = Duration::from_millis(500);

/// The traces of jobs, as their rows say; remembered, since each page of a job is published for it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Traces {
    store: Store,
    known: Arc<Mutex<HashMap<JobId, Option<Arc<str>>>>>,
}

impl Traces {
    /// Of the jobs of this store.
    #[must_use]
    pub fn new(store: Store) -> Self {
        Self { store, known: Arc::default() }
    }

    /// The trace of a job. None also if the database does not answer soon.
    pub async fn of(&self, job: JobId) -> Option<Arc<str>> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner).get(&job).cloned();
        if let Some(known) = known {
            return known;
        }
        let read = tokio::time::timeout(PATIENCE, self.store.events().traceparent(job)).await.ok()?.ok()?;
        let trace: Option<Arc<str>> = read?.map(Arc::from);
        self.note(job, trace.clone());
        trace
    }

    /// Notes the trace of a job that was made for the command that this task handles.
    pub fn made(&self, job: JobId) {
        self.note(job, current().map(Arc::from));
    }

    fn note(&self, job: JobId, trace: Option<Arc<str>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MOST_JOBS {
            known.clear();
        }
        known.insert(job, trace);
    }
}
