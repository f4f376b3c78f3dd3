//! A page of a check or a deletion: nothing is fetched, and it is settled like any other.

use super::PageHandler;
use super::settling::{Page, State, Tried};
use super::step::{End, Step};
use super::stint::Stint;
use metrics::histogram;
use protocol::job::JobError;
use store::StoreError;
use store::slices::{ClosingPage, ClosingSettled, Lease, Refusal};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl PageHandler {
    /// One page of a stint of a check or a deletion. It is short: an abort shows at its settle, which the fence decides.
    pub(super) async fn closing_page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Step, StoreError> {
        let planning = match sources::planning(stint.context.source(), stint.context.settings()) {
            Ok(planning) => planning,
            Err(error) => {
                return self.fail_page(&lease, &stint.context, error.to_string(), None).await.map(Step::End);
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
        let result = self.settle(lease, stint, page, ending).await;
        histogram!("page_settle_seconds").record(begun.elapsed().as_secs_f64());
        result
    }
}

impl Page for ClosingPage {
    async fn settle(
        &mut self,
        handler: &PageHandler,
        lease: Lease,
        stint: &Stint,
    ) -> Result<Tried, StoreError> {
        Ok(match handler.store.slices().settle_closing(lease, self).await {
            Ok(ClosingSettled::Settled(settled)) => Tried::Settled(settled),
            Ok(ClosingSettled::Refused { lease, refusal }) => {
                let error = JobError {
                    slice: Some(lease.slice()),
                    page: Some(lease.page()),
                    anew: true,
                    ..JobError::of_job(words(refusal))
                };
                Tried::Ended(handler.fail_with(&lease, &stint.context, &error).await?)
            }
            Ok(ClosingSettled::Astray(lease)) => {
                let cause = "the slice's checkpoint cannot be read; start the job again".to_owned();
                Tried::Ended(handler.fail_page(&lease, &stint.context, cause, None).await?)
            }
            Err((lease, error)) => Tried::Failed(lease, error),
        })
    }

    fn state(self) -> State {
        State::default()
    }

    async fn refused(
        &mut self,
        handler: &PageHandler,
        lease: &Lease,
        stint: &Stint,
        error: StoreError,
    ) -> Result<Option<End>, StoreError> {
        handler.fail_page(lease, &stint.context, Self::cannot(&error), None).await.map(Some)
    }

    fn cannot(error: &StoreError) -> String {
        format!("the check of what the job has met cannot be carried out: {error}")
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
