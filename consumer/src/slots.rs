//! The slots of a process: how many pages may be in flight, and whether anybody waits for one.

use broker::Publisher;
use protocol::topology::WorkQueue;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{AcquireError, Semaphore, SemaphorePermit};
use tokio_util::sync::CancellationToken;

/// The broker is not asked more often than this.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// As many as there may be pages in flight. The prefetch bounds each connection's deliveries; after a reconnect those of
/// the old connection may still be in hand.
#[derive(Debug)]
pub struct Slots {
    free: Semaphore,
    /// Messages wait in the queue, or nobody has looked.
    waited_for: AtomicBool,
}

impl Slots {
    /// So many, all of them free.
    #[must_use]
    pub const fn new(count: usize) -> Self {
        Self { free: Semaphore::const_new(count), waited_for: AtomicBool::new(true) }
    }

    /// Takes a slot, once one is free. It is free again when this is dropped.
    ///
    /// # Errors
    /// Never: the slots are not closed.
    pub async fn take(&self) -> Result<SemaphorePermit<'_>, AcquireError> {
        self.free.acquire().await
    }

    /// Whether a message may be waiting for a slot. Never while one is free: the broker would have delivered it.
    pub fn are_waited_for(&self) -> bool {
        self.all_taken() && self.waited_for.load(Ordering::Relaxed)
    }

    fn all_taken(&self) -> bool {
        self.free.available_permits() == 0
    }

    /// Asks the broker, while all slots are taken, whether messages wait, until `ended`. A message that came is noticed
    /// within `every`, by which time what has the slots may still be in its first stint.
    pub async fn watch(&self, publisher: &Publisher, every: Duration, ended: CancellationToken) {
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                () = tokio::time::sleep(every.max(LOOK_EVERY)) => {}
            }
            let waiting = if self.all_taken() {
                publisher.queue_ready_count(WorkQueue::Pages).await.map_or(true, |count| count > 0)
            } else {
                // What is known by the time that they are taken would be old.
                true
            };
            self.waited_for.store(waiting, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_free_slot_is_not_waited_for() -> Result<(), AcquireError> {
        let slots = Slots::new(2);
        let _one = slots.take().await?;
        assert!(!slots.are_waited_for());
        let other = slots.take().await?;
        assert!(slots.are_waited_for(), "nobody has looked");
        slots.waited_for.store(false, Ordering::Relaxed);
        assert!(!slots.are_waited_for());
        slots.waited_for.store(true, Ordering::Relaxed);
        drop(other);
        assert!(!slots.are_waited_for());
        Ok(())
    }
}
