//! The shares of the byte budget for pages that are large. Those who wait for one take turns by tenant, and whoever has
//! several, or reads slowly, does not keep another tenant waiting for long.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::ids::TenantId;
use tokio::sync::oneshot;
use tokio::time::Instant;

/// How long a page keeps its share in any case while it is read.
pub(super) const TURN: Duration = Duration::from_secs(10);
/// Bytes per second. A page that comes more slowly keeps a share for longer than a turn only while no other tenant needs it.
const SLOWEST: usize = 64 << 10;

/// Why a page has to leave its share to another tenant's.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Why {
    /// It comes too slowly.
    Slow,
    /// Its tenant has others.
    OneOfSeveral,
}

/// Whose page it is; none if that makes no difference.
pub(super) type Owner = Option<TenantId>;

/// So many shares.
#[derive(Clone, Debug)]
pub(super) struct Shares(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    free: usize,
    next: u64,
    held: Vec<Held>,
    /// In the order in which they came.
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Held {
    number: u64,
    owner: Owner,
    since: Instant,
    /// Whether its page has been told to give it back.
    told: bool,
}

#[derive(Debug)]
struct Waiting {
    owner: Owner,
    give: oneshot::Sender<Share>,
}

/// The right to read a large page. When dropped it goes to whose turn is next.
#[derive(Debug)]
pub(crate) struct Share {
    shares: Shares,
    number: u64,
}

impl Shares {
    pub(super) fn new(all: usize) -> Self {
        let state = State { free: all, next: 0, held: Vec::new(), waiting: Vec::new() };
        Self(Arc::new(Mutex::new(state)))
    }

    /// Waits for a share.
    pub(super) async fn take(&self, owner: Owner) -> Share {
        loop {
            let share = {
                let mut state = self.state();
                // What is free has not been left to somebody who waits.
                if state.free > 0 {
                    state.free -= 1;
                    return self.lend(&mut state, owner);
                }
                let (give, share) = oneshot::channel();
                state.waiting.push(Waiting { owner, give });
                share
            };
            // Whoever waits is never forgotten; if they were, they would ask again.
            if let Ok(share) = share.await {
                return share;
            }
        }
    }

    /// Whether anybody waits.
    pub(super) fn are_waited_for(&self) -> bool {
        self.state().waiting.iter().any(Waiting::still)
    }

    fn lend(&self, state: &mut State, owner: Owner) -> Share {
        let number = state.next;
        state.next += 1;
        state.held.push(Held { number, owner, since: Instant::now(), told: false });
        Share { shares: self.clone(), number }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // No code that can panic runs under the lock.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn held_by(&self, owner: Owner) -> usize {
        self.held.iter().filter(|held| held.owner == owner).count()
    }

    /// Whoever waits and has least, and of those the first.
    fn next(&mut self) -> Option<Waiting> {
        self.waiting.retain(Waiting::still);
        let (index, _) =
            self.waiting.iter().enumerate().min_by_key(|(_, waiting)| self.held_by(waiting.owner))?;
        Some(self.waiting.remove(index))
    }

    /// How many tenants wait who have no share, and for whom none is about to be given back.
    fn in_need(&self) -> usize {
        let waiting = self.waiting.iter().filter(|waiting| waiting.still());
        let owners: HashSet<_> = waiting.map(|waiting| waiting.owner).collect();
        let without = owners.iter().filter(|owner| self.held_by(**owner) == 0).count();
        without.saturating_sub(self.held.iter().filter(|held| held.told).count())
    }
}

impl Waiting {
    fn still(&self) -> bool {
        !self.give.is_closed()
    }
}

impl Share {
    /// Whether the page, of which so many bytes have come, has to leave its share to a tenant who has none. If so, it is
    /// told only once.
    pub(super) fn is_needed(&self, bytes: usize) -> Option<Why> {
        let mut state = self.shares.state();
        let needed = state.in_need() > 0;
        let index = state.held.iter().position(|held| held.number == self.number)?;
        let held = state.held.get(index).filter(|held| needed && !held.told)?;
        let (owner, had) = (held.owner, held.since.elapsed());
        let staying = state.held.iter().filter(|held| held.owner == owner && !held.told).count();
        let slow = bytes < SLOWEST.saturating_mul(usize::try_from(had.as_secs()).unwrap_or(usize::MAX));
        let why = match (slow, staying > 1) {
            _ if had < TURN => None,
            (true, _) => Some(Why::Slow),
            (false, true) => Some(Why::OneOfSeveral),
            (false, false) => None,
        };
        state.held.get_mut(index)?.told = why.is_some();
        why
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let next = {
            let mut state = self.shares.state();
            state.held.retain(|held| held.number != self.number);
            match state.next() {
                Some(next) => Some((self.shares.lend(&mut state, next.owner), next.give)),
                None => {
                    state.free += 1;
                    None
                }
            }
        };
        // One who has given up in this moment drops it, which gives it to the next.
        if let Some((share, give)) = next {
            drop(give.send(share));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::FutureExt;
    use std::pin::Pin;

    const FAST: usize = usize::MAX;
    const SLOW: usize = 0;

    type Asking = Pin<Box<dyn Future<Output = Share>>>;

    fn tenant(number: u128) -> Owner {
        Some(TenantId(uuid::Uuid::from_u128(number)))
    }

    fn ask(shares: &Shares, owner: Owner) -> Asking {
        let shares = shares.clone();
        let mut asking: Asking = Box::pin(async move { shares.take(owner).await });
        assert!((&mut asking).now_or_never().is_none(), "it has to wait");
        asking
    }

    fn has(shares: &Shares, owner: Owner) -> Share {
        shares.take(owner).now_or_never().expect("one is free")
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_has_least_is_next() {
        let shares = Shares::new(2);
        let [first, second] = [has(&shares, tenant(1)), has(&shares, tenant(1))];
        let mut flood: Vec<_> = (0..3).map(|_| ask(&shares, tenant(1))).collect();
        let mut other = ask(&shares, tenant(2));
        drop(first);
        let theirs = (&mut other).now_or_never().expect("before the flood");
        assert!(flood.iter_mut().all(|asking| asking.now_or_never().is_none()));
        drop(second);
        let third = (&mut flood[0]).now_or_never().expect("the first of the flood");
        // Both have one.
        let mut another = ask(&shares, tenant(2));
        drop(third);
        let fourth = (&mut flood[1]).now_or_never().expect("it has none");
        drop(theirs);
        let _fifth = (&mut another).now_or_never().expect("the others have one");
        // Those who have given up are passed over.
        drop(flood);
        drop(fourth);
        assert!(!shares.are_waited_for());
        has(&shares, None);
    }

    #[tokio::test(start_paused = true)]
    async fn one_share_of_several_is_left_to_a_tenant_who_has_none() {
        let shares = Shares::new(3);
        let held = [has(&shares, tenant(1)), has(&shares, tenant(1)), has(&shares, tenant(1))];
        let needed = |bytes| held.iter().map(|share| share.is_needed(bytes)).collect::<Vec<_>>();
        let own = ask(&shares, tenant(1));
        tokio::time::advance(TURN * 2).await;
        assert_eq!(needed(SLOW), [None; 3], "the tenant's own pages wait for their turn");
        let other = ask(&shares, tenant(2));
        assert_eq!(needed(FAST), [Some(Why::OneOfSeveral), None, None], "one who waits needs one");
        assert_eq!(needed(SLOW), [None; 3], "which is on its way");
        let third = ask(&shares, tenant(3));
        assert_eq!(needed(FAST), [None, Some(Why::OneOfSeveral), None]);
        let fourth = ask(&shares, tenant(4));
        assert_eq!(needed(FAST), [None; 3], "the last one stays");
        assert_eq!(needed(SLOW), [None, None, Some(Why::Slow)], "unless it is slow");
        drop((own, other, third, fourth));
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_has_its_turn() {
        let shares = Shares::new(1);
        let share = has(&shares, tenant(1));
        let _other = ask(&shares, tenant(2));
        tokio::time::advance(TURN - Duration::from_millis(1)).await;
        assert_eq!(share.is_needed(SLOW), None);
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(share.is_needed(SLOWEST * 10), None);
        assert_eq!(share.is_needed(SLOWEST * 10 - 1), Some(Why::Slow));
    }
}
