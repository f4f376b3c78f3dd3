//! Asking for records by their ids beside a walk: whether what a full sync did not meet is gone, and what has become of the
//! stragglers. An answer that says "gone" counts only where ids that are there were found before and after.

use super::super::StoreError;
use super::Lease;
use crate::handles::Slices;
use chrono::{DateTime, Utc};
use protocol::ids::{ConnectionId, JobId};

/// What the next page of a confirmation asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ToConfirm {
    /// The ids that are in question.
    pub ids: Vec<String>,
    /// An id that the pass has met; none if it met none that is stored.
    pub control: Option<String>,
}

impl Slices<'_> {
    /// The records that a full sync did not meet and whose ids are to be asked for, the longest unasked first.
    pub async fn to_confirm(self, job: JobId, most: u32) -> Result<ToConfirm, StoreError> {
        let row = sqlx::query!(
            r#"select array(select external_id from unseen where job_id = $1 and fate = 'asked'
                             order by last_asked_at, external_id limit $2) as "ids!",
                      (select s.external_id
                         from (select external_id from seen where job_id = $1 order by external_id limit 1000) s
                         join jobs j on j.id = $1
                         join records r on r.connection_id = j.connection_id and r.external_id = s.external_id
                        where r.deleted_at is null limit 1) as control"#,
            job.0,
            i64::from(most)
        )
        .fetch_one(&self.store.pool)
        .await?;
        Ok(ToConfirm { ids: row.ids, control: row.control })
    }

    /// Notes what the answers for these ids have shown: the gone ones are to be deleted, the others stay.
    ///
    /// # Errors
    /// When the database cannot be written; they are then asked for again.
    pub async fn confirm(
        self,
        lease: &Lease,
        as_of: DateTime<Utc>,
        asked: &[String],
        gone: &[&str],
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "with fence as (
                 select job_id from slices
                  where job_id = $1 and slice = $2 and lease_token = $3 and page = $4 and status = 'ready'
                    for no key update)
             update unseen u
                set fate = (case when u.external_id = any ($6::text[]) then 'confirmed' else 'unconfirmed' end)::unseen_fate,
                    as_of = case when u.external_id = any ($6) then $7::timestamptz end
               from fence f
              where u.job_id = f.job_id and u.external_id = any ($5::text[]) and u.fate = 'asked'",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            asked,
            gone as &[&str],
            as_of
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// A record of a connection that is there, as far as is known: what is asked for beside stragglers.
    pub async fn stored_beside(
        self,
        connection: ConnectionId,
        id: &str,
    ) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select external_id as "id!"
                 from ((select external_id, 0 as nth from records
                         where connection_id = $1 and external_id > $2 collate "C" and deleted_at is null
                         order by external_id limit 1)
                       union all
                       (select external_id, 1 from records
                         where connection_id = $1 and external_id <> $2 and deleted_at is null
                         order by external_id limit 1)) r
                order by nth limit 1"#,
            connection.0,
            id
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// Notes that stragglers were asked for, and which of them are gone: one that two jobs found gone is none any more.
    ///
    /// # Errors
    /// When the database cannot be written; they are then asked for again.
    pub async fn stragglers_asked(
        self,
        lease: &Lease,
        asked: &[String],
        gone: &[&str],
    ) -> Result<(), StoreError> {
        sqlx::query!(
            "with fence as (
                 select s.job_id, j.connection_id, j.stream
                   from slices s join jobs j on j.id = s.job_id
                  where s.job_id = $1 and s.slice = $2 and s.lease_token = $3 and s.page = $4 and s.status = 'ready'
                    for no key update of s),
             met as (
                 select t.external_id,
                        case when t.external_id = any ($6::text[]) and not f.job_id = any (t.gone_in)
                             then t.gone_in || f.job_id else t.gone_in end as gone_in
                   from fence f
                   join stragglers t on t.connection_id = f.connection_id and t.stream = f.stream
                  where t.external_id = any ($5::text[]) and t.closed_at is null)
             update stragglers t
                set asked_at = now(), gone_in = m.gone_in,
                    closed_at = case when cardinality(m.gone_in) >= 2 then now() end,
                    closed_by = case when cardinality(m.gone_in) >= 2 then 'gone'::straggler_end end
               from fence f, met m
              where t.connection_id = f.connection_id and t.stream = f.stream and t.external_id = m.external_id",
            lease.job.0,
            lease.slice,
            lease.token.0,
            lease.page,
            asked,
            gone as &[&str]
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }
}
