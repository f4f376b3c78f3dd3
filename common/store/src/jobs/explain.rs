//! Why a job is where it is: what it waits for, read in one statement.

use super::super::StoreError;
use super::JobView;
use crate::handles::Jobs;
use chrono::{DateTime, Utc};
use protocol::ids::{JobId, TenantId, WorkerId};
use protocol::slice::{SliceStatus, Span};
use serde::Deserialize;
use sqlx::types::Json;

/// A worker that was not seen for so long is not counted as alive: three renewals, by default.
const ALIVE_SECONDS: f64 = 15.0;
/// How many slices are described.
const SLICES: i64 = 10;

/// A job and what is around it.
#[derive(Clone, Debug)]
pub struct JobSituation {
    /// The job.
    pub job: JobView,
    /// The name of its connection.
    pub connection: String,
    /// Until when the connection rests, if it does now.
    pub connection_paused_until: Option<DateTime<Utc>>,
    /// Whether the connection was deleted.
    pub connection_deleted: bool,
    /// Whether the broker or a consumer has confirmed the start command.
    pub start_confirmed: bool,
    /// How many slices of the tenant may be rung at a time.
    pub max_slices: i32,
    /// How many are, of all its jobs.
    pub rung: i64,
    /// How many slices of the connection may be rung at a time, if it has a limit of its own.
    pub max_pages_in_flight: Option<i32>,
    /// How many are.
    pub rung_of_connection: i64,
    /// The part of its span that earlier jobs found empty, so that it is one slice.
    pub idle: Option<Span>,
    /// Consumer processes that were seen lately.
    pub live_workers: i64,
    /// What keeps some of them from consuming.
    pub troubles: Vec<String>,
    /// Markers that are among the doorbells: 0 says that all of what was rung before has been taken.
    pub markers_out: i64,
    /// The first page that was skipped, if the job itself has skipped any.
    pub skipped: Option<SkippedPage>,
    /// The open or leased slices that tell most: at most ten.
    pub slices: Vec<SliceSituation>,
}

/// A page that was skipped.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SkippedPage {
    /// The slice within the job.
    pub slice: i32,
    /// The page within the slice.
    pub page: i32,
    /// Why, in words.
    pub cause: String,
}

/// A slice that is open or leased.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct SliceSituation {
    /// The slice within the job.
    pub slice: i32,
    /// The page to be settled next.
    pub page: i32,
    /// Its state.
    pub status: SliceStatus,
    /// Failed attempts at the page.
    pub attempts: i32,
    /// When the first of them failed; says nothing while there are none.
    pub failing_since: Option<DateTime<Utc>>,
    /// Why the last one failed.
    pub last_error: Option<String>,
    /// When it is tried again.
    pub not_before: Option<DateTime<Utc>>,
    /// When its doorbell was last rung.
    pub rung_at: Option<DateTime<Utc>>,
    /// When its last page was settled.
    pub last_settled_at: Option<DateTime<Utc>>,
    /// Until when it is leased, if it is.
    pub leased_until: Option<DateTime<Utc>>,
    /// Who leased it.
    pub worker: Option<WorkerId>,
    /// Where that worker runs.
    pub host: Option<String>,
    /// When that worker was last seen.
    pub seen_at: Option<DateTime<Utc>>,
    /// How many workers died while they held the page.
    pub deaths: i32,
}

impl Jobs<'_> {
    /// What a job waits for; with a tenant, only if it is that tenant's job.
    pub async fn situation(
        self,
        job: JobId,
        tenant: Option<TenantId>,
    ) -> Result<Option<JobSituation>, StoreError> {
        let Some(view) = self.store.jobs().get(job, tenant).await? else { return Ok(None) };
        let row = sqlx::query_file!("src/sql/situation.sql", job.0, ALIVE_SECONDS, SLICES)
            .fetch_optional(&self.store.pool)
            .await?;
        Ok(row.map(|row| JobSituation {
            job: view,
            connection: row.connection_name,
            connection_paused_until: row.paused_until.filter(|_| row.connection_paused == Some(true)),
            connection_deleted: row.connection_deleted,
            start_confirmed: row.start_confirmed,
            max_slices: row.max_slices,
            rung: row.rung,
            max_pages_in_flight: row.max_pages_in_flight,
            rung_of_connection: row.rung_of_connection,
            idle: row.idle_to.map(|to| Span { from: row.idle_from, to }),
            live_workers: row.live_workers,
            troubles: row.troubles,
            markers_out: row.markers_out,
            skipped: row.skipped.map(|skipped| skipped.0),
            slices: row.slices.0,
        }))
    }
}
