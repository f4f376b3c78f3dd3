//! How fast pages are pulled, and at what cost: Backhaul's own consumer beside the same work without a queue, and beside
//! a bare consumer, in turn, on the same servers and the same pages.

mod arena;
pub mod bare;
pub mod compare;
mod contestant;
pub mod corpus;
mod goals;
pub mod meter;
mod report;

pub use arena::Arena;
pub use contestant::{Contestant, Entered, Taken, base_url};
pub use report::{Report, Run};

use super::{about, say};
use anyhow::Result;
use corpus::{Corpus, Kind, Size};
use stage::Stage;
use std::fmt;
use testkit::private::{Private, PrivateNginx};

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each.
    pub rounds: usize,
    /// Jobs and pages of 100 records.
    pub full: Size,
    /// Jobs and pages of one record.
    pub thin: Size,
    /// Pages in flight per consumer.
    pub slots: usize,
    /// Tasks, and sessions, of the ideal loop.
    pub ideal_tasks: usize,
    /// Sessions of the bare consumer.
    pub reference_sessions: usize,
    /// Its prefetch.
    pub reference_prefetch: usize,
}

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Work {
    /// Full pages, all records new.
    Full,
    /// Full pages, nothing new.
    Unchanged,
    /// Pages of one new record.
    Thin,
}

impl Work {
    /// All of it.
    pub const ALL: [Self; 3] = [Self::Full, Self::Unchanged, Self::Thin];

    /// Its word.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Unchanged => "unchanged",
            Self::Thin => "thin",
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// Settings of PostgreSQL: durable as it comes, with room for what a benchmark writes, so that no checkpoint falls into a
/// pass of the one and not of the other.
pub const POSTGRES: [&str; 4] =
    ["shared_buffers=1GB", "max_wal_size=8GB", "min_wal_size=2GB", "checkpoint_timeout=30min"];

/// Measures all of it.
///
/// # Errors
/// When something does not start, or a run is not exact.
pub async fn measure(stage: &Stage, servers: &Private, plan: Plan) -> Result<Report> {
    let mut report = Report::new(about(stage).await?);
    let nginx = PrivateNginx::start().await?;
    let root = nginx.root();
    let corpora = tokio::task::spawn_blocking(move || -> Result<_> {
        Ok([Corpus::write(&root, Kind::Full, plan.full)?, Corpus::write(&root, Kind::Thin, plan.thin)?])
    })
    .await??;
    let mut arena = Box::pin(Arena::set_up(stage, servers, &nginx, &corpora)).await?;
    report.say("settings", settings(&plan));
    report.say("postgres", postgres(&mut arena).await?);
    for corpus in &corpora {
        let (jobs, pages) = (corpus.size.jobs, corpus.size.pages);
        let each = corpus.bytes / usize::try_from(corpus.pages())?.max(1);
        report.say(corpus.kind.word(), format!("{jobs} jobs of {pages} pages of {each} bytes"));
    }
    say(format_args!("{report}"));
    // Whoever is the first to fill a machine's memory with files pays for it; that shall be nobody who is measured.
    for corpus in &corpora {
        let first = Box::pin(Entered::prepare(Contestant::Backhaul, &mut arena, &plan)).await?;
        Box::pin(first.pass(&mut arena, &plan, corpus, false)).await?;
    }
    for round in 0..plan.rounds {
        // Each begins a round once: whoever comes later may find a busier or a calmer machine.
        for turn in 0..Contestant::ALL.len() {
            let who = Contestant::ALL[(turn + round) % Contestant::ALL.len()];
            for corpus in &corpora {
                let entered = Box::pin(Entered::prepare(who, &mut arena, &plan)).await?;
                let passes: &[_] = match corpus.kind {
                    Kind::Full => &[(Work::Full, false), (Work::Unchanged, true)],
                    Kind::Thin => &[(Work::Thin, false)],
                };
                for (work, again) in passes {
                    let taken = Box::pin(entered.pass(&mut arena, &plan, corpus, *again)).await?;
                    let run = Run { who, work: *work, round, pages: corpus.pages(), taken };
                    say(format_args!("round {}: {run}", round + 1));
                    report.runs.push(run);
                }
            }
        }
    }
    Ok(report)
}

fn settings(plan: &Plan) -> String {
    format!(
        "{} rounds; backhaul: {} slots, else as by default, quorum queue; ideal: {} tasks with a session each; ref: prefetch {}, {} sessions, quorum queue; nginx serves the pages; all of it on this machine",
        plan.rounds, plan.slots, plan.ideal_tasks, plan.reference_prefetch, plan.reference_sessions
    )
}

/// The settings that decide what a write costs, as the server has them.
async fn postgres(arena: &mut Arena<'_>) -> Result<String> {
    let sql = "select string_agg(name || ' = ' || current_setting(name), ', ' order by name) from pg_settings \
               where name in ('fsync', 'synchronous_commit', 'full_page_writes', 'wal_level', 'wal_compression', \
               'shared_buffers', 'max_wal_size', 'checkpoint_timeout', 'wal_sync_method', 'autovacuum')";
    Ok(sqlx::query_scalar(sql).fetch_one(&mut arena.session).await?)
}
