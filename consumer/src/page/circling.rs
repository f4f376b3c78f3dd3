//! A walk whose pages are all different, and bring nothing new, ends too.

use super::PageHandler;
use super::step::End;
use super::stint::Stint;
use protocol::slice::SliceKind;
use store::StoreError;
use store::slices::Lease;

/// A walk of so many pages is looked at for the first time, and then whenever it has twice as many.
const FROM_PAGES: u32 = 128;

impl PageHandler {
    /// Fails the job of a walk of which the later half of its pages had only records that it had met before. How the stint
    /// ends, if so.
    pub(super) async fn circling(&self, lease: &Lease, stint: &Stint) -> Result<Option<End>, StoreError> {
        let first_page = stint.context.walk.first_page;
        let pages = u32::try_from(lease.page().saturating_sub(first_page)).unwrap_or_default();
        if stint.context.kind != SliceKind::Walk || pages < FROM_PAGES || !pages.is_power_of_two() {
            return Ok(None);
        }
        let Some(since) = self.store.slices().met_nothing_new(lease, first_page).await? else {
            return Ok(None);
        };
        let cause = format!(
            "the walk goes in circles: pages {since} to {} of the slice had only records that it had met before, or that \
             have no id, and another page is to follow: does the upstream know the parameter of the next page, is its order a \
             fixed one, and does records.id lead to the id?",
            lease.page().saturating_sub(1)
        );
        self.fail_page(lease, &stint.context, cause, None).await.map(Some)
    }
}
