//! Pages that wait for a session of the database are settled together: what a statement costs to begin and end is more than
//! a small page, and a fifth of a full one.

use configuration::{DatabaseConfig, LeasesConfig};
use metrics::counter;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use store::batches::{Batched, Batcher, submit};
use store::slices::{Lease, Settled, Settlement, Together, Verdict};
use store::{Store, StoreError};
use tokio::sync::{Semaphore, oneshot};

/// A page with more than this is settled alone, as a statement of its own is little beside it.
const ALONE_ABOVE: usize = 256 << 10;
/// The most that a statement is given: pages, and bytes of their records.
const MOST_PAGES: usize = 32;
const MOST_BYTES: usize = 1280 << 10;

/// Settles the pages of a process.
#[derive(Clone, Debug)]
pub struct Settler {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    store: Store,
    /// What a kept lease is renewed by.
    lease: Duration,
    /// Turns of pages that are settled alone, as many as there are sessions: a statement's text is made when it can be
    /// sent, so that what waits is in memory once.
    turns: Semaphore,
    /// Whoever has waited so long for a turn goes without, and hears from the store what is wrong.
    patience: Duration,
    batcher: Batcher<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    lease: Lease,
    page: Settlement,
    bytes: usize,
    answer: oneshot::Sender<Answer>,
}

/// The page, and what became of it: as [`Slices::settle`] says it.
type Answer = (Settlement, Result<Settled, (Lease, StoreError)>);

impl Settler {
    /// Settles with some of the store's sessions.
    #[must_use]
    pub fn new(store: Store, database: &DatabaseConfig, leases: &LeasesConfig) -> Self {
        let connections = usize::from(u16::try_from(database.max_connections).unwrap_or(u16::MAX));
        let shared = Shared {
            store,
            lease: leases.duration,
            turns: Semaphore::new(connections),
            patience: database.connect_timeout,
            // Claims come in between.
            batcher: Batcher::new(connections * 3 / 4),
        };
        Self { shared: Arc::new(shared) }
    }

    /// Settles a page. What becomes of it does not depend on whether the answer is waited for.
    ///
    /// # Errors
    /// When there is no answer and never will be, as at the end of the process. The page may be settled or not.
    pub(super) async fn settle(&self, lease: Lease, page: Settlement) -> Result<Answer, StoreError> {
        let bytes = bytes(&page);
        if bytes > ALONE_ABOVE {
            return Ok(self.shared.alone(lease, page).await);
        }
        let (answer, answered) = oneshot::channel();
        submit(&self.shared, Waiting { lease, page, bytes, answer });
        answered.await.map_err(|_gone| StoreError::unanswered())
    }
}

impl Batched for Shared {
    type Waiting = Waiting;
    type Batch = (Together, Vec<oneshot::Sender<Answer>>);

    fn batcher(&self) -> &Batcher<Waiting> {
        &self.batcher
    }

    fn is_too_much(waiting: &VecDeque<Waiting>) -> bool {
        waiting.len() > MOST_PAGES || waiting.iter().map(|page| page.bytes).sum::<usize>() > MOST_BYTES
    }

    fn take(waiting: &mut VecDeque<Waiting>) -> Self::Batch {
        let (mut together, mut answers, mut taken) = (Together::default(), Vec::new(), 0);
        while together.len() < MOST_PAGES
            && let Some(Waiting { lease, page, bytes, answer }) = waiting.pop_front()
        {
            taken += bytes;
            let added =
                if taken > MOST_BYTES { Err(Box::new((lease, page))) } else { together.add(lease, page) };
            if let Err(left) = added {
                let (lease, page) = *left;
                waiting.push_front(Waiting { lease, page, bytes, answer });
                break;
            }
            answers.push(answer);
        }
        (together, answers)
    }

    async fn work(self: &Arc<Self>, (together, answers): Self::Batch) {
        let together = match together.only() {
            Ok((lease, page)) => {
                let answer = self.alone(lease, page).await;
                if let Some(waiting) = answers.into_iter().next() {
                    drop(waiting.send(answer));
                }
                return;
            }
            Err(several) => several,
        };
        counter!("settles_total").increment(1);
        let (pages, result) = self.store.slices().settle_together(together, self.lease).await;
        let settled: Vec<Result<Settled, Lease>> = match result {
            Ok(settled) => settled
                .into_iter()
                .map(|settled| match settled {
                    Settled::Fenced(lease) => Err(lease),
                    done @ (Settled::Kept(..)
                    | Settled::Ring(..)
                    | Settled::Queued(_)
                    | Settled::SliceDone(..)) => Ok(done),
                })
                .collect(),
            Err((leases, error)) => {
                counter!("settles_split_total").increment(1);
                tracing::info!(%error, pages = pages.len(), "pages that were to be settled together are settled alone");
                leases.into_iter().map(Err).collect()
            }
        };
        for ((settled, page), waiting) in settled.into_iter().zip(pages).zip(answers) {
            match settled {
                // Whoever is not there any more reads the slice.
                Ok(done) => drop(waiting.send((page, Ok(done)))),
                // Nobody else waits for it.
                Err(lease) => {
                    let shared = Arc::clone(self);
                    tokio::spawn(async move { drop(waiting.send(shared.alone(lease, page).await)) });
                }
            }
        }
    }
}

impl Shared {
    async fn alone(&self, lease: Lease, page: Settlement) -> Answer {
        let _turn = tokio::time::timeout(self.patience, self.turns.acquire()).await;
        counter!("settles_total").increment(1);
        let settled = self.store.slices().settle(lease, &page, self.lease).await;
        (page, settled)
    }
}

/// What a record takes beside its texts.
const RECORD: usize = 100;

/// About what its records take.
fn bytes(page: &Settlement) -> usize {
    let of_record = |verdict: &Verdict| match verdict {
        Verdict::Store { payload, .. } => payload.len(),
        Verdict::Defer | Verdict::Absent => 0,
        Verdict::Fail { reason } => reason.len(),
    };
    page.records.iter().map(|record| RECORD + record.key.len() + of_record(&record.verdict)).sum()
}
