//! Settling a fetched page.

use super::PageHandler;
use super::conversion::{failures, of_walk, to_page_record};
use super::cursors::{checked_next, next_anchor};
use super::fetching::Fetched;
use super::poison::Poison;
use super::settling::{Page, State, Tried};
use super::step::{End, Step};
use super::stint::Stint;
use metrics::{counter, histogram};
use protocol::schema::Fields;
use sealing::Redactor;
use std::collections::HashMap;
use store::StoreError;
use store::slices::{Lease, PageRecord, Settlement, SkipRight, Tally, Verdict};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl PageHandler {
    pub(super) async fn settle_page(
        &self,
        fetched: Fetched,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Step, StoreError> {
        let Fetched { lease, page, as_of } = fetched;
        let next = match checked_next(&lease, stint, &page) {
            Ok(next) => next,
            Err(cause) => return self.fail_page(&lease, &stint.context, cause, None).await.map(Step::End),
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
            match self.store.slices().try_payloads(&payloads).await {
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

impl Page for Settlement {
    async fn settle(
        &mut self,
        handler: &PageHandler,
        lease: Lease,
        _stint: &Stint,
    ) -> Result<Tried, StoreError> {
        let (back, settled) = handler.settler.settle(lease, std::mem::take(self)).await?;
        *self = back;
        Ok(match settled {
            Ok(settled) => Tried::Settled(settled),
            Err((lease, error)) => Tried::Failed(lease, error),
        })
    }

    fn state(self) -> State {
        State { cursor: self.next, anchor: self.anchor, walk: self.walk }
    }

    async fn refused(
        &mut self,
        handler: &PageHandler,
        lease: &Lease,
        stint: &Stint,
        error: StoreError,
    ) -> Result<Option<End>, StoreError> {
        if handler.isolate_bad_records(&mut self.records, &stint.redactor).await? {
            self.filled = filled(stint.context.schema.as_ref(), &self.records).await;
            return Ok(None);
        }
        let cause = stint.redactor.redact(&Self::cannot(&error)).into_owned();
        // It was read, so what follows it is known.
        let poison = Poison { right: SkipRight::Unusable(lease), cause, body: None, next: self.next.clone() };
        handler.give_up(lease, &stint.context, poison).await.map(Some)
    }

    fn cannot(error: &StoreError) -> String {
        format!("the page cannot be stored: {error}")
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

pub(super) fn count(tally: &Tally) {
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
