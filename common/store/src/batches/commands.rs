//! Commands that wait for a session are applied together. Those with one subject keep their order.

use super::batcher::{Batched, Batcher, submit};
use super::kinds::Kind;
use crate::StoreError;
use crate::jobs::Commanded;
use futures::future::join_all;
use metrics::counter;
use protocol::trace;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use tokio::sync::oneshot;
use uuid::Uuid;

/// The most that a statement is given.
const MOST: usize = 256;

/// Applies commands of one kind. Cheap to clone.
#[derive(Debug)]
pub struct Batches<K: Kind> {
    shared: Arc<Shared<K>>,
}

#[derive(Debug)]
struct Shared<K: Kind> {
    kind: K,
    batcher: Batcher<Waiting<K>>,
}

#[derive(Debug)]
struct Waiting<K: Kind> {
    request: K::Request,
    trace: Option<String>,
    answer: oneshot::Sender<Result<K::Outcome, StoreError>>,
}

impl<K: Kind> Clone for Batches<K> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared) }
    }
}

impl<K: Kind> Batches<K> {
    /// With one session, and more for commands that are applied alone.
    #[must_use]
    pub fn new(kind: K) -> Self {
        Self { shared: Arc::new(Shared { kind, batcher: Batcher::new(1) }) }
    }

    /// Applies a command, and waits for the outcome. What becomes of it does not depend on whether it is waited for.
    ///
    /// # Errors
    /// When the database cannot be written; the command may or may not have been applied, and may be repeated.
    pub async fn apply(&self, request: K::Request) -> Result<K::Outcome, StoreError> {
        let (answer, answered) = oneshot::channel();
        submit(&self.shared, Waiting { request, trace: trace::current(), answer });
        answered.await.unwrap_or_else(|_gone| Err(StoreError::unanswered()))
    }
}

impl<K: Kind> Batched for Shared<K> {
    type Waiting = Waiting<K>;
    type Batch = Vec<Waiting<K>>;

    fn batcher(&self) -> &Batcher<Waiting<K>> {
        &self.batcher
    }

    /// One session is enough: the batches grow.
    fn is_too_much(_waiting: &VecDeque<Waiting<K>>) -> bool {
        false
    }

    fn take(waiting: &mut VecDeque<Waiting<K>>) -> Vec<Waiting<K>> {
        waiting.drain(..waiting.len().min(MOST)).collect()
    }

    async fn work(self: &Arc<Self>, batch: Vec<Waiting<K>>) {
        let mut alone: BTreeMap<Uuid, Vec<Waiting<K>>> = BTreeMap::new();
        for (outcome, waiting) in self.together(&batch).await.into_iter().zip(batch) {
            match outcome {
                // Whoever is not there any more meets the command again.
                Some(outcome) => drop(waiting.answer.send(Ok(outcome))),
                None => alone.entry(K::subject(&waiting.request)).or_default().push(waiting),
            }
        }
        join_all(alone.into_values().map(|in_order| self.alone(in_order))).await;
    }
}

impl<K: Kind> Shared<K> {
    async fn together(&self, batch: &[Waiting<K>]) -> Vec<Option<K::Outcome>> {
        let nothing = || batch.iter().map(|_| None).collect();
        if batch.len() < 2 {
            return nothing();
        }
        counter!("command_batches_total", "command" => K::WORD).increment(1);
        let commands: Vec<_> =
            batch.iter().map(|it| Commanded { request: &it.request, trace: it.trace.as_deref() }).collect();
        self.kind.together(&commands).await.unwrap_or_else(|error| {
            let (command, number) = (K::WORD, batch.len());
            tracing::info!(%error, command, number, "commands that were to be applied together are applied alone");
            nothing()
        })
    }

    /// Applies commands with one subject.
    async fn alone(&self, in_order: Vec<Waiting<K>>) {
        for Waiting { request, trace, answer } in in_order {
            drop(answer.send(trace::within(trace.as_deref(), self.kind.alone(&request)).await));
        }
    }
}
