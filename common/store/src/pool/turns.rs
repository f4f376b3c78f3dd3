//! Who gets the next session when all are lent: those who wait take turns by whose request it is, so a caller with a
//! hundred requests under way makes another one wait for one of them, not for a hundred.

use std::cell::Cell;
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, oneshot};

tokio::task_local! {
    static ASKING: Cell<Option<Asker>>;
}

/// Whose request it is: a hash of what they are known by.
pub type Asker = [u8; 32];

/// Runs what is done for one request. It has turns of its own once [`asked_by`] says whose it is.
pub fn one_request<F: Future>(request: F) -> impl Future<Output = F::Output> {
    ASKING.scope(Cell::new(None), request)
}

/// From now on the request that is being worked on takes turns as one of theirs. More may become known of who asks.
pub fn asked_by(asker: Asker) {
    // What is no request of anybody takes turns as the process's own.
    let _outside = ASKING.try_with(|asking| asking.set(Some(asker)));
}

/// Whose request is being worked on, if that is known.
#[must_use]
pub fn asking() -> Option<Asker> {
    ASKING.try_with(Cell::get).ok().flatten()
}

/// So many sessions, to be lent in turn.
#[derive(Debug)]
pub(super) struct Turns {
    state: Mutex<State>,
    given_back: Notify,
}

#[derive(Debug)]
struct State {
    free: usize,
    all: usize,
    /// Those who wait, in the order of their turns.
    order: VecDeque<Option<Asker>>,
    /// The requests of each of them, oldest first.
    waiting: HashMap<Option<Asker>, VecDeque<oneshot::Sender<Turn>>>,
}

/// The right to one session. When dropped it goes to whose turn is next.
#[derive(Debug)]
pub(super) struct Turn {
    turns: Option<Arc<Turns>>,
}

impl Turns {
    pub(super) fn new(sessions: usize) -> Arc<Self> {
        let state = State { free: sessions, all: sessions, order: VecDeque::new(), waiting: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), given_back: Notify::new() })
    }

    /// Waits for a turn.
    pub(super) async fn take(self: &Arc<Self>) -> Turn {
        let asker = asking();
        let turn = {
            let mut state = self.state();
            // Whoever is free has not been left to somebody who waits.
            if state.free > 0 {
                state.free -= 1;
                return Turn { turns: Some(Arc::clone(self)) };
            }
            let (give, turn) = oneshot::channel();
            let requests = state.waiting.entry(asker).or_default();
            requests.push_back(give);
            if requests.len() == 1 {
                state.order.push_back(asker);
            }
            turn
        };
        // Who gives a turn goes on until somebody has it, and whoever waits is never forgotten.
        turn.await.unwrap_or_else(|_never| Turn { turns: None })
    }

    /// Waits until all are given back.
    pub(super) async fn all_back(&self) {
        loop {
            let given_back = self.given_back.notified();
            {
                let state = self.state();
                if state.free == state.all {
                    return;
                }
            }
            given_back.await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whoever waits and is next; the session is free if nobody does.
    fn next(&self) -> Option<oneshot::Sender<Turn>> {
        let mut state = self.state();
        while let Some(asker) = state.order.pop_front() {
            let Some(requests) = state.waiting.get_mut(&asker) else { continue };
            // Those who have given up waiting are passed over.
            while requests.front().is_some_and(oneshot::Sender::is_closed) {
                requests.pop_front();
            }
            let next = requests.pop_front();
            if requests.is_empty() {
                state.waiting.remove(&asker);
            } else {
                state.order.push_back(asker);
            }
            if next.is_some() {
                return next;
            }
        }
        state.free += 1;
        None
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let Some(turns) = self.turns.take() else { return };
        match turns.next() {
            // One who has given up in this moment drops it, which gives it to the next.
            Some(give) => drop(give.send(Turn { turns: Some(Arc::clone(&turns)) })),
            None => turns.given_back.notify_waiters(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::Pin;

    type Waiting = Pin<Box<dyn Future<Output = Turn>>>;

    /// A request of somebody that has begun to wait.
    fn waits(turns: &Arc<Turns>, asker: u8) -> Waiting {
        let turns = Arc::clone(turns);
        let mut request: Waiting = Box::pin(one_request(async move {
            asked_by([asker; 32]);
            turns.take().await
        }));
        assert!((&mut request).now_or_never().is_none(), "it has to wait");
        request
    }

    fn has_its_turn(request: &mut Waiting) -> Option<Turn> {
        request.now_or_never()
    }

    #[test]
    fn those_who_wait_take_turns_however_many_requests_each_has() {
        let turns = Turns::new(1);
        let held = turns.take().now_or_never().expect("it is free");
        let mut flood: Vec<_> = (0..3).map(|_| waits(&turns, 1)).collect();
        let mut other = waits(&turns, 2);
        drop(held);
        let first = has_its_turn(&mut flood[0]).expect("the first that waits");
        assert!(has_its_turn(&mut other).is_none());
        drop(first);
        let second = has_its_turn(&mut other).expect("before the rest of the flood");
        drop(second);
        for request in &mut flood[1..] {
            drop(has_its_turn(request).expect("in the end all have theirs"));
        }
        assert!(turns.all_back().now_or_never().is_some());
    }

    #[test]
    fn whoever_gives_up_is_passed_over() {
        let turns = Turns::new(1);
        let held = turns.take().now_or_never().expect("it is free");
        let given_up = waits(&turns, 1);
        let told = waits(&turns, 2);
        let mut last = waits(&turns, 3);
        drop(given_up);
        drop(held);
        // It is the second one's, who goes without having seen it.
        drop(told);
        let turn = has_its_turn(&mut last).expect("the only one left");
        assert!(turns.all_back().now_or_never().is_none());
        drop(turn);
        assert!(turns.all_back().now_or_never().is_some());
    }
}
