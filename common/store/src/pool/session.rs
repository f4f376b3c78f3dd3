//! A session that is lent: every statement has an end, and a session that is of no use any more is not given back.

use super::turns::Turn;
use super::verdict::{Verdict, silent};
use super::{Idle, Known, Pool};
use futures::future::BoxFuture;
use futures::stream::{self, BoxStream, TryStreamExt};
use sqlx::postgres::{PgConnection, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Either, Error, Execute, Executor, SqlStr};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout};

/// A session with Postgres, lent by a [`Pool`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Session {
    /// None only while it is dropped.
    connection: Option<PgConnection>,
    opened: Instant,
    pool: Pool,
    turn: Option<Turn>,
    pub(super) health: Health,
}

/// What is known about a lent session.
#[derive(Debug)]
pub(super) struct Health {
    /// A statement is under way, or was when its caller went away.
    busy: bool,
    pub(super) in_transaction: bool,
    given_up: bool,
    known: Arc<Known>,
}

impl Health {
    fn meet(&mut self, error: Error) -> Error {
        self.busy = false;
        match Verdict::of(&error) {
            Verdict::Keep => {}
            Verdict::Drop => self.given_up = true,
            Verdict::DropAll => {
                self.given_up = true;
                self.known.retire();
            }
        }
        error
    }

    fn hear<T>(&mut self, answer: Result<T, Error>) -> Result<T, Error> {
        self.busy = false;
        answer.map_err(|error| self.meet(error))
    }
}

async fn within<T>(limit: Duration, answer: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    timeout(limit, answer).await.unwrap_or_else(|_late| Err(silent("the database", limit)))
}

impl Session {
    pub(super) fn new(pool: Pool, turn: Turn, connection: PgConnection, opened: Instant) -> Self {
        let known = Arc::clone(&pool.known);
        let health = Health { busy: false, in_transaction: false, given_up: false, known };
        Self { connection: Some(connection), opened, pool, turn: Some(turn), health }
    }

    /// Its connection, to ask something; how long that may take; and what to tell of the answer.
    fn ask(&mut self) -> Result<(&mut PgConnection, Duration, &mut Health), Error> {
        let Self { connection, pool, health, .. } = self;
        match connection {
            Some(connection) if !health.given_up => {
                health.busy = true;
                Ok((connection, pool.inner.answer_within, health))
            }
            Some(_) | None => Err(Error::WorkerCrashed),
        }
    }

    /// Gives it up when it is dropped, whatever state it is in.
    pub(crate) fn give_up(&mut self) {
        self.health.given_up = true;
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        let (Some(connection), Some(turn)) = (self.connection.take(), self.turn.take()) else { return };
        // What is dropped here closes its socket at once; the server is told by that.
        if self.health.given_up {
            return;
        }
        let (pool, opened) = (self.pool.clone(), self.opened);
        if !self.health.busy && !self.health.in_transaction {
            pool.give_back(Idle { connection, opened, since: Instant::now() });
        } else if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(recover(pool, turn, connection, opened, self.health.in_transaction));
        }
    }
}

/// Brings a session back whose user went away in the middle of something.
async fn recover(
    pool: Pool,
    turn: Turn,
    mut connection: PgConnection,
    opened: Instant,
    in_transaction: bool,
) {
    // Either of them waits for the statement that is under way.
    let statement = if in_transaction { "rollback" } else { "" };
    let limit = pool.inner.answer_within;
    match within(limit, connection.execute(statement)).await {
        Ok(_done) => pool.give_back(Idle { connection, opened, since: Instant::now() }),
        Err(error) => {
            if Verdict::of(&error) == Verdict::DropAll {
                pool.known.retire();
            }
            tracing::debug!(%error, "a session is given up");
        }
    }
    drop(turn);
}

impl<'c> Executor<'c> for &'c mut Session {
    type Database = Postgres;

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let (connection, limit, health) = match self.ask() {
            Ok(asked) => asked,
            Err(error) => return Box::pin(stream::once(std::future::ready(Err(error)))),
        };
        let rows = connection.fetch_many(query);
        Box::pin(stream::try_unfold((rows, health), move |(mut rows, health)| async move {
            match within(limit, rows.try_next()).await {
                Ok(Some(row)) => Ok(Some((row, (rows, health)))),
                Ok(None) => health.hear(Ok(None)),
                Err(error) => Err(health.meet(error)),
            }
        }))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'c: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        Box::pin(async move {
            let (connection, limit, health) = self.ask()?;
            let answer = within(limit, connection.fetch_optional(query)).await;
            health.hear(answer)
        })
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, limit, health) = self.ask()?;
            let answer = within(limit, connection.prepare_with(sql, parameters)).await;
            health.hear(answer)
        })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'c: 'e,
    {
        Box::pin(async move {
            let (connection, limit, health) = self.ask()?;
            let answer = within(limit, connection.describe(sql)).await;
            health.hear(answer)
        })
    }
}
