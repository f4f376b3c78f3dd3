//! The life of a page: claim → fetch → settle, again and again while the stint lasts, then ring and done.
//!
//! This module knows no broker. It is given the ids of a doorbell and says what happened ([`Outcome`]); who delivered
//! the doorbell, and what becomes of the delivery, is the intake's business.

mod admission;
mod asking;
mod circling;
mod claimer;
mod clock;
mod closing;
mod conversion;
mod documents;
mod ending;
mod poison;
mod releaser;
mod settle;
mod settler;

use crate::containment::{Panicked, contained};
use crate::disposition::Outcome;
use crate::in_flight::{Abort, Held, InFlight, SuspectPlace};
use crate::outbox::Outbox;
use crate::slots::Slots;
use crate::source::{FetchError, FetchedPage, Fetcher, PageRequest, Source};
use crate::sources::{Opened, Sources};
use admission::Admitted;
pub use claimer::Claimer;
use clock::Reading;
use common::config::{LeasesConfig, PagesConfig};
use common::credentials::Redactor;
use common::fitness::Fitness;
use common::ids::{LeaseToken, WorkerId};
use common::slice::{Ring, SliceKind};
use common::store::slices::{Claim, ClaimRequest, Lease, PageContext, SkipRight, Suspicion};
use common::store::{Store, StoreError};
use common::walk::Walk;
use common::warn_unless_outage;
use ending::{Failure, Fault, Rest};
use metrics::{counter, histogram};
use poison::Poison;
pub use releaser::Releaser;
pub use settler::Settler;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Statements that fail in passing are tried this often before the delivery is held.
const TRIES: u32 = 3;
/// Between those tries.
const BETWEEN_TRIES: Duration = Duration::from_millis(50);
/// How long a page waits whose handler panicked.
const PANIC_WAIT: Duration = Duration::from_secs(1);
/// A stint in a slot that nobody waits for lasts so many quanta at most: then its doorbell may go to another process, so
/// that new processes get work.
const QUANTA_UNDISTURBED: u32 = 8;

/// Works on pages.
#[derive(Debug)]
pub struct PageHandler {
    /// Who works.
    pub worker: WorkerId,
    /// The store.
    pub store: Store,
    /// Claims.
    pub claimer: Claimer,
    /// Settles.
    pub settler: Settler,
    /// Releases.
    pub releaser: Releaser,
    /// Rings, and pushes aborts.
    pub outbox: Outbox,
    /// The process's HTTP client.
    pub fetcher: Arc<Fetcher>,
    /// Opened sources.
    pub sources: Sources,
    /// Whether the database can be worked with.
    pub fitness: Fitness,
    /// The pages in progress.
    pub in_flight: InFlight,
    /// Bound the pages in flight.
    pub slots: Arc<Slots>,
    /// Slots, quantum, budget, retries.
    pub pages: PagesConfig,
    /// How long a lease lasts.
    pub leases: LeasesConfig,
}

/// How a stint went on.
enum Next {
    /// It is over.
    Over(Outcome),
    /// The page is free again and the message still in hand: claim it anew.
    ClaimAgain,
}

/// Where a stint stands: what is needed for its next page.
struct Stint {
    context: PageContext,
    held: Held,
    /// Kept until the first page is settled, if that is a suspect.
    suspect: Option<SuspectPlace>,
    source: Arc<dyn Source>,
    redactor: Arc<Redactor>,
    started: Instant,
    clock: Reading,
}

impl PageHandler {
    /// Answers one doorbell. `ending` ends the stint after the page in flight, not the page.
    pub async fn handle(&self, ring: Ring, redelivered: bool, ending: &CancellationToken) -> Outcome {
        let token = Mutex::new(None);
        let visited = match contained(self.visit(ring, redelivered, ending, &token)).await {
            Ok(visited) => visited,
            Err(panicked) => {
                let token = *token.lock().unwrap_or_else(PoisonError::into_inner);
                self.charge(ring, token, panicked).await
            }
        };
        let outcome = match visited {
            Ok(outcome) => outcome,
            Err(error) => {
                self.fitness.met(&error);
                warn_unless_outage!(error, job = %ring.job, slice = ring.slice, "the page is held until the database answers");
                Outcome::Unavailable
            }
        };
        counter!("page_deliveries_total", "outcome" => outcome.word()).increment(1);
        outcome
    }

