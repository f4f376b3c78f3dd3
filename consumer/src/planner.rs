//! Planning: a pending job becomes slices, without asking the upstream anything.

use crate::bell::Bell;
use crate::source;
use common::ids::JobId;
use common::slice::Slicing;
use common::store::jobs::{FailRight, JobError};
use common::store::slices::RAMP_STEP;
use common::store::{Store, StoreError};

/// Plans jobs. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Planner {
    store: Store,
    bell: Bell,
}

impl Planner {
    /// A planner.
    #[must_use]
    pub const fn new(store: Store, bell: Bell) -> Self {
        Self { store, bell }
    }

    /// Plans a job if it is pending, and rings its first slices. Idempotent. A job whose connection cannot be worked
    /// with fails, and says why.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper plans the job later.
    pub async fn plan(&self, job: JobId) -> Result<(), StoreError> {
        let Some(mut plannable) = self.store.plannable(job).await? else { return Ok(()) };
        let planning = match source::planning(&plannable.source, &plannable.settings) {
            Ok(planning) => planning,
            Err(error) => return self.fail(job, error.to_string()).await,
        };
        if plannable.documents.is_some() && !planning.items {
            return self.fail(job, source::NO_ITEM.to_owned()).await;
        }
        plannable.reach_back(planning.overlap);
        if plannable.documents.is_none()
            && let Err(too_many) = Slicing::cut(planning.slicing, plannable.span)
        {
            return self.fail(job, too_many.to_string()).await;
        }
        if self.store.plan(&plannable, planning.slicing).await? {
            tracing::info!(%job, "a job is planned");
            let rings = self.store.refill(plannable.tenant, RAMP_STEP).await?;
            self.bell.ring_all(rings).await;
        }
        Ok(())
    }

    async fn fail(&self, job: JobId, cause: String) -> Result<(), StoreError> {
        let error = JobError { cause, slice: None, page: None, body: None };
        if self.store.fail(job, &error, FailRight::Job).await? {
            tracing::warn!(%job, cause = error.cause, "a job failed before it began");
        }
        Ok(())
    }
}
