//! The kinds of commands that are applied together.

use crate::jobs::{CancelOutcome, CancelRequest, CancelTarget, Commanded, StartOutcome, StartRequest};
use crate::{Store, StoreError};
use protocol::ids::JobId;
use std::fmt::Debug;
use uuid::Uuid;

/// A kind of command.
pub trait Kind: Debug + Send + Sync + 'static {
    /// What is asked for.
    type Request: Debug + Send + Sync;
    /// What comes of it.
    type Outcome: Debug + Send;
    /// Its name, for metrics and the log.
    const WORD: &'static str;

    /// What commands must have in common to be applied in their order.
    fn subject(request: &Self::Request) -> Uuid;

    /// Applies those that are plain; `None` where one is not.
    fn together(
        &self,
        commands: &[Commanded<'_, Self::Request>],
    ) -> impl Future<Output = Result<Vec<Option<Self::Outcome>>, StoreError>> + Send;

    /// Applies one, whatever it is.
    fn alone(
        &self,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Outcome, StoreError>> + Send;
}

/// Starts: see [`Jobs::start`](crate::Jobs::start).
#[derive(Debug)]
pub struct Starts {
    /// Where jobs are made.
    pub store: Store,
    /// Whether the broker has the start commands.
    pub confirmed: bool,
}

/// Cancels: see [`Jobs::cancel`](crate::Jobs::cancel).
#[derive(Debug)]
pub struct Cancels {
    /// Where jobs are cancelled.
    pub store: Store,
}

/// Notes that the broker has confirmed start commands: see [`Jobs::start_confirmed`](crate::Jobs::start_confirmed).
#[derive(Debug)]
pub struct Confirms {
    /// Where that is noted.
    pub store: Store,
}

impl Kind for Confirms {
    type Request = JobId;
    type Outcome = ();
    const WORD: &'static str = "confirm";

    fn subject(job: &JobId) -> Uuid {
        job.0
    }

    async fn together(&self, confirms: &[Commanded<'_, JobId>]) -> Result<Vec<Option<()>>, StoreError> {
        let jobs: Vec<JobId> = confirms.iter().map(|confirm| *confirm.request).collect();
        self.store.jobs().starts_confirmed(&jobs).await?;
        Ok(vec![Some(()); jobs.len()])
    }

    async fn alone(&self, job: &JobId) -> Result<(), StoreError> {
        self.store.jobs().start_confirmed(*job).await
    }
}

impl Kind for Starts {
    type Request = StartRequest;
    type Outcome = StartOutcome;
    const WORD: &'static str = "start";

    fn subject(request: &StartRequest) -> Uuid {
        request.connection.0
    }

    async fn together(
        &self,
        starts: &[Commanded<'_, StartRequest>],
    ) -> Result<Vec<Option<StartOutcome>>, StoreError> {
        self.store.jobs().start_together(starts, self.confirmed).await
    }

    async fn alone(&self, request: &StartRequest) -> Result<StartOutcome, StoreError> {
        let outcome = self.store.jobs().start(request).await?;
        if self.confirmed
            && let StartOutcome::Accepted(job)
            | StartOutcome::Known(job)
            | StartOutcome::Superseding { job, .. } = outcome
        {
            self.store.jobs().start_confirmed(job).await?;
        }
        Ok(outcome)
    }
}

impl Kind for Cancels {
    type Request = CancelRequest;
    type Outcome = CancelOutcome;
    const WORD: &'static str = "cancel";

    fn subject(request: &CancelRequest) -> Uuid {
        match request.target {
            CancelTarget::Job(job) => job.0,
            CancelTarget::Connection(connection) => connection.0,
        }
    }

    async fn together(
        &self,
        cancels: &[Commanded<'_, CancelRequest>],
    ) -> Result<Vec<Option<CancelOutcome>>, StoreError> {
        self.store.jobs().cancel_together(cancels).await
    }

    async fn alone(&self, request: &CancelRequest) -> Result<CancelOutcome, StoreError> {
        self.store.jobs().cancel(request).await
    }
}
