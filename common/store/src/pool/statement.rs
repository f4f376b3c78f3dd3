//! A statement that can be sent again, and the pool as what it is sent to.

use super::verdict::is_stale_plan;
use super::{Pool, Session};
use futures::SinkExt;
use futures::channel::mpsc;
use futures::future::{self, BoxFuture};
use futures::stream::{self, BoxStream, StreamExt};
use sqlx::error::BoxDynError;
use sqlx::postgres::{PgArguments, PgQueryResult, PgRow, PgStatement, PgTypeInfo, Postgres};
use sqlx::{Describe, Either, Error, Execute, Executor, SqlStr};

/// A statement with its arguments.
#[derive(Clone)]
struct Statement {
    sql: SqlStr,
    arguments: Option<PgArguments>,
    persistent: bool,
}

impl Statement {
    fn of<'q>(mut query: impl Execute<'q, Postgres>) -> Result<Self, Error> {
        let arguments = query.take_arguments().map_err(Error::Encode)?;
        Ok(Self { arguments, persistent: query.persistent(), sql: query.sql() })
    }
}

impl Execute<'_, Postgres> for Statement {
    fn sql(self) -> SqlStr {
        self.sql
    }

    fn statement(&self) -> Option<&PgStatement> {
        None
    }

    fn take_arguments(&mut self) -> Result<Option<PgArguments>, BoxDynError> {
        Ok(self.arguments.take())
    }

    fn persistent(&self) -> bool {
        self.persistent
    }
}

impl Pool {
    /// Sends a statement, and once more, on a session that has not prepared it yet, if tables have changed since.
    async fn send<T>(
        &self,
        statement: Result<Statement, Error>,
        send: impl for<'s> Fn(&'s mut Session, Statement) -> BoxFuture<'s, Result<T, Error>>,
    ) -> Result<T, Error> {
        let statement = statement?;
        let mut session = self.acquire().await?;
        match send(&mut session, statement.clone()).await {
            Err(error) if is_stale_plan(&error) => {
                drop(session);
                send(&mut self.acquire().await?, statement).await
            }
            answer => answer,
        }
    }
}

impl<'p> Executor<'p> for &'p Pool {
    type Database = Postgres;

    fn execute<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<PgQueryResult, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::of(query);
        Box::pin(self.send(statement, |session, statement| session.execute(statement)))
    }

    fn fetch_all<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Vec<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::of(query);
        Box::pin(self.send(statement, |session, statement| session.fetch_all(statement)))
    }

    fn fetch_optional<'e, 'q: 'e, E>(self, query: E) -> BoxFuture<'e, Result<Option<PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::of(query);
        Box::pin(self.send(statement, |session, statement| session.fetch_optional(statement)))
    }

    fn fetch_many<'e, 'q: 'e, E>(self, query: E) -> BoxStream<'e, Result<Either<PgQueryResult, PgRow>, Error>>
    where
        'p: 'e,
        E: 'q + Execute<'q, Postgres>,
    {
        let statement = Statement::of(query);
        let (mut sender, receiver) = mpsc::channel(1);
        // The session is borrowed by the rows, so both live in one future, which passes the rows on.
        let rows = async move {
            let mut statement = match statement {
                Ok(statement) => statement,
                Err(error) => return drop(sender.send(Err(error)).await),
            };
            // Of a statement that met a stale plan there are no rows yet.
            let mut again = Some(statement.clone());
            loop {
                let mut session = match self.acquire().await {
                    Ok(session) => session,
                    Err(error) => return drop(sender.send(Err(error)).await),
                };
                let mut rows = session.fetch_many(statement);
                statement = loop {
                    match (rows.next().await, again.take()) {
                        (None, _) => return,
                        (Some(Err(error)), Some(again)) if is_stale_plan(&error) => break again,
                        // The receiver is polled together with this.
                        (Some(row), _) => {
                            if sender.send(row).await.is_err() {
                                return;
                            }
                        }
                    }
                };
            }
        };
        let ended = stream::once(rows).map(|()| None);
        Box::pin(stream::select(receiver.map(Some), ended).filter_map(future::ready))
    }

    fn prepare_with<'e>(
        self,
        sql: SqlStr,
        parameters: &'e [PgTypeInfo],
    ) -> BoxFuture<'e, Result<PgStatement, Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.prepare_with(sql, parameters).await })
    }

    fn describe<'e>(self, sql: SqlStr) -> BoxFuture<'e, Result<Describe<Postgres>, Error>>
    where
        'p: 'e,
    {
        Box::pin(async move { self.acquire().await?.describe(sql).await })
    }
}
