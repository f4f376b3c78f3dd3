//! What a person sees while a demo runs: a line for each thing that happens, and below them a progress bar per job.
//! Without a terminal, a line every few seconds stands in for the bars.

use super::words::{rate, thousands};
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use std::collections::{HashMap, HashSet};
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use store::Store;
use store::jobs::{JobFilter, JobView};
use tokio::time::{Instant, sleep};
use tokio_util::sync::{CancellationToken, DropGuard};

/// Between two looks at the jobs.
const LOOK: Duration = Duration::from_millis(150);
/// Between two lines about progress where there is no terminal.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// No demo has more jobs than this.
const MOST_JOBS: i64 = 1000;

/// The display. It follows the jobs until it is dropped.
#[derive(Debug)]
pub struct Board {
    inner: Arc<Inner>,
    _stop: DropGuard,
}

#[derive(Debug)]
struct Inner {
    started: Instant,
    bars: Option<MultiProgress>,
    rows: Mutex<Vec<Row>>,
}

#[derive(Debug)]
struct Row {
    label: String,
    /// How many records there are, as the demo knows: a job itself knows only once every slice has been asked for.
    expected: u64,
    job: JobId,
    bar: ProgressBar,
    shown: Option<JobView>,
}

impl Board {
    /// A display of the jobs in this database.
    #[must_use]
    pub fn new(store: &Store) -> Self {
        let terminal = io::stdout().is_terminal();
        let bars = terminal.then(|| MultiProgress::with_draw_target(ProgressDrawTarget::stdout()));
        let inner = Arc::new(Inner { started: Instant::now(), bars, rows: Mutex::default() });
        let stop = CancellationToken::new();
        let follow = Arc::clone(&inner).follow(store.clone());
        let stopped = stop.clone();
        tokio::spawn(async move { stopped.run_until_cancelled(follow).await });
        Self { inner, _stop: stop.drop_guard() }
    }

    /// Says what happens.
    pub fn say(&self, text: impl AsRef<str>) {
        self.inner.say(text.as_ref());
    }

    /// Gives a job a bar of this name; a bar of that name that is there already goes on with this job.
    pub fn show(&self, label: &str, job: JobId, expected: u64) {
        let mut rows = self.inner.rows();
        if let Some(row) = rows.iter_mut().find(|row| row.label == label) {
            (row.job, row.expected, row.shown) = (job, expected, None);
            return;
        }
        let bar = ProgressBar::hidden().with_prefix(label.to_owned());
        let bar = self.inner.bars.as_ref().map_or(bar.clone(), |bars| bars.add(bar));
        bar.set_length(expected);
        rows.push(Row { label: label.to_owned(), expected, job, bar, shown: None });
    }

    /// Draws the bars a last time.
    pub async fn close(self, store: &Store) {
        self.inner.look(store).await;
        for row in self.inner.rows().iter() {
            row.bar.abandon();
        }
    }
}

impl Drop for Board {
    /// The bars stay as they are, and what is said from now on stands below them. They are not drawn again: Ctrl-C, as
    /// the terminal shows it, has moved the cursor.
    fn drop(&mut self) {
        let Some(bars) = &self.inner.bars else { return };
        bars.set_draw_target(ProgressDrawTarget::hidden());
        drop(writeln!(io::stdout()));
    }
}

impl Inner {
    async fn follow(self: Arc<Self>, store: Store) {
        let mut line_at = Instant::now() + LINE_EVERY;
        loop {
            sleep(LOOK).await;
            self.look(&store).await;
            if self.bars.is_none() && Instant::now() >= line_at {
                line_at = Instant::now() + LINE_EVERY;
                let rows: Vec<_> = self.rows().iter().filter_map(Row::summary).collect();
                if !rows.is_empty() {
                    self.say(&rows.join(", "));
                }
            }
        }
    }

    async fn look(&self, store: &Store) {
        let filter = JobFilter { limit: MOST_JOBS, ..JobFilter::default() };
        // A look that fails is made up for by the next one; what the demo itself waits for does complain.
        let (Ok(jobs), Ok(connections)) =
            tokio::join!(store.jobs().list(&filter), store.connections().list(None))
        else {
            return;
        };
        let now = jobs.first().map(|job| job.read_at);
        let resting: HashSet<ConnectionId> =
            connections.iter().filter(|it| it.paused_until > now).map(|it| it.id).collect();
        let jobs: HashMap<JobId, JobView> = jobs.into_iter().map(|job| (job.id, job)).collect();
        for row in self.rows().iter_mut() {
            if let Some(job) = jobs.get(&row.job) {
                row.draw(job, resting.contains(&job.connection));
            }
        }
    }

    fn say(&self, text: &str) {
        let line = format!("{:6.1} s  {text}", self.started.elapsed().as_secs_f64());
        // With stdout closed there is nobody left to tell.
        drop(match &self.bars {
            Some(bars) => bars.println(line),
            None => writeln!(io::stdout().lock(), "{line}"),
        });
    }

    fn rows(&self) -> MutexGuard<'_, Vec<Row>> {
        self.rows.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Row {
    fn draw(&mut self, job: &JobView, resting: bool) {
        let colour = match job.status {
            JobStatus::Pending | JobStatus::Running => "cyan",
            JobStatus::Cancelling | JobStatus::Cancelled => "yellow",
            JobStatus::Completed => "green",
            JobStatus::Failed => "red",
        };
        let template = format!("  {{prefix:<17!}} {{bar:20.{colour}/dim}} {{msg}}");
        if self.shown.as_ref().is_none_or(|shown| shown.status != job.status)
            && let Ok(style) = ProgressStyle::with_template(&template)
        {
            self.bar.set_style(style.progress_chars("━╸─"));
        }
        let rests = job.status == JobStatus::Running && resting;
        let status = if rests { "rests (429)" } else { job.status.word() };
        let expected = thousands(i64::try_from(self.expected).unwrap_or(i64::MAX));
        let records = thousands(job.counters.processed());
        let per_second = per_second(job);
        self.bar.set_message(format!("{records:>7} of {expected}  {per_second:>7}  {status}"));
        self.bar.set_length(self.expected);
        self.bar.set_position(processed(job));
        self.shown = Some(job.clone());
    }

    /// `tenant-1 40%`, while it is not over.
    fn summary(&self) -> Option<String> {
        let job = self.shown.as_ref().filter(|job| !job.status.is_terminal())?;
        let percent = (processed(job) * 100).checked_div(self.expected).unwrap_or_default();
        Some(format!("{} {percent}%", self.label))
    }
}

fn processed(job: &JobView) -> u64 {
    u64::try_from(job.counters.processed()).unwrap_or_default()
}

fn per_second(job: &JobView) -> String {
    let until = job.finished_at.unwrap_or(job.read_at);
    let seconds = job.started_at.map(|started| (until - started).as_seconds_f64()).unwrap_or_default();
    // Too early to say.
    if seconds < 0.5 { String::new() } else { format!("{}/s", rate(job.counters.processed(), seconds)) }
}
