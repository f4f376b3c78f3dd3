//! The check of a job: what its walks met is collected and judged, and, for a full sync, compared with what is stored.

use super::super::super::StoreError;
use super::super::Lease;
use super::met::{Met, Page};
use super::{ClosingPage, Done, Refusal};
use crate::pool::Session;
use chrono::{DateTime, Utc};
use protocol::closing::StageEvent;
use protocol::ids::JobId;

/// A shortfall of so many records is tolerated, or of a hundredth of the job.
const TOLERATED: i64 = 10;

/// Unpacks some pages of the walks' page log: one at least, and then as long as they have no more than `rows` records.
pub(super) async fn collect(
    transaction: &mut Session,
    job: JobId,
    after: Option<&str>,
    page: &ClosingPage,
) -> Result<Done, StoreError> {
    let at = after.and_then(slice_and_page);
    let (slice, number) = at.unwrap_or((-1, -1));
    let rows =
        sqlx::query_file_as!(Page, "src/sql/check_pages.sql", job.0, slice, number, i64::from(page.rows))
            .fetch_all(&mut *transaction)
            .await?;
    // The first one was collected before: it is there to tell how the page after it begins.
    let known = rows.first().filter(|first| Some((first.slice, first.page)) == at);
    let fresh = rows.get(usize::from(known.is_some())..).unwrap_or_default();
    let Some(last) = fresh.last() else { return Ok(Done::up_to(None, 0)) };
    let met = Met::of(known, fresh);
    sqlx::query_file!(
        "src/sql/check_collect.sql",
        job.0,
        &met.slices,
        &met.ids as &[&str],
        &met.unreadable,
        &met.excused,
        &met.counted
    )
    .execute(&mut *transaction)
    .await?;
    let unstored = &met.unstored;
    if !unstored.ids.is_empty() || !met.stored.is_empty() {
        sqlx::query_file!(
            "src/sql/check_stragglers.sql",
            job.0,
            &unstored.ids as &[&str],
            &unstored.failed,
            &unstored.reasons as &[Option<&str>],
            &unstored.times as &[Option<DateTime<Utc>>],
            &unstored.slices,
            &unstored.met_at,
            &met.stored as &[&str]
        )
        .execute(&mut *transaction)
        .await?;
    }
    let rows = u32::try_from(met.ids.len()).unwrap_or(u32::MAX);
    Ok(Done::up_to(Some(format!("{}/{}", last.slice, last.page)), rows))
}

fn slice_and_page(text: &str) -> Option<(i32, i64)> {
    let (slice, page) = text.split_once('/')?;
    Some((slice.parse().ok()?, page.parse().ok()?))
}

/// Judges the walks; `Err` is the refusal.
pub(super) async fn judge(
    transaction: &mut Session,
    job: JobId,
) -> Result<Result<Done, Refusal>, StoreError> {
    let row = sqlx::query_file!("src/sql/check_judge.sql", job.0).fetch_one(&mut *transaction).await?;
    if row.met_nothing || row.missing > TOLERATED.max(row.named / 100) {
        return Ok(Err(Refusal::Shortfall { named: row.named, met: row.met }));
    }
    let compares = sqlx::query_scalar!(
        r#"select mode = 'full' and walk_gap(id) is null as "compares!" from jobs where id = $1"#,
        job.0
    )
    .fetch_one(transaction)
    .await?;
    let event = if compares { StageEvent::Exhausted } else { StageEvent::Enough };
    Ok(Ok(Done { after: None, event, rows: 0, keys: Vec::new() }))
}

/// Looks at the next records of the connection; at their end, `Err` is the refusal.
pub(super) async fn compare(
    transaction: &mut Session,
    lease: &Lease,
    after: Option<&str>,
    page: &ClosingPage,
) -> Result<Result<Done, Refusal>, StoreError> {
    let row = sqlx::query_file!(
        "src/sql/check_compare.sql",
        lease.job.0,
        lease.connection.0,
        after.unwrap_or_default(),
        i64::from(page.rows),
        page.at_once,
        page.confirm_after.as_secs_f64()
    )
    .fetch_one(transaction)
    .await?;
    let (unseen, records) = (row.unseen, row.records);
    let too_many = !page.any_number && unseen > TOLERATED && i128::from(unseen) * 2 > i128::from(records);
    Ok(if row.last.is_none() && too_many {
        Err(Refusal::TooMany { unseen, records })
    } else {
        // Where there are more, the page is full.
        let rows = if row.last.is_some() { page.rows } else { 0 };
        Ok(Done::up_to(row.last, rows))
    })
}
