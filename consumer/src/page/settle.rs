//! Settling a fetched page, and finding out what became of it when the answer does not say.

use super::clock::Reading;
use super::conversion::{failures, of_walk, to_page_record};
use super::ending::Failure;
use super::poison::Poison;
use super::{BETWEEN_TRIES, Next, PageHandler, Stint, checked_next, next_anchor};
use crate::disposition::Outcome;
use chrono::{DateTime, Utc};
use metrics::{counter, histogram};
use protocol::schema::Fields;
use protocol::slice::Ring;
use protocol::walk::Walk;
use sealing::Redactor;
use sources::FetchedPage;
use std::collections::HashMap;
use std::time::Duration;
use store::StoreError;
use store::slices::{Lease, PageRecord, Reread, Settled, Settlement, SkipRight, Tally, Verdict};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How long settles of a page are tried again.
pub(super) struct Patience<'a> {
    begun: Instant,
    longest: Duration,
    ending: &'a CancellationToken,
}

impl Patience<'_> {
    /// Whether it is worth another try after this error.
    pub(super) fn lasts(&self, error: &StoreError) -> bool {
        error.is_transient() && !self.ending.is_cancelled() && self.begun.elapsed() < self.longest
    }
}

/// Where a slice stands after a settle.
pub(super) struct State {
    pub(super) cursor: Option<String>,
    pub(super) anchor: Option<String>,
    pub(super) walk: Walk,
}

/// What becomes of a page whose settle may have happened.
pub(super) enum Doubt {
    /// It has not: settle it again.
    Again(Lease),
    /// It has, or is nobody's business any more.
    Over(Result<Lease, Next>),
}

