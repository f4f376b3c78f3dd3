//! `watch`: a progress bar per job, or a line per change where there is no terminal.

use crate::context::{Context, Names};
use crate::failure::Failure;
use crate::output::{Bar, Bars, Output};
use crate::show::{JobJson, duration, joined, outcome, percent, rate, records, remaining, share, state};
use crate::status::no_job;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use std::time::Duration;
use store::jobs::{JobFilter, JobView};
use store::{Store, StoreError};
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(300);
/// Without a terminal, progress alone is worth a line only this often.
const LINE_EVERY: Duration = Duration::from_secs(5);
const MOST_JOBS: i64 = 200;

pub(crate) async fn watch(context: &Context, jobs: Vec<JobId>) -> Result<(), Failure> {
    let store = context.store()?;
    let jobs = if jobs.is_empty() { unfinished(&store).await? } else { jobs };
    if jobs.is_empty() {
        // For a script no job is no line.
        return if context.output.is_json() { Ok(()) } else { context.output.line("no job is under way") };
    }
    let ended = follow(context, &store, &jobs, Frequency::EveryChange).await?;
    if ended.iter().any(|job| job.status == JobStatus::Failed) { Err(Failure::Shown) } else { Ok(()) }
}

/// Follows one job to its end, which must be `completed`.
pub(crate) async fn until_completed(context: &Context, store: &Store, job: JobId) -> Result<(), Failure> {
    let ended = follow(context, store, &[job], Frequency::OnlyTheEnd).await?;
    if ended.iter().all(|job| job.status == JobStatus::Completed) { Ok(()) } else { Err(Failure::Shown) }
}

/// How often a script is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Frequency {
    EveryChange,
    OnlyTheEnd,
}

async fn unfinished(store: &Store) -> Result<Vec<JobId>, Failure> {
    let mut found = Vec::new();
    for status in [JobStatus::Pending, JobStatus::Running, JobStatus::Cancelling] {
        let filter = JobFilter { statuses: vec![status], limit: MOST_JOBS, ..JobFilter::default() };
        found.extend(store.jobs().list(&filter).await?);
    }
    found.sort_by_key(|job| (job.created_at, job.id));
    // A job may have gone from one state to the next between two looks.
    let mut jobs: Vec<_> = found.into_iter().map(|job| job.id).collect();
    jobs.dedup();
    Ok(jobs)
}

/// Shows the jobs until all have ended, and returns how.
async fn follow(
    context: &Context,
    store: &Store,
    jobs: &[JobId],
    frequency: Frequency,
) -> Result<Vec<JobView>, Failure> {
    let names = Names::read(store).await?;
    let mut seen = Vec::new();
    for job in jobs {
        let view = store.jobs().get(*job, None).await?.ok_or_else(|| no_job(*job))?;
        seen.push(view);
    }
    let mut display = Display::new(context.output, frequency, &seen, &names);
    loop {
        for (at, view) in seen.iter().enumerate() {
            display.show(at, view)?;
        }
        if seen.iter().all(|view| view.status.is_terminal()) {
            return Ok(seen);
        }
        sleep(LOOK_EVERY).await;
        for view in seen.iter_mut().filter(|view| !view.status.is_terminal()) {
            match store.jobs().get(view.id, None).await {
                Ok(Some(newer)) => *view = newer,
                Ok(None) => return Err(no_job(view.id)),
                // Whoever watches a fleet through a failover does not want to type the command again.
                Err(error @ StoreError::Unavailable(_)) => {
                    tracing::warn!(%error, "the database does not answer; looking again");
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
}

enum Display {
    Bars(Bars),
    Lines { output: Output, frequency: Frequency, lines: Vec<Line> },
}

struct Line {
    label: String,
    shown: Option<(JobStatus, bool, i64, Instant)>,
}

impl Display {
    fn new(output: Output, frequency: Frequency, jobs: &[JobView], names: &Names) -> Self {
        let label = |job: &JobView| job.name.clone().unwrap_or_else(|| names.of(job));
        if !output.is_terminal() {
            let lines = jobs.iter().map(|job| Line { label: label(job), shown: None }).collect();
            return Self::Lines { output, frequency, lines };
        }
        Self::Bars(Bars::new(&jobs.iter().map(label).collect::<Vec<_>>()))
    }

    fn show(&mut self, at: usize, job: &JobView) -> Result<(), Failure> {
        match self {
            Self::Bars(bars) => bars.draw(at, &bar(job)),
            Self::Lines { output, frequency, lines } => {
                if let Some(line) = lines.get_mut(at)
                    && line.is_due(job)
                {
                    let over = job.status.is_terminal();
                    if !output.is_json() {
                        output.line(joined(&[
                            job.id.to_string(),
                            line.label.clone(),
                            state(job),
                            progress(job),
                        ]))?;
                    } else if over || *frequency == Frequency::EveryChange {
                        output.json(&JobJson::from(job))?;
                    }
                }
            }
        }
        Ok(())
    }
}

impl Line {
    fn is_due(&mut self, job: &JobView) -> bool {
        let due = self.shown.is_none_or(|(status, paused, pages, when)| {
            (status, paused) != (job.status, job.paused)
                || (pages != job.pages_settled && when.elapsed() >= LINE_EVERY)
        });
        if due {
            self.shown = Some((job.status, job.paused, job.pages_settled, Instant::now()));
        }
        due
    }
}

fn bar(job: &JobView) -> Bar {
    let (done, all) = share(job);
    Bar {
        done: u64::try_from(done).unwrap_or_default(),
        all: u64::try_from(all).unwrap_or_default(),
        message: joined(&[state(job), progress(job)]),
        over: job.status.is_terminal(),
    }
}

/// How far it is; or, at its end, what came of it.
fn progress(job: &JobView) -> String {
    if !job.status.is_terminal() {
        return joined(&[percent(job), format!("{} records", records(job)), rate(job), remaining(job)]);
    }
    let took = job.started_at.zip(job.finished_at).map(|(start, end)| duration((end - start).num_seconds()));
    let took = took.map(|took| format!("in {took}")).unwrap_or_default();
    let cause = job.error.as_ref().map(|error| error.cause.clone()).unwrap_or_default();
    let seen = match job.counters.processed() {
        0 => "no records".to_owned(),
        _ => format!("{} records: {}", records(job), outcome(job)),
    };
    joined(&[seen, took, cause])
}
