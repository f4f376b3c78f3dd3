//! By when the answer that a connection is sending must have been taken.

use axum::body::Bytes;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// The deadline of a connection's answer, if it has one at the moment.
#[derive(Clone, Debug)]
pub(super) struct Due(watch::Sender<Option<Instant>>);

impl Due {
    pub(super) fn new() -> Self {
        Self(watch::Sender::new(None))
    }

    /// An answer begins that must have been taken within so long.
    pub(super) fn within(&self, longest: Duration) -> Underway {
        let until = Instant::now() + longest;
        self.0.send_replace(Some(until));
        Underway { _mark: Arc::new(Mark { due: self.clone(), until }) }
    }

    /// Resolves when an answer is overdue.
    pub(super) async fn passed(&self) {
        let mut due = self.0.subscribe();
        loop {
            let until = *due.borrow_and_update();
            let passed = async {
                match until {
                    Some(until) => sleep_until(until).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                () = passed => return,
                // The sender is our own, and lives as long as this.
                _changed = due.changed() => {}
            }
        }
    }
}

/// An answer that has a deadline.
#[derive(Clone, Debug)]
pub(super) struct Underway {
    _mark: Arc<Mark>,
}

impl Underway {
    /// Bytes of the answer. It is under way until the last of them is written to the client, whoever holds them.
    pub(super) fn part(&self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Part { bytes, _underway: self.clone() })
    }
}

#[derive(Debug)]
struct Mark {
    due: Due,
    until: Instant,
}

impl Drop for Mark {
    fn drop(&mut self) {
        // The connection's next answer may have begun, with a deadline of its own.
        let mine = self.until;
        self.due.0.send_if_modified(|until| until.take_if(|until| *until == mine).is_some());
    }
}

struct Part {
    bytes: Bytes,
    _underway: Underway,
}

impl AsRef<[u8]> for Part {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;

    const LONGEST: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_overdue_until_its_last_byte_is_gone() {
        let due = Due::new();
        assert!(due.passed().now_or_never().is_none());
        let answer = due.within(LONGEST);
        let mut part = answer.part(Bytes::from_static(b"all of it"));
        let last = part.split_off(8);
        drop((answer, part));
        let began = Instant::now();
        due.passed().await;
        assert_eq!(began.elapsed(), LONGEST);
        drop(last);
        assert!(due.passed().now_or_never().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn the_next_answer_has_a_deadline_of_its_own() {
        let due = Due::new();
        let first = due.within(LONGEST);
        tokio::time::advance(LONGEST / 2).await;
        let _second = due.within(LONGEST);
        drop(first);
        let began = Instant::now();
        due.passed().await;
        assert_eq!(began.elapsed(), LONGEST);
    }
}
