//! A transaction on a session of its own. Dropped without a commit, it is rolled back.

use super::Session;
use sqlx::{Error, Executor};
use std::ops::{Deref, DerefMut};

/// An open transaction.
#[derive(Debug)]
pub(crate) struct Transaction(Session);

impl Transaction {
    pub(super) async fn begin(mut session: Session, statement: &'static str) -> Result<Self, Error> {
        session.health.in_transaction = true;
        session.execute(statement).await?;
        Ok(Self(session))
    }

    /// Commits it. After a statement of it has failed, nothing is committed, and nothing is said about that.
    pub(crate) async fn commit(mut self) -> Result<(), Error> {
        self.0.execute("commit").await?;
        self.0.health.in_transaction = false;
        Ok(())
    }
}

impl Deref for Transaction {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.0
    }
}

impl DerefMut for Transaction {
    fn deref_mut(&mut self) -> &mut Session {
        &mut self.0
    }
}
