//! Planning: a pending job becomes slices, without asking the upstream anything.

use crate::outbox::Outbox;
use chrono::{DateTime, NaiveTime, TimeDelta, Utc};
use containment::contained_call;
use protocol::ids::{JobId, TenantId};
use protocol::job::JobError;
use protocol::job::JobMode;
use protocol::plan::TimeIs;
use protocol::slice::{Slicing, Span, TooManySlices};
use runtime::warn_unless_outage;
use sources::{Planning, SourceError};
use std::collections::{BTreeSet, HashMap};
use store::batches::{Batches, Kind};
use store::jobs::{Commanded, FailRight, Known, Plan, Plannable, Shown, ShownIn};
use store::slices::RAMP_STEP;
use store::{Store, StoreError};
use tokio::sync::Semaphore;
use url::Url;
use uuid::Uuid;

/// Plans jobs: those that wait for a session together. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Planner {
    batches: Batches<Plans>,
}

/// A plan of more slices takes its time: it shares no statement with others, and waits for the one before it.
const LARGE: usize = 200;

#[derive(Debug)]
struct Plans {
    store: Store,
    outbox: Outbox,
    /// For one large plan at a time, so that those of other tenants find the database free.
    large: Semaphore,
}

impl Planner {
    /// A planner.
    #[must_use]
    pub fn new(store: Store, outbox: Outbox) -> Self {
        Self { batches: Batches::new(Plans { store, outbox, large: Semaphore::new(1) }) }
    }

    /// Plans a job if it is pending, and rings its first slices. Idempotent. A job whose connection cannot be worked
    /// with fails, and says why.
    ///
    /// # Errors
    /// When the database cannot be written; the sweeper plans the job later.
    pub async fn plan(&self, job: JobId) -> Result<(), StoreError> {
        self.batches.apply(job).await
    }
}

impl Kind for Plans {
    type Request = JobId;
    type Outcome = ();
    const WORD: &'static str = "plan";

    fn subject(job: &JobId) -> Uuid {
        job.0
    }

    async fn together(&self, jobs: &[Commanded<'_, JobId>]) -> Result<Vec<Option<()>>, StoreError> {
        let jobs: Vec<JobId> = jobs.iter().map(|job| *job.request).collect();
        let plan = |plannable: &Plannable, shown: &ShownIn| {
            let plan = || {
                let (planning, scope) = look(plannable).ok()?;
                let shown = shown.scope(&scope.fingerprint);
                made(plannable, planning, scope, shown).ok().filter(|plan| plan.spans.len() <= LARGE)
            };
            contained_call(plan).ok().flatten()
        };
        let planned: HashMap<JobId, TenantId> =
            self.store.jobs().plan_together(&jobs, plan).await?.into_iter().collect();
        tracing::info!(jobs = planned.len(), "jobs are planned");
        let tenants: BTreeSet<TenantId> = planned.values().copied().collect();
        if let Err(error) = self.ring(&tenants.into_iter().collect::<Vec<_>>()).await {
            warn_unless_outage!(error, "the sweeper will ring the slices of planned jobs");
        }
        Ok(jobs.iter().map(|job| planned.contains_key(job).then_some(())).collect())
    }

    async fn alone(&self, job: &JobId) -> Result<(), StoreError> {
        let job = *job;
        let Some(plannable) = self.store.jobs().plannable(job).await? else { return Ok(()) };
        let (planning, scope) = match contained_call(|| look(&plannable)) {
            Ok(Ok(looked)) => looked,
            Ok(Err(error)) => return self.fail(job, error.to_string()).await,
            Err(panicked) => return self.fail(job, panicked.to_string()).await,
        };
        let shown = match plannable.mode {
            JobMode::Incremental => {
                self.store.jobs().shown_by_earlier(plannable.connection, &scope.fingerprint).await?
            }
            JobMode::Range | JobMode::Full => Shown::default(),
        };
        let plan = match contained_call(|| made(&plannable, planning, scope, shown)) {
            Ok(Ok(plan)) => plan,
            Ok(Err(cause)) => return self.fail(job, cause).await,
            Err(panicked) => return self.fail(job, panicked.to_string()).await,
        };
        // The semaphore is never closed.
        let _turn = if plan.spans.len() > LARGE { self.large.acquire().await.ok() } else { None };
        if self.store.jobs().plan(&plannable, &plan).await? {
            tracing::info!(%job, "a job is planned");
            self.ring(&[plannable.tenant]).await?;
        }
        Ok(())
    }
}

impl Plans {
    async fn ring(&self, tenants: &[TenantId]) -> Result<(), StoreError> {
        if !tenants.is_empty() {
            let rings = self.store.slices().refill_each(tenants, RAMP_STEP).await?;
            self.outbox.ring_all(rings).await;
        }
        Ok(())
    }

