//! Deliveries that wait for a session of the database claim their pages together, as pages are settled together: a claim
//! costs less than a statement to begin and end. Nobody waits for company: the first claims at once, and who comes meanwhile
//! is next.

use common::config::{DatabaseConfig, LeasesConfig};
use common::ids::WorkerId;
use common::store::slices::{Claim, ClaimRequest};
use common::store::{Store, StoreError};
use metrics::counter;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::oneshot;

/// The most that a statement is given.
const MOST: usize = 32;

/// Claims the pages of a process.
#[derive(Clone, Debug)]
pub struct Claimer {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    worker: WorkerId,
    lease: Duration,
    /// The most statements at a time.
    sessions: usize,
    line: Mutex<Line>,
}

/// Deliveries that wait, and how many tasks take them from there.
#[derive(Debug, Default)]
struct Line {
    waiting: VecDeque<Waiting>,
    runners: usize,
}

#[derive(Debug)]
struct Waiting {
    request: ClaimRequest,
    answer: oneshot::Sender<Result<Claim, StoreError>>,
}

impl Claimer {
    /// Claims for a worker, with some of the store's sessions.
    #[must_use]
    pub fn new(store: Store, worker: WorkerId, database: &DatabaseConfig, leases: &LeasesConfig) -> Self {
        let sessions = usize::try_from(database.max_connections / 2).unwrap_or(usize::MAX);
        let shared = Shared { store, worker, lease: leases.duration, sessions, line: Mutex::default() };
        Self { shared: Arc::new(shared) }
    }

    /// Claims the page that a delivery asks for, if it may.
    ///
    /// # Errors
    /// As [`Store::claim`]: repeat it with the same token.
    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        if request.redelivered {
            // There is more to decide about it, and it is rare.
            return self.shared.store.claim(&request).await;
        }
        let (answer, answered) = oneshot::channel();
        {
            let mut line = self.shared.line();
            line.waiting.push_back(Waiting { request, answer });
            if line.runners == 0 || (line.waiting.len() > MOST && line.runners < self.shared.sessions) {
                line.runners += 1;
                tokio::spawn(Arc::clone(&self.shared).run());
            }
        }
        answered.await.unwrap_or_else(|_gone| Err(StoreError::unanswered()))
    }
}

impl Shared {
    fn line(&self) -> MutexGuard<'_, Line> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Until nobody waits.
    async fn run(self: Arc<Self>) {
        while let Some(waiting) = self.next() {
            self.claim(waiting).await;
        }
    }

    /// Those who have waited longest.
    fn next(&self) -> Option<Vec<Waiting>> {
        let mut line = self.line();
        let count = line.waiting.len().min(MOST);
        if count == 0 {
            line.runners -= 1;
            return None;
        }
        Some(line.waiting.drain(..count).collect())
    }

    async fn claim(self: &Arc<Self>, mut waiting: Vec<Waiting>) {
        if waiting.len() == 1
            && let Some(only) = waiting.pop()
        {
            return self.alone(only).await;
        }
        counter!("claims_total").increment(1);
        let requests: Vec<_> = waiting.iter().map(|waiting| waiting.request).collect();
        let claims = match self.store.claim_together(self.worker, self.lease, &requests).await {
            Ok(claims) => claims,
            Err(error) => {
                tracing::info!(%error, pages = requests.len(), "pages that were to be claimed together are claimed alone");
                requests.iter().map(|_| None).collect()
            }
        };
        for (claim, waiting) in claims.into_iter().zip(waiting) {
            match claim {
                // Whoever is not there any more lets the lease end.
                Some(claim) => drop(waiting.answer.send(Ok(claim))),
                // Nobody else waits for it.
                None => {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move { shared.alone(waiting).await });
                }
            }
        }
    }

    async fn alone(&self, waiting: Waiting) {
        counter!("claims_total").increment(1);
        drop(waiting.answer.send(self.store.claim(&waiting.request).await));
    }
}
