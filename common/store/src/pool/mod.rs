//! The store's sessions with Postgres. sqlx's own pool keeps what answers: a session whose server has become read-only, whose
//! packets a firewall drops, or whose plans do not fit the tables any more stays in it, and is lent again and again. This one
//! gives such a session up at once, and with it those that were opened before; and says why a session could not be opened.

mod connector;
mod known;
mod places;
mod probe;
mod session;
mod statement;
mod transaction;
mod turns;
mod verdict;

pub(super) use connector::{Connector, Pooled};
use known::Known;
pub(super) use session::Session;
pub(super) use transaction::Transaction;
use turns::Turns;
pub use turns::{Asker, asked_by, asking, one_request};
pub(super) use verdict::is_stale_plan;

use super::SessionLimits;
use sqlx::postgres::PgConnection;
use sqlx::{Connection, Error};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Beyond what a statement may take by the server's clock, for the answer's way.
const MARGIN: Duration = Duration::from_secs(2);
/// A session that nobody has needed for so long is closed.
const IDLE_FOR: Duration = Duration::from_secs(600);
/// And one that is this old, since a session's memory and what balances load between servers only know new ones.
const OLDEST: Duration = Duration::from_secs(1800);
/// For the orderly end of one that is idle.
const CLOSE_WITHIN: Duration = Duration::from_secs(1);

/// Some sessions, lent to whoever needs one. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Pool {
    inner: Arc<Inner>,
    known: Arc<Known>,
}

#[derive(Debug)]
struct Inner {
    connector: Connector,
    /// The one given back last is lent next.
    idle: Mutex<Vec<Idle>>,
    turns: Arc<Turns>,
    closed: AtomicBool,
    acquire_within: Duration,
    answer_within: Duration,
}

#[derive(Debug)]
struct Idle {
    connection: PgConnection,
    opened: Instant,
    since: Instant,
}

impl Pool {
    /// At most `size` sessions; none is opened before it is needed.
    pub(super) fn new(connector: Connector, size: u32, limits: SessionLimits) -> Self {
        let turns = Turns::new(usize::try_from(size).unwrap_or(usize::MAX));
        let inner = Inner {
            connector,
            idle: Mutex::default(),
            turns,
            closed: AtomicBool::new(false),
            acquire_within: limits.acquire_timeout,
            answer_within: limits.statement_timeout + MARGIN,
        };
        Self { inner: Arc::new(inner), known: Arc::default() }
    }

    /// The same pool, whose sessions are given up together with those of `other`.
    pub(super) fn beside(self, other: &Self) -> Self {
        Self { known: Arc::clone(&other.known), ..self }
    }

    /// Lends a session.
    ///
    /// # Errors
    /// When none is free in time, or none can be opened: with the reason.
    pub(super) async fn acquire(&self) -> Result<Session, Error> {
        let deadline = Instant::now() + self.inner.acquire_within;
        let turn =
            timeout_at(deadline, self.inner.turns.take()).await.map_err(|_late| Error::PoolTimedOut)?;
        if self.inner.closed.load(Ordering::Acquire) {
            return Err(Error::PoolClosed);
        }
        if let Some(Idle { connection, opened, .. }) = self.idle() {
            return Ok(Session::new(self.clone(), turn, connection, opened));
        }
        let opened = Instant::now();
        let connection = self.open(deadline).await?;
        Ok(Session::new(self.clone(), turn, connection, opened))
    }

    /// Begins a transaction.
    ///
    /// # Errors
    /// As [`Self::acquire`], or when the database refuses.
    pub(super) async fn begin(&self) -> Result<Transaction, Error> {
        self.begin_with("begin").await
    }

    /// The same with another statement than `begin`.
    ///
    /// # Errors
    /// As [`Self::begin`].
    pub(super) async fn begin_with(&self, statement: &'static str) -> Result<Transaction, Error> {
        Transaction::begin(self.acquire().await?, statement).await
    }

    /// A session of one's own, whose statements end when they end.
    ///
    /// # Errors
    /// When none can be opened.
    pub(super) async fn connect(&self) -> Result<PgConnection, Error> {
        self.open(Instant::now() + self.inner.acquire_within).await
    }

    async fn open(&self, deadline: Instant) -> Result<PgConnection, Error> {
        let mut connection = self.inner.connector.connect(deadline).await?;
        if !self.known.own_server() {
            self.inner.connector.check_own_server(&mut connection).await?;
            self.known.note_own_server();
        }
        Ok(connection)
    }

    /// Gives up all that were opened before now.
    pub(super) fn retire(&self) {
        self.known.retire();
    }

    /// Lends no more, waits for those that are lent, and closes all.
    pub(super) async fn close(&self) {
        self.inner.closed.store(true, Ordering::Release);
        // Each comes back within its limit, or is given up by then.
        let limit = self.inner.answer_within + self.inner.acquire_within;
        if timeout(limit, self.inner.turns.all_back()).await.is_err() {
            tracing::debug!("a session was not given back in time");
        }
        let idle = std::mem::take(&mut *self.lock());
        for one in idle {
            if let Ok(Err(error)) = timeout(CLOSE_WITHIN, one.connection.close()).await {
                tracing::debug!(%error, "a session did not end in order");
            }
        }
    }

    fn idle(&self) -> Option<Idle> {
        let mut idle = self.lock();
        idle.retain(|one| self.is_of_use(one));
        idle.pop()
    }

    fn give_back(&self, mut one: Idle) {
        if self.is_of_use(&one) {
            // It would keep room for the largest statement that it has ever sent, and for the largest answer.
            one.connection.shrink_buffers();
            self.lock().push(one);
        }
    }

    fn is_of_use(&self, one: &Idle) -> bool {
        one.since.elapsed() < IDLE_FOR && one.opened.elapsed() < OLDEST && !self.known.has_retired(one.opened)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Idle>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
