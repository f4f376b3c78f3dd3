//! What waits for a session of the database, to share a statement. Nothing waits for company: the first runs at once, and
//! what comes meanwhile is next. Another session is taken when more waits than a statement takes, and in the place of one
//! that is late.

use std::collections::VecDeque;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
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
    pub fn join(&self, one: T, too_much: impl Fn(&VecDeque<T>) -> bool) -> bool {
        let mut state = self.state();
        state.waiting.push_back(one);
        let wanted = state.runners == 0 || (state.runners < self.sessions && too_much(&state.waiting));
        state.runners += usize::from(wanted);
        wanted
    }

    /// What a task is to do next, taken from those who wait. `None` if nobody does: then the task must end.
    pub fn next<R>(&self, take: impl FnOnce(&mut VecDeque<T>) -> R) -> Option<R> {
        let mut state = self.state();
        if state.waiting.is_empty() {
            state.runners -= 1;
            return None;
        }
        Some(take(&mut state.waiting))
    }
}

/// Does the work of a task that takes from a batcher. Once that is late, `stand_in` begins another task in its place: then the
/// answer is true, and the task must end after its work without asking for more.
pub async fn stood_in(work: impl Future<Output = ()>, stand_in: impl FnOnce()) -> bool {
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
