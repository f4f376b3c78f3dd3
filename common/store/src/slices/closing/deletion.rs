//! The deletion: the records that a full sync did not meet are marked, each as the comparison and its id's answer decided.

use super::super::super::StoreError;
use super::super::Lease;
use super::{ClosingPage, Done};
use crate::pool::Session;

/// Marks the next records that were not met.
pub(super) async fn mark(
    transaction: &mut Session,
    lease: &Lease,
    after: Option<&str>,
    page: &ClosingPage,
) -> Result<Done, StoreError> {
    let row = sqlx::query_file!(
        "src/sql/deletion_mark.sql",
        lease.job.0,
        lease.connection.0,
        after.unwrap_or_default(),
        i64::from(page.rows),
        page.at_once
    )
    .fetch_one(&mut *transaction)
    .await?;
    if row.last.is_none() {
        sqlx::query_file!(
            "src/sql/deletion_stragglers.sql",
            lease.job.0,
            page.at_once,
            page.confirm_after.as_secs_f64()
        )
        .execute(transaction)
        .await?;
    }
    Ok(Done { keys: row.deleted, ..Done::up_to(row.last, page.rows) })
}