    /// What becomes of a page whose handler panicked while it had this token.
    async fn charge(
        &self,
        ring: Ring,
        token: Option<LeaseToken>,
        panicked: Panicked,
    ) -> Result<Outcome, StoreError> {
        if let Some(place) = self.in_flight.take_suspect_place() {
            self.leave_suspect_place(&mut Some(place)).await?;
        }
        let Some(token) = token else { return Ok(Outcome::Panicked) };
        let held = (ring.job, ring.slice, token);
        let error = panicked.to_string();
        if self.store.charge_panic(held, PANIC_WAIT, &error).await? == Some(false) {
            self.end_cancel(ring.job).await;
        }
        Ok(Outcome::Panicked)
    }

    async fn visit(
        &self,
        ring: Ring,
        mut redelivered: bool,
        ending: &CancellationToken,
        token: &Mutex<Option<LeaseToken>>,
    ) -> Result<Outcome, StoreError> {
        loop {
            let free = async {
                if redelivered {
                    self.in_flight.left(ring.job, ring.slice).await;
                }
                self.slots.take().await
            };
            let _slot = tokio::select! {
                biased;
                () = ending.cancelled() => return Ok(Outcome::HandedBack),
                slot = free => slot,
            };
            let asked = Instant::now();
            let (claim, place) = self.claim(ring, redelivered, token).await?;
            let next = match claim {
                Claim::Claimed(claimed) => {
                    let (lease, context) = *claimed;
                    Box::pin(self.work(lease, context, place, asked, ending)).await?
                }
                Claim::SliceDone => {
                    self.finish(ring.job, None).await;
                    Next::Over(Outcome::Stale)
                }
                Claim::LeaseEnded => {
                    self.end_cancel(ring.job).await;
                    Next::Over(Outcome::GivenUp)
                }
                Claim::Stale => Next::Over(Outcome::Stale),
                Claim::Paused => Next::Over(Outcome::Paused),
                Claim::Suspect | Claim::SuspectElsewhere => Next::Over(Outcome::BackedOff),
                Claim::Poisoned { deaths, page, context } => {
                    self.poisoned(Ring { page, ..ring }, deaths, &context).await?
                }
            };
            match next {
                Next::Over(outcome) => return Ok(outcome),
                Next::ClaimAgain => redelivered = true,
            }
        }
    }

    /// Claims a page, and the place for a suspect first if the page is one.
    async fn claim(
        &self,
        ring: Ring,
        redelivered: bool,
        token: &Mutex<Option<LeaseToken>>,
    ) -> Result<(Claim, Option<SuspectPlace>), StoreError> {
        let with = LeaseToken::random();
        *token.lock().unwrap_or_else(PoisonError::into_inner) = Some(with);
        let claim = self.claim_with(ring, redelivered, with, None).await?;
        if !matches!(claim, Claim::Suspect) {
            return Ok((claim, None));
        }
        let place = self.in_flight.take_suspect_place();
        let claim = self.claim_with(ring, redelivered, with, Some(place.is_some())).await?;
        Ok((claim, place))
    }

