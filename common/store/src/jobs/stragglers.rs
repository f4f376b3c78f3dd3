//! Stragglers beside an incremental job: what could not be stored when it was met is asked for by its id.

use super::super::StoreError;
use super::Plannable;
use crate::pool::Session;

/// How many are asked for by one job, the longest unasked first.
const MOST: i32 = 200;

/// Takes a snapshot of the stragglers whose turn it is as a slice of its own, and returns how many slices that makes: one or
/// none. After their days they are asked for weekly, and after a year not any more.
pub(super) async fn take(transaction: &mut Session, plannable: &Plannable) -> Result<i64, StoreError> {
    sqlx::query!(
        "update stragglers t set closed_at = now(), closed_by = 'expired'
           from jobs j
          where j.id = $1 and t.connection_id = j.connection_id and t.stream = j.stream and t.closed_at is null
            and (t.first_seen_at < now() - interval '1 year' or t.scope <> j.scope)",
        plannable.job.0
    )
    .execute(&mut *transaction)
    .await?;
    let taken = sqlx::query!(
        "insert into documents (job_id, place, id)
         select $1, (row_number() over (order by t.asked_at nulls first, t.external_id) - 1)::int, t.external_id
           from jobs j
          cross join lateral (
                select external_id, asked_at from stragglers t
                 where t.connection_id = j.connection_id and t.stream = j.stream and t.closed_at is null
                   and (t.asked_at is null or t.first_seen_at > now() - j.straggler_days * interval '1 day'
                        or t.asked_at < now() - interval '7 days')
                 order by t.asked_at nulls first, t.external_id limit $2) t
          where j.id = $1 and j.by_id",
        plannable.job.0,
        i64::from(MOST)
    )
    .execute(&mut *transaction)
    .await?;
    let taken = i32::try_from(taken.rows_affected()).unwrap_or(MOST);
    if taken == 0 {
        return Ok(0);
    }
    let made = sqlx::query!(
        "insert into slices (job_id, slice, tenant_id, connection_id, kind, span_to, ids_from, ids_to, total)
         select j.id, (select coalesce(max(slice) + 1, 0) from slices where job_id = $1), j.tenant_id, j.connection_id,
                'stragglers', j.date_to, 0, $2, 0
           from jobs j where j.id = $1",
        plannable.job.0,
        taken
    )
    .execute(transaction)
    .await?;
    Ok(i64::try_from(made.rows_affected()).unwrap_or_default())
}
