//! Deliveries that wait for a session of the database claim their pages together, as pages are settled together: a claim
//! costs less than a statement to begin and end.

use configuration::DatabaseConfig;
use metrics::counter;
use std::collections::VecDeque;
use std::sync::Arc;
use store::batches::{Batched, Batcher, submit};
use store::slices::{Claim, ClaimRequest};
use store::{Store, StoreError};
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
    batcher: Batcher<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    request: ClaimRequest,
    answer: oneshot::Sender<Result<Claim, StoreError>>,
}

impl Claimer {
    /// Claims with some of the store's sessions, for one worker.
    #[must_use]
    pub fn new(store: Store, database: &DatabaseConfig) -> Self {
        let sessions = usize::try_from(database.max_connections / 2).unwrap_or(usize::MAX);
        Self { shared: Arc::new(Shared { store, batcher: Batcher::new(sessions) }) }
    }

    /// Claims the page that a delivery asks for, if it may.
    ///
    /// # Errors
    /// As [`Slices::claim`]: repeat it with the same token.
    pub(super) async fn claim(&self, request: ClaimRequest) -> Result<Claim, StoreError> {
        if request.redelivered {
            // There is more to decide about it, and it is rare.
            return self.shared.store.slices().claim(&request).await;
        }
        let (answer, answered) = oneshot::channel();
        submit(&self.shared, Waiting { request, answer });
        answered.await.unwrap_or_else(|_gone| Err(StoreError::unanswered()))
    }
}

impl Batched for Shared {
    type Waiting = Waiting;
    type Batch = Vec<Waiting>;

    fn batcher(&self) -> &Batcher<Waiting> {
        &self.batcher
    }

    fn is_too_much(waiting: &VecDeque<Waiting>) -> bool {
        waiting.len() > MOST
    }

    fn take(waiting: &mut VecDeque<Waiting>) -> Vec<Waiting> {
        waiting.drain(..waiting.len().min(MOST)).collect()
    }

    async fn work(self: &Arc<Self>, mut waiting: Vec<Waiting>) {
        if waiting.len() == 1
            && let Some(only) = waiting.pop()
        {
            return self.alone(only).await;
        }
        counter!("claims_total").increment(1);
        let requests: Vec<_> = waiting.iter().map(|waiting| waiting.request).collect();
        let claims = match self.store.slices().claim_together(&requests).await {
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
}

impl Shared {
    async fn alone(&self, waiting: Waiting) {
        counter!("claims_total").increment(1);
        drop(waiting.answer.send(self.store.slices().claim(&waiting.request).await));
    }
}
