//! What waits for a session of the database, to share a statement. Nothing waits for company: the first runs at once, and
//! what comes meanwhile is next. Another session is taken when more waits than a statement takes, and in the place of one
//! that is late.

use futures::future::BoxFuture;
use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A statement that takes longer waits for somebody's lock. Others shall not wait for it.
const LATE: Duration = Duration::from_millis(250);

/// What waits, and the tasks that take from it.
#[derive(Debug)]
pub struct Batcher<T> {
    state: Mutex<State<T>>,
    /// The most tasks at a time.
    sessions: usize,
}

#[derive(Debug)]
struct State<T> {
    waiting: VecDeque<T>,
    runners: usize,
}

impl<T> Batcher<T> {
    /// For so many tasks, at least one.
    #[must_use]
    pub const fn new(sessions: usize) -> Self {
        Self { state: Mutex::new(State { waiting: VecDeque::new(), runners: 0 }), sessions }
    }

    fn state(&self) -> MutexGuard<'_, State<T>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits. If the answer is true, one more task must begin to call [`Batcher::next`]: there is none, or what waits is too
    /// much for one statement.
    fn join(&self, one: T, too_much: impl Fn(&VecDeque<T>) -> bool) -> bool {
        let mut state = self.state();
        state.waiting.push_back(one);
        let wanted = state.runners == 0 || (state.runners < self.sessions && too_much(&state.waiting));
        state.runners += usize::from(wanted);
        wanted
    }

    /// What a task is to do next, taken from those who wait. `None` if nobody does: then the task must end.
    fn next<R>(&self, take: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.runners -= 1;
            return None;
        }
        Some(take(&mut state.waiting))
    }
}

/// Work that is done in batches.
pub trait Batched: Send + Sync + 'static {
    /// One of those that wait.
    type Waiting: Send + 'static;
    /// What a statement is given.
    type Batch: Send;

    /// Where they wait.
    fn batcher(&self) -> &Batcher<Self::Waiting>;

    /// Whether more waits than a statement takes.
    fn is_too_much(waiting: &VecDeque<Self::Waiting>) -> bool;

    /// Those who have waited longest, as many as a statement takes: at least one.
    fn take(waiting: &mut VecDeque<Self::Waiting>) -> Self::Batch;

    /// Works on them.
    fn work(self: &Arc<Self>, batch: Self::Batch) -> impl Future<Output = ()> + Send;
}

/// Adds one to those that wait, and sees to it that somebody works.
pub fn submit<B: Batched>(batched: &Arc<B>, one: B::Waiting) {
    if batched.batcher().join(one, B::is_too_much) {
        tokio::spawn(run(Arc::clone(batched)));
    }
}

/// Until nothing waits.
fn run<B: Batched>(batched: Arc<B>) -> BoxFuture<'static, ()> {
    Box::pin(async move {
        while let Some(batch) = batched.batcher().next(B::take) {
            let stand_in = || drop(tokio::spawn(run(Arc::clone(&batched))));
            if run_with_relief(batched.work(batch), stand_in).await {
                return;
            }
        }
    })
}

/// Does the work of a task that takes from a batcher. Once that is late, `stand_in` begins another task in its place: then the
/// answer is true, and the task must end after its work without asking for more.
async fn run_with_relief(work: impl Future<Output = ()>, stand_in: impl FnOnce()) -> bool {
    let mut work = pin!(work);
    if tokio::time::timeout(LATE, &mut work).await.is_ok() {
        return false;
    }
    stand_in();
    work.await;
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_session_is_taken_when_more_waits_than_a_statement_takes() {
        let batcher = Batcher::new(2);
        let join = |one| batcher.join(one, |waiting| waiting.len() > 2);
        let all = |waiting: &mut VecDeque<_>| waiting.drain(..).collect::<Vec<_>>();
        assert!(join(1), "nobody runs");
        assert_eq!(
            [2, 3, 4].map(join),
            [false, true, false],
            "the third is one too many, and there are two sessions"
        );
        assert_eq!(batcher.next(all), Some(vec![1, 2, 3, 4]));
        assert_eq!((batcher.next(all), batcher.next(all)), (None, None), "both end");
        assert!(join(5), "and the next begins anew");
    }
}
