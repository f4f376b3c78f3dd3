//! Workers: one row per boot of a consumer process.

use super::StoreError;
use crate::handles::Workers;
use protocol::ids::{JobId, WorkerId};
use sealing::KeyId;

/// A page in the hands of a worker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldPage {
    /// The job.
    pub job: JobId,
    /// The slice within the job.
    pub slice: i32,
    /// The page.
    pub page: i32,
}

/// What a worker says of itself.
#[derive(Clone, Debug)]
pub struct Boot {
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: u32,
    /// What its queues' names begin with.
    pub namespace: String,
    /// The keys that it opens credentials with, the one that it seals with first.
    pub keys: Vec<KeyId>,
}

impl Workers<'_> {
    /// Registers a worker; again after a lost answer is harmless.
    pub async fn started(self, worker: WorkerId, boot: &Boot) -> Result<(), StoreError> {
        sqlx::query!(
            "insert into workers (id, host, pid, namespace, keys) values ($1, $2, $3, $4, $5)
             on conflict (id) do update set seen_at = now()",
            worker.0,
            boot.host,
            i32::try_from(boot.pid).unwrap_or_default(),
            boot.namespace,
            &boot.keys.iter().map(ToString::to_string).collect::<Vec<_>>()
        )
        .execute(&self.store.pool)
        .await?;
        Ok(())
    }

    /// Notes that a worker ended in good order.
    pub async fn stopped(self, worker: WorkerId) -> Result<(), StoreError> {
        sqlx::query!("update workers set stopped_at = now() where id = $1", worker.0)
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }

    /// Notes what keeps a worker from consuming. False if it is not registered yet.
    pub async fn report_troubles(self, worker: WorkerId, troubles: &[String]) -> Result<bool, StoreError> {
        let done = sqlx::query!("update workers set troubles = $2 where id = $1", worker.0, troubles)
            .execute(&self.store.pool)
            .await?;
        Ok(done.rows_affected() > 0)
    }

    /// Notes that the suspect page which a worker held is settled or released.
    pub async fn suspect_cleared(self, worker: WorkerId) -> Result<(), StoreError> {
        sqlx::query!("update workers set suspect_job = null, suspect_slice = null where id = $1", worker.0)
            .execute(&self.store.pool)
            .await?;
        Ok(())
    }

    /// The pages that a worker holds at this moment, those of cancelled slices left out.
    pub async fn pages_held_by(self, worker: WorkerId) -> Result<Vec<HeldPage>, StoreError> {
        Ok(sqlx::query_as!(
            HeldPage,
            r#"select job_id as "job: JobId", slice, page from slices where worker = $1 and status = 'ready'"#,
            worker.0
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// How many of the pages that a worker held have come into other hands, or were settled by them.
    pub async fn pages_taken_over(self, from: WorkerId, held: &[HeldPage]) -> Result<i64, StoreError> {
        let jobs: Vec<_> = held.iter().map(|page| page.job.0).collect();
        let slices: Vec<_> = held.iter().map(|page| page.slice).collect();
        let pages: Vec<_> = held.iter().map(|page| page.page).collect();
        Ok(sqlx::query_scalar!(
            r#"select count(*) as "taken!"
                 from unnest($2::uuid[], $3::int[], $4::int[]) as held (job_id, slice, page)
                 join slices s on s.job_id = held.job_id and s.slice = held.slice
                where s.worker <> $1
                   or exists (select from page_log p where p.job_id = held.job_id and p.slice = held.slice
                                                       and p.page = held.page and p.worker <> $1)"#,
            from.0,
            &jobs,
            &slices,
            &pages
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    /// How many pages of a job each worker has settled.
    pub async fn pages_by_worker(self, job: JobId) -> Result<Vec<(WorkerId, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"select worker as "worker: WorkerId", count(*) as "pages!" from page_log where job_id = $1
                group by worker order by worker"#,
            job.0
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.worker, row.pages)).collect())
    }
}