    /// Claims with one token: a claim whose answer was lost finds its own lease when it is repeated.
    async fn claim_with(
        &self,
        ring: Ring,
        redelivered: bool,
        token: LeaseToken,
        has_place: Option<bool>,
    ) -> Result<Claim, StoreError> {
        let request = ClaimRequest {
            ring,
            redelivered,
            worker: self.worker,
            token,
            lease: self.leases.duration,
            suspicion: Suspicion {
                has_place,
                suspect_after: i32::try_from(self.pages.suspect_after).unwrap_or(i32::MAX),
                fail_after: i32::try_from(self.pages.deaths).unwrap_or(i32::MAX),
            },
        };
        let mut tries = 1;
        loop {
            match self.claimer.claim(request).await {
                Err(error) if error.is_transient() && tries < TRIES => tries += 1,
                answer => return answer,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
    }

    async fn work(
        &self,
        lease: Lease,
        context: PageContext,
        mut suspect: Option<SuspectPlace>,
        asked: Instant,
        ending: &CancellationToken,
    ) -> Result<Next, StoreError> {
        if context.taken_over {
            counter!("lease_takeovers_total").increment(1);
            tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), "took a page over from a lost holder");
        }
        let held = self.in_flight.enter(&lease);
        let Opened { source, redactor } = match self.sources.of(&context) {
            Ok(opened) => opened,
            Err(error) => {
                let failed = self.fail_page(&lease, &context, error.to_string(), None).await?;
                self.leave_suspect_place(&mut suspect).await?;
                return Ok(failed);
            }
        };
        let clock = Reading::new(context.read_at, asked);
        let mut stint = Stint { context, held, suspect, source, redactor, started: Instant::now(), clock };
        let mut lease = lease;
        loop {
            match self.page(lease, &mut stint, ending).await? {
                Ok(kept) => lease = kept,
                Err(next) => {
                    self.leave_suspect_place(&mut stint.suspect).await?;
                    return Ok(next);
                }
            }
        }
    }

    /// A suspect is settled, or no longer in hand: what this worker holds besides is to blame again if it dies.
    async fn leave_suspect_place(&self, suspect: &mut Option<SuspectPlace>) -> Result<(), StoreError> {
        if suspect.is_some() {
            self.store.suspect_cleared(self.worker).await?;
            *suspect = None;
        }
        Ok(())
    }