    async fn fail(&self, job: JobId, cause: String) -> Result<(), StoreError> {
        let error = JobError::of_job(cause);
        if self.store.jobs().fail(job, &error, FailRight::Job).await? {
            tracing::warn!(%job, cause = error.cause, "a job failed before it began");
        }
        Ok(())
    }
}

/// The plan of a job; `Err` is why there is none, in words.
fn made(
    plannable: &Plannable,
    planning: Planning,
    scope: sources::Scope,
    shown: Shown,
) -> Result<Plan, String> {
    let (spans, idle) = if plannable.documents.is_some() {
        if !planning.items {
            return Err(sources::NO_ITEM.to_owned());
        }
        (Vec::new(), None)
    } else {
        let shown = if plannable.mode == JobMode::Incremental { shown } else { Shown::default() };
        spans(&planning, plannable.mode, plannable.span, shown).map_err(|too_many| too_many.to_string())?
    };
    Ok(Plan {
        spans,
        fingerprint: scope.fingerprint,
        canonical: scope.canonical,
        floor: planning.start,
        counted: planning.counted,
        total_is: planning.total_is,
        time_is: planning.time,
        by_id: planning.items,
        straggler_days: i32::try_from(planning.straggler_days).unwrap_or(i32::MAX),
        idle,
    })
}

fn look(plannable: &Plannable) -> Result<(Planning, sources::Scope), SourceError> {
    let planning = sources::planning(&plannable.source, &plannable.settings)?;
    let base_url = Url::parse(&plannable.base_url)
        .map_err(|error| SourceError::BaseUrl { reason: format!("{:?}: {error}", plannable.base_url) })?;
    let scope = sources::scope(&plannable.source, &base_url, &plannable.settings, plannable.account)?;
    Ok((planning, scope))
}

/// What a job walks, and which part of it earlier jobs found empty. An incremental one begins a little before the end of what
/// is known; without anything known, it walks everything. What its settings add before the beginning of what is known is
/// walked, too.
fn spans(
    planning: &Planning,
    mode: JobMode,
    asked: Span,
    shown: Shown,
) -> Result<(Vec<Span>, Option<Span>), TooManySlices> {
    // A record that is touched while the list is read moves to another slice: only one that has everything misses none.
    if mode == JobMode::Full && planning.time == Some(TimeIs::Updated) && asked.from.is_none() {
        return Ok((vec![asked], None));
    }
    let Some(Known { from: known_from, to: known_to }) = shown.known else {
        return cut(planning.slicing, asked, None, shown.empty_to);
    };
    let mut spans = match known_from.filter(|known_from| begins_before(planning.start, *known_from)) {
        Some(known_from) => Slicing::cut(planning.slicing, Span { from: None, to: known_from })?,
        None => Vec::new(),
    };
    let latest = asked.to - TimeDelta::microseconds(1);
    let from = known_to.checked_sub_signed(planning.overlap).map(|from| from.min(latest));
    let from = from.max(spans.last().map(|last| last.to));
    let (new, idle) = cut(planning.slicing, Span { from, ..asked }, Some(known_to), shown.empty_to)?;
    spans.extend(new);
    Ok((spans, idle))
}

/// Cuts a span into slices, of which one is all that was found empty before, from `known_to` (or the beginning) up to
/// `empty_to`. Its ends are midnights (UTC), as those of the others.
fn cut(
    slicing: Option<Slicing>,
    span: Span,
    known_to: Option<DateTime<Utc>>,
    empty_to: Option<DateTime<Utc>>,
) -> Result<(Vec<Span>, Option<Span>), TooManySlices> {
    let midnight = |moment: DateTime<Utc>| moment.date_naive().and_time(NaiveTime::MIN).and_utc();
    let to = empty_to.map(|empty_to| midnight(empty_to.min(span.to)));
    let from = known_to.map(|known_to| midnight(known_to) + TimeDelta::days(1));
    let (Some(of_slices), Some(to)) =
        (slicing, to.filter(|to| from.or(span.from).is_none_or(|from| from < *to)))
    else {
        return Ok((Slicing::cut(slicing, span)?, None));
    };
    let idle = Span { from: from.or(span.from), to };
    let mut spans = match idle.from.filter(|from| span.from < Some(*from)) {
        Some(from) => Slicing::cut(slicing, Span { to: from, ..span })?,
        None => Vec::new(),
    };
    spans.extend(Slicing::cut(Some(of_slices.idle()), idle)?);
    if to < span.to {
        spans.extend(Slicing::cut(slicing, Span { from: Some(to), ..span })?);
    }
    Ok((spans, Some(idle)))
}

/// Whether what is asked for begins before this moment; without a start it is the beginning.
fn begins_before(start: Option<DateTime<Utc>>, known_from: DateTime<Utc>) -> bool {
    start.is_none_or(|start| start < known_from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(day: u32) -> DateTime<Utc> {
        format!("2026-01-{day:02}T00:00:00Z").parse().unwrap()
    }

    fn days(spans: &[Span]) -> Vec<(Option<u32>, u32)> {
        let day = |moment: DateTime<Utc>| moment.format("%d").to_string().parse::<u32>().unwrap();
        spans.iter().map(|span| (span.from.map(day), day(span.to))).collect()
    }

    fn cut(start: Option<u32>, known: Option<(Option<u32>, u32)>) -> Vec<(Option<u32>, u32)> {
        let planning = Planning {
            slicing: Some(Slicing { start: start.map(at), ..Slicing::days(5, 100) }),
            start: start.map(at),
            overlap: TimeDelta::days(1),
            ..Planning::default()
        };
        let asked = Span { from: None, to: at(31) };
        let known = known.map(|(from, to)| Known { from: from.map(at), to: at(to) });
        let shown = Shown { known, empty_to: None };
        let (spans, idle) = spans(&planning, JobMode::Incremental, asked, shown).unwrap();
        assert_eq!(idle, None);
        days(&spans)
    }

    #[test]
    fn what_was_found_empty_is_one_slice() {
        let planning = Planning {
            slicing: Some(Slicing { start: Some(at(1)), ..Slicing::days(2, 100) }),
            start: Some(at(1)),
            overlap: TimeDelta::days(1),
            ..Planning::default()
        };
        let asked = Span { from: None, to: at(30) };
        let cut = |known: Option<u32>, empty_to: u32| {
            let noon = TimeDelta::hours(12);
            let known = known.map(|known| Known { from: Some(at(1)), to: at(known) + noon });
            let shown = Shown { known, empty_to: Some(at(empty_to) + noon) };
            let (cut, idle) = spans(&planning, JobMode::Incremental, asked, shown).unwrap();
            (days(&cut), idle.map(|idle| days(&[idle])))
        };
        let (spans, idle) = cut(Some(5), 27);
        assert_eq!(spans, [(Some(4), 6), (Some(6), 27), (Some(27), 29), (Some(29), 30)]);
        assert_eq!(idle, Some(vec![(Some(6), 27)]));
        assert_eq!(cut(None, 27).0, [(None, 27), (Some(27), 29), (Some(29), 30)]);
        // Nothing was found empty behind what is known.
        assert_eq!(cut(Some(5), 6).1, None);
        assert_eq!(cut(Some(27), 5).0, [(Some(26), 28), (Some(28), 30)]);
    }

    #[test]
    fn a_full_sync_by_the_time_of_changes_is_one_slice() {
        let planning = Planning {
            slicing: Some(Slicing { start: Some(at(1)), ..Slicing::days(2, 100) }),
            time: Some(TimeIs::Updated),
            ..Planning::default()
        };
        let cut = |mode, from: Option<u32>| {
            let asked = Span { from: from.map(at), to: at(9) };
            spans(&planning, mode, asked, Shown::default()).unwrap().0.len()
        };
        assert_eq!(
            [cut(JobMode::Full, None), cut(JobMode::Full, Some(1)), cut(JobMode::Range, None)],
            [1, 4, 4]
        );
    }

    #[test]
    fn an_incremental_job_begins_before_the_end_of_what_is_known() {
        assert_eq!(cut(None, None), [(None, 31)]);
        assert_eq!(cut(None, Some((None, 28))), [(Some(27), 31)]);
        assert_eq!(cut(Some(20), None), [(None, 25), (Some(25), 30), (Some(30), 31)]);
        assert_eq!(cut(Some(20), Some((Some(20), 28))), [(Some(27), 31)]);
    }

    #[test]
    fn a_lower_start_adds_what_lies_before_what_is_known() {
        assert_eq!(cut(Some(2), Some((Some(9), 28))), [(None, 7), (Some(7), 9), (Some(27), 31)]);
        assert_eq!(cut(None, Some((Some(9), 28))), [(None, 9), (Some(27), 31)]);
        assert_eq!(
            cut(Some(2), Some((Some(9), 9))),
            [
                (None, 7),
                (Some(7), 9),
                (Some(9), 14),
                (Some(14), 19),
                (Some(19), 24),
                (Some(24), 29),
                (Some(29), 31)
            ]
        );
        assert_eq!(cut(Some(9), Some((None, 28))), [(Some(27), 31)]);
    }
}
