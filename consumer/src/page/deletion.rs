//! A page of a full sync's deletion: nothing is fetched, and it is settled like any other.

use super::settle::Doubt;
use super::{BETWEEN_TRIES, Next, PageHandler, Stint};
use crate::source;
use common::store::StoreError;
use common::store::slices::{DeletionPage, DeletionSettled, Lease, Settled};
use metrics::histogram;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

impl PageHandler {
    /// One page of a stint of a deletion. It is short: an abort shows at its settle, which the fence decides.
    pub(super) async fn deletion_page(
        &self,
        lease: Lease,
        stint: &mut Stint,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let any_number = match source::planning(&stint.context.source, &stint.context.settings) {
            Ok(planning) => planning.delete_any_number,
            Err(error) => {
                return self.fail_page(&lease, &stint.context, error.to_string(), None).await.map(Err);
            }
        };
        let page = DeletionPage {
            rows: self.pages.deletion_rows,
            any_number,
            go_on: self.goes_on(stint, ending),
            renewal: self.leases.duration,
        };
        let begun = Instant::now();
        let result = self.settle_deletion(lease, stint, &page, ending).await;
        histogram!("page_settle_seconds").record(begun.elapsed().as_secs_f64());
        result
    }

    /// Again and again while the database is away, as a settle.
    async fn settle_deletion(
        &self,
        mut lease: Lease,
        stint: &mut Stint,
        page: &DeletionPage,
        ending: &CancellationToken,
    ) -> Result<Result<Lease, Next>, StoreError> {
        let patience = self.patience(ending);
        let number = lease.page();
        loop {
            match self.store.settle_deletion(lease, page).await {
                Ok(DeletionSettled::Settled(Settled::Fenced(fenced))) => lease = fenced,
                Ok(DeletionSettled::Settled(settled)) => {
                    return self.settled(settled, stint, None, None).await;
                }
                Ok(DeletionSettled::Refused { lease, unseen, records }) => {
                    let cause = format!(
                        "the full sync did not see {unseen} of the connection's {records} records, and deleting more than \
                         half of them is refused: see whether the upstream really lost them; if so, allow it in the \
                         connection's settings (\"delete_any_number\": true) and start again"
                    );
                    return self.fail_page(&lease, &stint.context, cause, None).await.map(Err);
                }
                Ok(DeletionSettled::Astray(lease)) => {
                    let cause =
                        "the deletion's checkpoint cannot be read; start the full sync again".to_owned();
                    return self.fail_page(&lease, &stint.context, cause, None).await.map(Err);
                }
                Err((kept, error @ StoreError::Refused(_))) => {
                    let cause = format!("the deletion cannot be carried out: {error}");
                    return self.fail_page(&kept, &stint.context, cause, None).await.map(Err);
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