impl PageHandler {
    pub(super) async fn settle_page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        page: FetchedPage,
        as_of: DateTime<Utc>,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let next = match checked_next(&lease, stint, &page) {
            Ok(next) => next,
            Err(cause) => return self.fail_page(&lease, &stint.context, cause, None).await.map(Err),
        };
        let mut settlement = Settlement {
            anchor: next_anchor(lease.page(), &stint.context, next.as_ref()),
            next,
            total: page.total,
            go_on: self.goes_on(stint, ending),
            as_of,
            filled: 0,
            ..of_walk(&stint.context, &page, &stint.redactor)
        };
        settlement.warnings.extend(failures(&page.records, &stint.redactor));
        let kind = stint.context.kind;
        settlement.records =
            page.records.into_iter().map(|record| to_page_record(record, kind, &stint.redactor)).collect();
        settlement.filled = filled(stint.context.schema.as_ref(), &settlement.records).await;
        // The bytes are counted until the settle is over.
        let _reservation = page.reservation;
        let begun = Instant::now();
        let result = self.settle(lease, stint, settlement, ending).await;
        histogram!("page_settle_seconds").record(begun.elapsed().as_secs_f64());
        result
    }

    /// Settles, again and again while the database is away: the page is fetched, and its lease outlives a restart of
    /// Postgres. After the lease's time somebody else may have the page, so the delivery asks anew.
    async fn settle(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        mut settlement: Settlement,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let patience = self.patience(ending);
        let mut said = false;
        loop {
            let page = lease.page();
            let asked = Instant::now();
            let (back, settled) = self.settler.settle(lease, settlement).await?;
            settlement = back;
            match settled {
                Ok(Settled::Fenced(fenced)) => lease = fenced,
                Ok(settled) => {
                    let Settlement { next: cursor, anchor, walk, .. } = settlement;
                    return self.settled(settled, stint, State { cursor, anchor, walk }, asked).await;
                }
                Err((kept, error @ StoreError::Refused(_))) => {
                    if !self.isolate_bad_records(&mut settlement.records, &stint.redactor).await? {
                        let cause = format!("the page cannot be stored: {error}");
                        let cause = stint.redactor.redact(&cause).into_owned();
                        // It was read, so what follows it is known.
                        let right = SkipRight::Unusable(&kept);
                        let poison = Poison { right, cause, body: None, next: settlement.next.clone() };
                        return self.give_up(&kept, &stint.context, poison).await.map(Err);
                    }
                    settlement.filled = filled(stint.context.schema.as_ref(), &settlement.records).await;
                    lease = kept;
                    continue;
                }
                Err((kept, error @ StoreError::Unforeseen(_))) => {
                    let cause = format!("the page cannot be stored: {error}");
                    let cause = stint.redactor.redact(&cause).into_owned();
                    return self.back_off(&kept, stint, Failure::of_page(cause)).await.map(Err);
                }
                Err((_, error)) if !patience.lasts(&error) => return Err(error),
                Err((kept, error)) => {
                    if !said {
                        tracing::info!(job = %kept.job(), slice = kept.slice(), page, %error, "a settle is tried again");
                        said = true;
                    }
                    lease = kept;
                    tokio::time::sleep(BETWEEN_TRIES).await;
                }
            }
            match self.in_doubt(lease, stint, &patience).await? {
                Doubt::Again(free) => lease = free,
                Doubt::Over(ended) => return Ok(ended),
            }
        }
    }

    /// How long settles of a page are tried: from now on, while its lease lasts and the process does not end.
    pub(super) fn patience<'a>(&self, ending: &'a CancellationToken) -> Patience<'a> {
        Patience { begun: Instant::now(), longest: self.leases.duration, ending }
    }

    /// After a settle that was fenced, or whose answer was lost: what the slice says about it.
    pub(super) async fn in_doubt(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        patience: &Patience<'_>,
    ) -> Result<Doubt, StoreError> {
        let page = lease.page();
        match self.reread(&mut lease, stint).await {
            Ok(Some(next)) => return Ok(Doubt::Over(Err(next))),
            Err(error) if !patience.lasts(&error) => return Err(error),
            // The next settle finds out.
            Err(_passing) => tokio::time::sleep(BETWEEN_TRIES).await,
            // Our settle had happened, and only its answer was lost.
            Ok(None) if lease.page() != page => return Ok(Doubt::Over(Ok(lease))),
            Ok(None) => {}
        }
        Ok(Doubt::Again(lease))
    }

    /// What follows a settle that was asked for at this time.
    pub(super) async fn settled(
        &self,
        settled: Settled,
        stint: &mut Stint,
        state: State,
        asked: Instant,
    ) -> Result<Result<Lease, Next>, StoreError> {
        // The page did not kill us after all.
        self.leave_suspect_place(&mut stint.suspect).await?;
        Ok(match settled {
            Settled::Kept(lease, tally, at) => {
                count(&tally);
                if let Some(at) = at {
                    stint.clock = Reading::new(at, asked);
                }
                stint.context.cursor = state.cursor;
                stint.context.anchor = state.anchor;
                stint.context.walk = state.walk;
                stint.context.forbidden_rests = 0;
                Ok(lease)
            }
            Settled::Ring(ring, tally) => {
                count(&tally);
                Err(self.ring(ring).await)
            }
            Settled::Queued(tally) => {
                count(&tally);
                Err(Next::Over(Outcome::Paused))
            }
            Settled::SliceDone(tally, job) => {
                count(&tally);
                self.finish(job, Some(stint.context.tenant)).await;
                Err(Next::Over(Outcome::SliceDone))
            }
            Settled::Fenced(lease) => Ok(lease),
        })
    }

    /// Where the slice stands, after an abort or a settle that says nothing. `None`: go on, the lease is ours.
    pub(super) async fn reread(
        &self,
        lease: &mut Lease,
        stint: &mut Stint,
    ) -> Result<Option<Next>, StoreError> {
        let asked = Instant::now();
        let Some(now) = self.store.reread(lease).await? else {
            return Ok(Some(Next::Over(Outcome::GivenUp)));
        };
        Ok(Some(match now.found {
            Reread::Ours => {
                stint.context.cursor = now.cursor;
                stint.context.anchor = now.anchor;
                stint.context.walk = now.walk;
                stint.clock = Reading::new(now.read_at, asked);
                stint.held.go_on();
                return Ok(None);
            }
            Reread::RingNext(ring) => self.ring(ring).await,
            Reread::ClaimAgain => Next::ClaimAgain,
            Reread::SliceDone => {
                self.finish(lease.job(), Some(stint.context.tenant)).await;
                Next::Over(Outcome::SliceDone)
            }
            Reread::ClosedUnderUs | Reread::Lost => self.abandon(lease).await?,
        }))
    }

    pub(super) async fn ring(&self, ring: Ring) -> Next {
        match self.outbox.ring(ring).await {
            Ok(()) => Next::Over(Outcome::Settled),
            Err(error) => {
                tracing::warn!(job = %ring.job, slice = ring.slice, %error, "the next page's doorbell is not confirmed");
                Next::Over(Outcome::Unrung)
            }
        }
    }

    /// Finds the records that Postgres refuses, and marks them as failed. False if none is at fault.
    async fn isolate_bad_records(
        &self,
        records: &mut [PageRecord],
        redactor: &Redactor,
    ) -> Result<bool, StoreError> {
        let mut suspects = Vec::from([(0, records.len())]);
        let mut found = false;
        while let Some((from, to)) = suspects.pop() {
            let payloads: Vec<&str> = records[from..to]
                .iter()
                .filter_map(|record| match &record.verdict {
                    Verdict::Store { payload, .. } => Some(&**payload),
                    Verdict::Defer | Verdict::Fail { .. } | Verdict::Absent => None,
                })
                .collect();
            if payloads.is_empty() {
                continue;
            }
            match self.store.try_payloads(&payloads).await {
                Ok(()) => {}
                Err(StoreError::Refused(error)) if to - from == 1 => {
                    let reason = format!("the database cannot store it: {error}");
                    let reason = redactor.redact(&reason).into_owned();
                    records[from].verdict = Verdict::Fail { reason };
                    found = true;
                }
                Err(StoreError::Refused(_)) => {
                    let middle = from + (to - from) / 2;
                    suspects.extend([(from, middle), (middle, to)]);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

/// After so many bytes of records, others have their turn.
const FILLED_AT_ONCE: usize = 1 << 20;

/// How many values the rows of a page have. Of an id that the page repeats the last one is stored, and so is shown for all.
async fn filled(schema: Option<&Fields>, records: &[PageRecord]) -> i64 {
    let Some(schema) = schema else { return 0 };
    let mut of_key = HashMap::with_capacity(records.len());
    let (mut filled, mut bytes) = (0, 0);
    for record in records.iter().rev() {
        let Verdict::Store { payload, .. } = &record.verdict else { continue };
        filled += *of_key.entry(record.key.as_str()).or_insert_with(|| {
            bytes += payload.len();
            schema.filled(payload)
        });
        if bytes > FILLED_AT_ONCE {
            bytes = 0;
            tokio::task::yield_now().await;
        }
    }
    filled
}

fn count(tally: &Tally) {
    counter!("pages_settled_total").increment(1);
    let outcomes = [
        ("inserted", tally.inserted),
        ("updated", tally.updated),
        ("unchanged", tally.unchanged),
        ("deferred", tally.deferred),
        ("failed", tally.failed),
        ("deleted", tally.deleted),
    ];
    for (outcome, records) in outcomes {
        counter!("records_total", "outcome" => outcome).increment(u64::try_from(records).unwrap_or_default());
    }
}
