//! Several starts at once.

use super::super::super::commands::{CommandIdentity, CommandKind};
use super::super::super::{StoreError, events};
use super::super::start::{StartOutcome, StartRequest, accepted};
use super::{Commanded, Lookups, at, number};
use crate::handles::Jobs;
use crate::pool::Session;
use protocol::contract::EventKind;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobMode;
use std::collections::HashSet;

/// A start that goes on: whose it is, and by what its command is found.
struct Met<'a> {
    start: Commanded<'a, StartRequest>,
    place: usize,
    tenant: TenantId,
    key: Option<String>,
}

impl Jobs<'_> {
    /// Makes several pending jobs, as [`Jobs::start`] does for each. `confirmed` says that the broker has the start commands.
    /// `None` where it is not plainly accepted: start that one alone.
    ///
    /// # Errors
    /// When the database cannot be written; the starts may or may not have happened, and may be repeated, each alone.
    pub async fn start_together(
        self,
        starts: &[Commanded<'_, StartRequest>],
        confirmed: bool,
    ) -> Result<Vec<Option<StartOutcome>>, StoreError> {
        let mut outcomes = vec![None; starts.len()];
        let mut transaction = self.store.pool.begin().await?;
        let met = meet(&mut transaction, starts).await?;
        if met.is_empty() {
            return Ok(outcomes);
        }
        let mut told = Vec::new();
        for (nth, known) in make(&mut transaction, &met, confirmed).await? {
            let Some(Met { start, place, .. }) = at(&met, nth) else { continue };
            let StartRequest { job, requested_by, .. } = start.request;
            if !known {
                told.push((*job, EventKind::Accepted, accepted(requested_by.as_deref(), None)));
            }
            if let Some(outcome) = outcomes.get_mut(*place) {
                *outcome = Some(if known { StartOutcome::Known(*job) } else { StartOutcome::Accepted(*job) });
            }
        }
        events::record_each(&mut transaction, told).await?;
        self.store.commit_told(transaction).await?;
        Ok(outcomes)
    }
}

/// The first of each connection, job and command whose locks are free.
async fn meet<'a>(
    transaction: &mut Session,
    starts: &[Commanded<'a, StartRequest>],
) -> Result<Vec<Met<'a>>, StoreError> {
    let (mut lookups, mut asked) = (Lookups::default(), Vec::new());
    let (mut connections, mut jobs) = (HashSet::new(), HashSet::new());
    for (place, start) in starts.iter().enumerate() {
        let request = start.request;
        if request.documents.is_empty()
            && connections.insert(request.connection.0)
            && jobs.insert(request.job.0)
            && lookups.add(CommandKind::Start, request.command.as_ref())
        {
            asked.push((place, *start));
        }
    }
    let each =
        |part: fn(&StartRequest) -> uuid::Uuid| asked.iter().map(|(_, start)| part(start.request)).collect();
    let (jobs, connections): (Vec<_>, Vec<_>) = (each(|it| it.job.0), each(|it| it.connection.0));
    let tenants: Vec<_> =
        asked.iter().map(|(_, start)| start.request.tenant.map(|tenant| tenant.0)).collect();
    let rows = sqlx::query_file!(
        "src/sql/start_meet.sql",
        &jobs,
        &connections,
        tenants.as_slice() as &[Option<uuid::Uuid>],
        lookups.given.as_slice() as &[Option<&str>],
        lookups.keys.as_slice() as &[Option<String>],
        number(&asked)
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows
        .into_iter()
        .filter_map(|row| {
            let &(place, start) = at(&asked, row.nth)?;
            Some(Met { start, place, tenant: row.tenant, key: row.key })
        })
        .collect())
}

/// Makes the jobs of which nothing is known. Which of all are made or were there, counted from 1.
async fn make(
    transaction: &mut Session,
    met: &[Met<'_>],
    confirmed: bool,
) -> Result<Vec<(i64, bool)>, StoreError> {
    let requests: Vec<_> = met.iter().map(|met| met.start.request).collect();
    let commands: Vec<_> = requests.iter().map(|request| request.command.as_ref()).collect();
    let answers = |outcome: fn(JobId) -> StartOutcome| -> Vec<String> {
        let answer = |outcome: &StartOutcome| serde_json::to_string(outcome).unwrap_or_default();
        requests.iter().map(|request| answer(&outcome(request.job))).collect()
    };
    let keys: Vec<Option<&str>> = met.iter().map(|met| met.key.as_deref()).collect();
    let traces: Vec<Option<&str>> = met.iter().map(|met| met.start.trace).collect();
    let given: Vec<Option<&str>> =
        commands.iter().map(|command| command.and_then(|it| it.given()).map(String::as_str)).collect();
    let hashes: Vec<Option<&[u8]>> = commands
        .iter()
        .map(|command| command.and_then(CommandIdentity::request).map(<[u8; 32]>::as_slice))
        .collect();
    let rows = sqlx::query_file!(
        "src/sql/start_together.sql",
        &requests.iter().map(|it| it.job.0).collect::<Vec<_>>(),
        &requests.iter().map(|it| it.connection.0).collect::<Vec<_>>(),
        &met.iter().map(|it| it.tenant.0).collect::<Vec<_>>(),
        keys.as_slice() as &[Option<&str>],
        given.as_slice() as &[Option<&str>],
        hashes.as_slice() as &[Option<&[u8]>],
        &commands.iter().map(|it| it.is_some_and(CommandIdentity::counts)).collect::<Vec<_>>(),
        requests.iter().map(|it| it.mode).collect::<Vec<_>>() as Vec<JobMode>,
        requests.iter().map(|it| it.date_from).collect::<Vec<_>>()
            as Vec<Option<chrono::DateTime<chrono::Utc>>>,
        requests.iter().map(|it| it.date_to).collect::<Vec<_>>()
            as Vec<Option<chrono::DateTime<chrono::Utc>>>,
        requests.iter().map(|it| it.name.as_deref()).collect::<Vec<_>>() as Vec<Option<&str>>,
        requests.iter().map(|it| it.requested_by.as_deref()).collect::<Vec<_>>() as Vec<Option<&str>>,
        requests.iter().map(|it| it.schema.map(|schema| schema.0)).collect::<Vec<_>>()
            as Vec<Option<uuid::Uuid>>,
        traces.as_slice() as &[Option<&str>],
        &answers(StartOutcome::Accepted),
        &answers(StartOutcome::Known),
        confirmed,
        number(met)
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows.into_iter().map(|row| (row.nth, row.known)).collect())
}
