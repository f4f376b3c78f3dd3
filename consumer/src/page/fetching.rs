//! Fetching a page, and what follows when that fails or is aborted.

use super::PageHandler;
use super::documents;
use super::ending::{Failure, Fault, Rest};
use super::poison::Poison;
use super::step::{End, Step};
use super::stint::Stint;
use crate::disposition::Outcome;
use crate::in_flight::Abort;
use chrono::{DateTime, Utc};
use metrics::histogram;
use protocol::walk::Walk;
use sources::{FetchError, FetchedPage, Fetcher, PageRequest, Source};
use std::time::Duration;
use store::StoreError;
use store::slices::{Lease, PageContext, SkipRight};
use tokio::time::Instant;

/// A page that was read, and whose lease is ours.
pub(super) struct Fetched {
    pub(super) lease: Lease,
    pub(super) page: FetchedPage,
    /// When it was asked for.
    pub(super) as_of: DateTime<Utc>,
}

/// What asking for a page leads to.
pub(super) enum Asked {
    /// To its settle.
    Fetched(Box<Fetched>),
    /// To something else.
    Ended(Step),
}

impl PageHandler {
    /// Fetches the next page of a walk, or of a job over documents.
    pub(super) async fn fetch_page(&self, lease: Lease, stint: &mut Stint) -> Result<Asked, StoreError> {
        if let Some(ended) = self.circling(&lease, stint).await? {
            return Ok(Asked::Ended(Step::End(ended)));
        }
        let as_of = self.as_of(stint).await?;
        let begun = Instant::now();
        let Stint { context, held, source, http, .. } = &mut *stint;
        let fetched = tokio::select! {
            biased;
            abort = held.aborted() => Err(abort),
            fetched = fetch(context, &**source, http, lease.page(), self.pages.budget) => {
                histogram!("page_fetch_seconds").record(begun.elapsed().as_secs_f64());
                Ok(fetched)
            }
        };
        Ok(Asked::Ended(match fetched {
            Ok(Ok(page)) => return Ok(Asked::Fetched(Box::new(Fetched { lease, page, as_of }))),
            Ok(Err(FetchError::Expired { cause, body })) => {
                self.start_over(lease, stint, cause, body).await?
            }
            Ok(Err(error)) => Step::End(self.fetch_failed(&lease, stint, error).await?),
            Err(abort) => self.aborted(lease, stint, abort).await?,
        }))
    }

    /// What an abort means for the page in hand.
    pub(super) async fn aborted(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        abort: Abort,
    ) -> Result<Step, StoreError> {
        match abort {
            Abort::HandBack => {
                self.store.slices().release(&lease).await?;
                tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), "handed a page back");
                Ok(Step::End(End::Over(Outcome::HandedBack)))
            }
            Abort::JobEnded | Abort::LeaseLost => {
                Ok(self.reread(&mut lease, stint).await?.map_or(Step::Next(lease), Step::End))
            }
        }
    }

    /// The upstream refuses the cursor that was stored: the walk begins anew, once in each job.
    async fn start_over(
        &self,
        lease: Lease,
        stint: &mut Stint,
        cause: String,
        body: Option<String>,
    ) -> Result<Step, StoreError> {
        let cause = stint.redactor.redact(&cause).into_owned();
        if !stint.context.started_over && self.store.slices().start_over(&lease, &cause).await? {
            tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), cause, "a walk begins anew");
            stint.context.started_over = true;
            stint.context.cursor = None;
            stint.context.anchor = None;
            stint.context.walk = Walk::from_page(lease.page());
            return Ok(Step::Next(lease));
        }
        let cause = format!(
            "{cause}; the walk has begun anew before, so the upstream's cursors do not live as long as it takes: ask for \
             smaller slices or larger pages, and resume the job or start anew"
        );
        let body = body.map(|body| stint.redactor.redact(&body).into_owned());
        self.fail_page(&lease, &stint.context, cause, body).await.map(Step::End)
    }

    /// What a failed fetch means for the page.
    pub(super) async fn fetch_failed(
        &self,
        lease: &Lease,
        stint: &Stint,
        error: FetchError,
    ) -> Result<End, StoreError> {
        let context = &stint.context;
        // Logged, stored and published from here on: the one gate for what an upstream says about a failure.
        let redacted = |text: String| stint.redactor.redact(&text).into_owned();
        match error {
            FetchError::Transient { cause, body } => {
                let (cause, body) = (redacted(cause), body.map(redacted));
                self.back_off(lease, stint, Failure { fault: Fault::Upstream, cause, body }).await
            }
            FetchError::NoRoom { cause } => self.give_way(lease, context, &cause).await,
            FetchError::RateLimited { retry_after, forbidden, .. } => {
                self.rate_limited(lease, context, Rest { retry_after, forbidden }).await
            }
            FetchError::Permanent { cause, body } | FetchError::Expired { cause, body } => {
                self.fail_page(lease, context, redacted(cause), body.map(redacted)).await
            }
            FetchError::Unreadable { cause, body } => {
                let poison = Poison {
                    right: SkipRight::Unusable(lease),
                    cause: redacted(cause),
                    body: body.map(redacted),
                    next: stint.source.after(context.cursor.as_deref(), &context.walk),
                };
                self.give_up(lease, context, poison).await
            }
        }
    }
}

async fn fetch(
    context: &PageContext,
    source: &dyn Source,
    http: &Fetcher,
    page: i32,
    budget: Duration,
) -> Result<FetchedPage, FetchError> {
    if let Some(ids) = &context.documents {
        return documents::fetch(context, ids, source, budget, http).await;
    }
    let request = PageRequest {
        span: &context.span,
        cursor: context.cursor.as_deref(),
        walk: &context.walk,
        page,
        open_end: context.open_end,
        budget,
    };
    source.fetch(request, http).await
}
