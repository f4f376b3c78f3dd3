//! Whether a walk still brings records that it has not met. Pages that are all different, and never end, cannot be told from a
//! long list by their ids' hashes: an upstream that does not know the parameter of the next page, and sorts by chance, gives
//! such pages.

use super::super::StoreError;
use super::Lease;
use crate::handles::Slices;

/// So many pages are looked at, at most.
const RECENT: i32 = 512;
/// They are compared with so many before them, at most.
const EARLIER: i32 = 2048;

impl Slices<'_> {
    /// From which page on this slice's walk, which began at a page, has met no id that it had not met before; `None` if it has,
    /// or if its pages were empty. Records without a readable id are all alike. It looks at the later half of the walk's pages,
    /// and at 2,560 of them at most.
    pub async fn met_nothing_new(self, lease: &Lease, first_page: i32) -> Result<Option<i32>, StoreError> {
        let first_page = first_page.max(0);
        let half = lease.page.saturating_sub(first_page) / 2;
        let recent = lease.page.saturating_sub(half.min(RECENT));
        let earlier = first_page.max(recent.saturating_sub(EARLIER));
        let circles = sqlx::query_scalar!(
            r#"with recent as materialized (
                   select distinct i.id from page_log p cross join lateral unnest(p.keys || p.outside) as i (id)
                    where p.job_id = $1 and p.slice = $2 and p.page >= $3 and p.page < $4
               ), earlier as materialized (
                   select distinct i.id from page_log p cross join lateral unnest(p.keys || p.outside) as i (id)
                    where p.job_id = $1 and p.slice = $2 and p.page >= $5 and p.page < $3
               )
               select exists (select from recent)
                      and not exists (select id from recent except select id from earlier) as "circles!""#,
            lease.job.0,
            lease.slice,
            recent,
            lease.page,
            earlier
        )
        .fetch_one(&self.store.pool)
        .await?;
        Ok(circles.then_some(recent))
    }
}
