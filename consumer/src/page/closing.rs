//! A page of a check or a deletion: nothing is fetched, and it is settled like any other.

use super::ending::Failure;
use super::settle::{Doubt, State};
use super::{BETWEEN_TRIES, Next, PageHandler, Stint};
use metrics::histogram;
use protocol::walk::Walk;
use store::StoreError;
use store::jobs::JobError;
use store::slices::{ClosingPage, ClosingSettled, Lease, Refusal, Settled};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl PageHandler {
    /// One page of a stint of a check or a deletion. It is short: an abort shows at its settle, which the fence decides.
    pub(super) async fn closing_page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let planning = match sources::planning(stint.context.source(), stint.context.settings()) {
            Ok(planning) => planning,
            Err(error) => {
                return self.fail_page(&lease, &stint.context, error.to_string(), None).await.map(Err);
            }
        };
        let page = ClosingPage {
            rows: self.pages.deletion_rows,
            any_number: planning.delete_any_number,
            at_once: planning.delete_at_once,
            confirm_after: planning.confirm_after,
            go_on: self.goes_on(stint, ending),
            renewal: self.leases.duration,
        };
        let begun = Instant::now();
        let result = self.settle_closing(lease, stint, &page, ending).await;
        histogram!("page_settle_seconds").record(begun.elapsed().as_secs_f64());
        result
    }

    /// Again and again while the database is away, as a settle.
    async fn settle_closing(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        page: &ClosingPage,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let patience = self.patience(ending);
        let number = lease.page();
        loop {
            let asked = Instant::now();
            match self.store.settle_closing(lease, page).await {
                Ok(ClosingSettled::Settled(Settled::Fenced(fenced))) => lease = fenced,
                Ok(ClosingSettled::Settled(settled)) => {
                    let nothing = State { cursor: None, anchor: None, walk: Walk::default() };
                    return self.settled(settled, stint, nothing, asked).await;
                }
                Ok(ClosingSettled::Refused { lease, refusal }) => {
                    let error = JobError {
                        slice: Some(lease.slice()),
                        page: Some(lease.page()),
                        anew: true,
                        ..JobError::of_job(words(refusal))
                    };
                    return self.fail_with(&lease, &stint.context, &error).await.map(Err);
                }
                Ok(ClosingSettled::Astray(lease)) => {
                    let cause = "the slice's checkpoint cannot be read; start the job again".to_owned();
                    return self.fail_page(&lease, &stint.context, cause, None).await.map(Err);
                }
                Err((kept, error @ StoreError::Refused(_))) => {
                    let cause = format!("the check of what the job has met cannot be carried out: {error}");
                    return self.fail_page(&kept, &stint.context, cause, None).await.map(Err);
                }
                Err((kept, error @ StoreError::Unforeseen(_))) => {
                    let cause = format!("the check of what the job has met cannot be carried out: {error}");
                    return self.back_off(&kept, stint, Failure::of_page(cause)).await.map(Err);
                }
                Err((_, error)) if !patience.lasts(&error) => return Err(error),
                Err((kept, error)) => {
                    tracing::info!(job = %kept.job(), slice = kept.slice(), page = number, %error, "a settle is tried again");
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
}

fn words(refusal: Refusal) -> String {
    match refusal {
        Refusal::Shortfall { named, met } => format!(
            "the upstream named {named} records and served {met}: {} are missing, so the job is not complete. See why the list \
             ends early; if its total is no exact one, say so in the settings (\"total_is\": \"estimate\", or \"unfiltered\" \
             where it ignores dates), and start anew",
            named - met
        ),
        Refusal::TooMany { unseen, records } => format!(
            "the full sync did not meet {unseen} of the {records} records in its range, and deleting more than half of them is \
             refused: see whether the upstream really lost them; if so, allow it in the connection's settings \
             (\"delete_any_number\": true) and start anew"
        ),
    }
}
