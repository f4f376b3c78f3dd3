//! Several cancels at once.

use super::super::super::commands::{CommandIdentity, CommandKind};
use super::super::super::{StoreError, events};
use super::super::cancel::{CancelOutcome, CancelRequest, CancelTarget, asked_for};
use super::{Commanded, Lookups, at, number};
use crate::handles::Jobs;
use crate::pool::Session;
use protocol::contract::EventKind;
use protocol::ids::JobId;
use std::collections::HashSet;
use uuid::Uuid;

/// A cancel that is plain: where it was among those that were asked for, its job, and by what its command is found.
#[derive(Clone, Copy, Debug)]
struct Met<'a> {
    cancel: Commanded<'a, CancelRequest>,
    place: usize,
    job: JobId,
}

impl<'a> Met<'a> {
    const fn command(&self) -> Option<&'a CommandIdentity> {
        self.cancel.request.command.as_ref()
    }
}

impl Jobs<'_> {
    /// Cancels several jobs, as [`Jobs::cancel`] does for each. `None` where it is not plainly done: cancel that one alone.
    ///
    /// # Errors
    /// When the database cannot be written; the cancels may or may not have happened, and may be repeated, each alone.
    pub async fn cancel_together(
        self,
        cancels: &[Commanded<'_, CancelRequest>],
    ) -> Result<Vec<Option<CancelOutcome>>, StoreError> {
        let mut outcomes = vec![None; cancels.len()];
        let mut transaction = self.store.pool.begin().await?;
        let (met, keys) = meet(&mut transaction, cancels).await?;
        let (met, keys) = close(&mut transaction, met, keys).await?;
        if met.is_empty() {
            return Ok(outcomes);
        }
        let mut told = Vec::new();
        for (nth, leased) in end(&mut transaction, &met, &keys).await? {
            let Some(Met { place, job, cancel }) = at(&met, nth) else { continue };
            let data = asked_for(cancel.request);
            told.push((*job, EventKind::Cancelling, data.clone()));
            if !leased {
                told.push((*job, EventKind::Cancelled, data));
            }
            if let Some(outcome) = outcomes.get_mut(*place) {
                *outcome = Some(outcome_of(*job, leased));
            }
        }
        events::record_each(&mut transaction, told).await?;
        self.store.commit_told(transaction).await?;
        Ok(outcomes)
    }
}

const fn outcome_of(job: JobId, leased: bool) -> CancelOutcome {
    if leased { CancelOutcome::Cancelling { job, newly: true } } else { CancelOutcome::Cancelled { job } }
}

type Keys = Vec<Option<String>>;

/// The first of each job and command whose locks are free.
async fn meet<'a>(
    transaction: &mut Session,
    cancels: &[Commanded<'a, CancelRequest>],
) -> Result<(Vec<Met<'a>>, Keys), StoreError> {
    let (mut lookups, mut asked, mut targets) = (Lookups::default(), Vec::new(), HashSet::new());
    for (place, cancel) in cancels.iter().enumerate() {
        let target = match cancel.request.target {
            CancelTarget::Job(job) => (Some(job.0), None),
            CancelTarget::Connection(connection) => (None, Some(connection.0)),
        };
        if targets.insert(target) && lookups.add(CommandKind::Cancel, cancel.request.command.as_ref()) {
            asked.push((place, *cancel, target));
        }
    }
    let rows = sqlx::query_file!(
        "src/sql/cancel_meet.sql",
        asked.iter().map(|(_, _, target)| target.0).collect::<Vec<_>>() as Vec<Option<Uuid>>,
        asked.iter().map(|(_, _, target)| target.1).collect::<Vec<_>>() as Vec<Option<Uuid>>,
        asked.iter().map(|(_, it, _)| it.request.tenant.map(|tenant| tenant.0)).collect::<Vec<_>>()
            as Vec<Option<Uuid>>,
        lookups.given.as_slice() as &[Option<&str>],
        lookups.keys.as_slice() as &[Option<String>],
        number(&asked)
    )
    .fetch_all(transaction)
    .await?;
    // A job may be named once by itself and once by its connection.
    let mut jobs = HashSet::new();
    let rows = rows.into_iter().filter(|row| jobs.insert(row.job.0)).filter_map(|row| {
        let &(place, cancel, _) = at(&asked, row.nth)?;
        Some((Met { cancel, place, job: row.job }, row.key))
    });
    Ok(rows.unzip())
}

/// Closes the slices of those that were not answered before, and returns these.
async fn close<'a>(
    transaction: &mut Session,
    met: Vec<Met<'a>>,
    keys: Keys,
) -> Result<(Vec<Met<'a>>, Keys), StoreError> {
    if met.is_empty() {
        return Ok((met, keys));
    }
    let counts = |it: &Met<'_>| it.command().is_some_and(CommandIdentity::counts);
    let closed: HashSet<i64> = sqlx::query_file_scalar!(
        "src/sql/cancel_close.sql",
        &met.iter().map(|it| it.job.0).collect::<Vec<_>>(),
        keys.as_slice() as &[Option<String>],
        &met.iter().map(counts).collect::<Vec<_>>(),
        number(&met)
    )
    .fetch_all(transaction)
    .await?
    .into_iter()
    .collect();
    let all = (1..).zip(met.into_iter().zip(keys));
    Ok(all.filter(|(nth, _)| closed.contains(nth)).map(|(_, kept)| kept).unzip())
}

/// Ends the jobs, or begins their end; which of them, counted from 1, has pages in flight.
async fn end(
    transaction: &mut Session,
    met: &[Met<'_>],
    keys: &[Option<String>],
) -> Result<Vec<(i64, bool)>, StoreError> {
    let answer =
        |it: &Met<'_>, leased| serde_json::to_string(&outcome_of(it.job, leased)).unwrap_or_default();
    let rows = sqlx::query_file!(
        "src/sql/cancel_together.sql",
        &met.iter().map(|it| it.job.0).collect::<Vec<_>>(),
        met.iter().map(|it| it.cancel.request.reason.as_deref()).collect::<Vec<_>>() as Vec<Option<&str>>,
        met.iter().map(|it| it.cancel.request.requested_by.as_deref()).collect::<Vec<_>>()
            as Vec<Option<&str>>,
        met.iter().map(|it| it.cancel.trace).collect::<Vec<_>>() as Vec<Option<&str>>,
        keys as &[Option<String>],
        met.iter().map(|it| it.command()?.given().map(String::as_str)).collect::<Vec<_>>()
            as Vec<Option<&str>>,
        met.iter().map(|it| it.command()?.request().map(<[u8; 32]>::as_slice)).collect::<Vec<_>>()
            as Vec<Option<&[u8]>>,
        &met.iter().map(|it| answer(it, true)).collect::<Vec<_>>(),
        &met.iter().map(|it| answer(it, false)).collect::<Vec<_>>(),
        number(met)
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows.into_iter().map(|row| (row.nth, row.leased)).collect())
}
