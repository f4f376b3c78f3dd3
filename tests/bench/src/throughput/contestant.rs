//! Who is measured, and one pass of each over a corpus.

use super::bare::{self, BEGINS, ENDED};
use super::corpus::{Corpus, path};
use super::meter::{Usage, peak_memory};
use super::{Arena, Plan};
use crate::jobs::{start, until_completed};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use stage::Member;
use std::time::Duration;
use testkit::process::Process;
use uuid::Uuid;

/// The longest pass.
const LONGEST: Duration = Duration::from_secs(240);

/// A program under measurement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Contestant {
    /// No queue at all.
    Ideal,
    /// A bare consumer.
    Reference,
    /// One consumer process as it is by default.
    Backhaul,
    /// Two of them.
    BackhaulTwice,
    /// One, with one page per message.
    BackhaulSingle,
}

impl Contestant {
    /// All of them.
    pub const ALL: [Self; 5] =
        [Self::Ideal, Self::Reference, Self::Backhaul, Self::BackhaulTwice, Self::BackhaulSingle];

    /// Its name in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ideal => "ideal (no queue)",
            Self::Reference => "ref (bare consumer)",
            Self::Backhaul => "backhaul",
            Self::BackhaulTwice => "backhaul, 2 processes",
            Self::BackhaulSingle => "backhaul, 1 page per message",
        }
    }

    const fn processes(self) -> usize {
        match self {
            Self::BackhaulTwice => 2,
            Self::Ideal | Self::Reference | Self::Backhaul | Self::BackhaulSingle => 1,
        }
    }

    fn is_bare(self) -> bool {
        matches!(self, Self::Ideal | Self::Reference)
    }
}

/// What a pass took.
#[derive(Clone, Copy, Debug)]
pub struct Taken {
    /// From the first message, or request, to the end of the last job.
    pub seconds: f64,
    /// What it used.
    pub usage: Usage,
    /// The most memory of a process, in bytes.
    pub peak: u64,
}

/// One contestant, ready for its passes over one corpus.
#[derive(Debug)]
pub struct Entered {
    who: Contestant,
    members: Vec<Member>,
}

impl Entered {
    /// Forgets its jobs, and starts its processes, as far as they outlive a pass.
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn prepare(who: Contestant, arena: &mut Arena<'_>, plan: &Plan) -> Result<Self> {
        let mut members = Vec::new();
        if !who.is_bare() {
            arena.forget_jobs().await?;
            let mut variables = vec![("BACKHAUL__PAGES__SLOTS", plan.slots.to_string())];
            if who == Contestant::BackhaulSingle {
                variables.push(("BACKHAUL__PAGES__QUANTUM_MS", "0".to_owned()));
            }
            for number in 1..=who.processes() {
                members.push(Member::start(arena.stage, &format!("consumer {number}"), &variables).await?);
            }
            for member in &members {
                member.process.ready().await?;
            }
        }
        Ok(Self { who, members })
    }

    /// Pulls all pages of a corpus once, and checks what was stored and counted. `again`: it was pulled before, and
    /// nothing has changed.
    ///
    /// # Errors
    /// When a job does not complete, or anything is not exact: then there is no figure.
    pub async fn pass(
        &self,
        arena: &mut Arena<'_>,
        plan: &Plan,
        corpus: &Corpus,
        again: bool,
    ) -> Result<Taken> {
        let taken = if self.who.is_bare() {
            self.pass_bare(arena, plan, corpus, again).await?
        } else {
            self.pass_jobs(arena, corpus, again).await?
        };
        arena.check_records(self.who.is_bare(), corpus).await.with_context(|| self.who.name())?;
        Ok(taken)
    }