    /// One page of a stint: its lease for the next one, or how the stint ends.
    async fn page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        match stint.context.kind {
            SliceKind::Walk | SliceKind::Documents | SliceKind::Stragglers | SliceKind::Confirm => {}
            SliceKind::Check | SliceKind::Deletion => return self.closing_page(lease, stint, ending).await,
        }
        if stint.context.limited {
            match self.admission(&lease, stint).await? {
                Admitted::Now => {}
                Admitted::Later => return Ok(Err(Next::Over(Outcome::BackedOff))),
                Admitted::Aborted(abort) => return self.aborted(lease, stint, abort).await,
            }
        }
        if matches!(stint.context.kind, SliceKind::Stragglers | SliceKind::Confirm) {
            return self.asking_page(lease, stint, ending).await;
        }
        if let Some(ended) = self.circling(&lease, stint).await? {
            return Ok(Err(ended));
        }
        let as_of = self.as_of(stint).await?;
        let fetched = {
            let begun = Instant::now();
            tokio::select! {
                biased;
                abort = stint.held.aborted() => Err(abort),
                fetched = self.fetch(&stint.context, lease.page(), &*stint.source) => {
                    histogram!("page_fetch_seconds").record(begun.elapsed().as_secs_f64());
                    Ok(fetched)
                }
            }
        };
        match fetched {
            Ok(Ok(page)) => self.settle_page(lease, stint, page, as_of, ending).await,
            Ok(Err(FetchError::Expired { cause, body })) => self.start_over(lease, stint, cause, body).await,
            Ok(Err(error)) => self.fetch_failed(&lease, stint, error).await.map(Err),
            Err(abort) => self.aborted(lease, stint, abort).await,
        }
    }

    /// Whether a stint goes on after its page: while its quantum lasts, and for some more if no other slice is kept waiting.
    fn goes_on(&self, stint: &Stint, ending: &CancellationToken) -> bool {
        let quanta = if self.slots.are_waited_for() { 1 } else { QUANTA_UNDISTURBED };
        !ending.is_cancelled() && stint.started.elapsed() < self.pages.quantum * quanta
    }

    async fn fetch(
        &self,
        context: &PageContext,
        page: i32,
        source: &dyn Source,
    ) -> Result<FetchedPage, FetchError> {
        let (budget, http) = (self.pages.budget, self.fetcher.of_tenant(context.tenant));
        if let Some(ids) = &context.documents {
            return documents::fetch(context, ids, source, budget, &http).await;
        }
        let request = PageRequest {
            span: &context.span,
            cursor: context.cursor.as_deref(),
            walk: &context.walk,
            page,
            open_end: context.open_end,
            budget,
        };
        source.fetch(request, &http).await
    }

    async fn aborted(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        abort: Abort,
    ) -> Result<Result<Lease, Next>, StoreError> {
        match abort {
            Abort::HandBack => {
                self.store.release(&lease).await?;
                tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), "handed a page back");
                Ok(Err(Next::Over(Outcome::HandedBack)))
            }
            Abort::JobEnded | Abort::LeaseLost => {
                let next = self.reread(&mut lease, stint).await?;
                Ok(match next {
                    None => Ok(lease),
                    Some(next) => Err(next),
                })
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
    ) -> Result<Result<Lease, Next>, StoreError> {
        let cause = stint.redactor.redact(&cause).into_owned();
        if !stint.context.started_over && self.store.start_over(&lease, &cause).await? {
            tracing::info!(job = %lease.job(), slice = lease.slice(), page = lease.page(), cause, "a walk begins anew");
            stint.context.started_over = true;
            stint.context.cursor = None;
            stint.context.anchor = None;
            stint.context.walk = Walk::from_page(lease.page());
            return Ok(Ok(lease));
        }
        let cause = format!(
            "{cause}; the walk has begun anew before, so the upstream's cursors do not live as long as it takes: ask for \
             smaller slices or larger pages, and resume the job or start anew"
        );
        let body = body.map(|body| stint.redactor.redact(&body).into_owned());
        self.fail_page(&lease, &stint.context, cause, body).await.map(Err)
    }

    async fn fetch_failed(
        &self,
        lease: &Lease,
        stint: &Stint,
        error: FetchError,
    ) -> Result<Next, StoreError> {
        let context = &stint.context;
        // Logged, stored and published from here on: the one gate for what an upstream says about a failure.
        let redacted = |text: String| stint.redactor.redact(&text).into_owned();
        match error {
            FetchError::Transient { cause, body } => {
                let (cause, body) = (redacted(cause), body.map(redacted));
                self.back_off(lease, stint, Failure { fault: Fault::Upstream, cause, body }).await
            }
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

/// The next cursor of a page, unless it leads back to where the slice has been: `Err` is the cause in words.
///
/// Comparing with one earlier cursor, renewed at every page number that is a power of two (Brent), finds a loop of any
/// length without remembering every cursor.
fn checked_next(lease: &Lease, stint: &Stint, page: &FetchedPage) -> Result<Option<String>, String> {
    let context = &stint.context;
    let Some(next) = &page.next else { return Ok(None) };
    if stint.redactor.finds(next) {
        return Err("the next page's address or cursor holds the connection's credentials, which are not stored in clear; \
                    the upstream must not send them back"
            .to_owned());
    }
    if context.cursor.as_ref() == Some(next) || context.anchor.as_ref() == Some(next) {
        return Err(format!(
            "cursor loop: page {} of the slice leads back to a page that was settled before",
            lease.page()
        ));
    }
    Ok(Some(next.clone()))
}

/// The cursor to compare later ones with.
fn next_anchor(page: i32, context: &PageContext, next: Option<&String>) -> Option<String> {
    let number = u32::try_from(page).unwrap_or_default() + 1;
    if number.is_power_of_two() { next.cloned() } else { context.anchor.clone() }
}