    async fn pass_bare(
        &self,
        arena: &mut Arena<'_>,
        plan: &Plan,
        corpus: &Corpus,
        again: bool,
    ) -> Result<Taken> {
        bare::reset(&mut arena.bare, corpus.size.jobs, again).await?;
        arena.checkpoint().await?;
        let process = self.bare_program(arena, plan, corpus)?;
        process.line(BEGINS).await?;
        let before = arena.meter.read(&[process.pid()], &mut arena.session).await?;
        let line = process.line_within(ENDED, LONGEST).await?;
        let usage = arena.meter.read(&[process.pid()], &mut arena.session).await?.since(&before);
        let peak = peak_memory(process.pid()).context("its memory can be read")?;
        drop(process);
        let seconds = line.split(ENDED).nth(1).and_then(|seconds| seconds.trim().parse().ok());
        let sums = "select coalesce(sum(page), 0)::bigint, coalesce(sum(inserted), 0)::bigint, \
                    coalesce(sum(updated), 0)::bigint, coalesce(sum(unchanged), 0)::bigint from jobs";
        let sums: (i64, i64, i64, i64) = sqlx::query_as(sums).fetch_one(&mut arena.bare).await?;
        check_counts(self.who, sums, corpus, again)?;
        Ok(Taken { seconds: seconds.context("it says how long it took")?, usage, peak })
    }

    fn bare_program(&self, arena: &Arena<'_>, plan: &Plan, corpus: &Corpus) -> Result<Process> {
        let (word, sessions) = if self.who == Contestant::Ideal {
            ("ideal", plan.ideal_tasks)
        } else {
            ("reference", plan.reference_sessions)
        };
        let program = arena.stage.program("bench-bare")?;
        let program = [word, "--database", arena.bare_url.as_str(), "--amqp", &arena.stage.amqp().url]
            .into_iter()
            .chain(["--upstream", &arena.upstream, "--pages", corpus.kind.word()])
            .chain(["--jobs", &corpus.size.jobs.to_string(), "--sessions", &sessions.to_string()])
            .chain(["--prefetch", &plan.reference_prefetch.to_string()])
            .fold(program, |program, argument| program.arg(argument));
        program.log(arena.stage.logs.join(format!("{word}.log"))).start()
    }

    async fn pass_jobs(&self, arena: &mut Arena<'_>, corpus: &Corpus, again: bool) -> Result<Taken> {
        if !again {
            arena.forget_records().await?;
        }
        arena.checkpoint().await?;
        let connections = arena.connections(corpus.kind).to_vec();
        let workers: Vec<_> = self.members.iter().map(|member| member.process.pid()).collect();
        let before = arena.meter.read(&workers, &mut arena.session).await?;
        let began: DateTime<Utc> =
            sqlx::query_scalar("select clock_timestamp()").fetch_one(&mut arena.session).await?;
        let starts = connections.iter().map(|connection| start(arena.stage, *connection, None, None));
        let jobs = try_join_all(starts).await?;
        let ended = until_completed(&mut arena.session, &jobs, LONGEST).await?;
        let usage = arena.meter.read(&workers, &mut arena.session).await?.since(&before);
        // What follows the walks fetches no page.
        let sums = "select coalesce(sum(page) filter (where kind = 'walk'), 0)::bigint, coalesce(sum(inserted), 0)::bigint, \
                    coalesce(sum(updated), 0)::bigint, coalesce(sum(unchanged), 0)::bigint \
                    from slices where job_id = any($1)";
        let jobs: Vec<Uuid> = jobs.into_iter().map(|job| job.0).collect();
        let sums: (i64, i64, i64, i64) =
            sqlx::query_as(sums).bind(&jobs).fetch_one(&mut arena.session).await?;
        check_counts(self.who, sums, corpus, again)?;
        let peak = workers.iter().filter_map(|worker| peak_memory(*worker)).max();
        let seconds = (ended - began).as_seconds_f64();
        Ok(Taken { seconds, usage, peak: peak.context("its memory can be read")? })
    }
}

fn check_counts(who: Contestant, sums: (i64, i64, i64, i64), corpus: &Corpus, again: bool) -> Result<()> {
    let records = i64::try_from(corpus.records())?;
    let wanted =
        (i64::from(corpus.pages()), if again { 0 } else { records }, 0, if again { records } else { 0 });
    ensure!(
        sums == wanted,
        "{} counted {sums:?} pages, inserted, updated and unchanged records, and not {wanted:?}",
        who.name()
    );
    Ok(())
}

/// The address of a job's account.
#[must_use]
pub fn base_url(upstream: &str, corpus: &Corpus, job: u32) -> String {
    format!("{upstream}/{}", path(corpus.kind, job))
}
