//! Commands in bursts: how fast starts are applied, how long cancels and HTTP calls take when many come at once. Two builds
//! are measured beside each other, each on servers of its own; what they have in common is used, and no more.

mod build;
mod burst;
mod ground;

pub use build::Build;

use super::{Outcome, say};
use anyhow::Result;
use ground::Ground;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// How much is sent at once, and how often all of it is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Starts by message.
    pub starts: usize,
    /// Cancels by message, of jobs whose page hangs.
    pub cancels: usize,
    /// Callers over HTTP at a time.
    pub callers: usize,
    /// Calls of each, one after the other.
    pub calls: usize,
    /// Rounds; medians of them are shown.
    pub rounds: usize,
}

/// What one round measured.
#[derive(Clone, Debug)]
pub struct Round {
    /// Starts that were accepted and planned, per second.
    pub starts_per_second: f64,
    /// From the publish of each cancel to the end of its job.
    pub cancels: Times,
    /// From each HTTP call that starts a job to its answer.
    pub http_starts: Times,
    /// The same of cancels.
    pub http_cancels: Times,
}

/// Half of some times are no longer than this, and 99 of 100.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// Half of them.
    pub p50: Duration,
    /// 99 of 100.
    pub p99: Duration,
}

impl Times {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| {
            let place = (times.len() * percent).div_ceil(100).saturating_sub(1);
            times.get(place).copied().unwrap_or_default()
        };
        Self { p50: at(50), p99: at(99) }
    }
}

/// The rounds of each build.
#[derive(Debug)]
pub struct Compared {
    plan: Plan,
    builds: Vec<(Build, Vec<Round>)>,
}

/// Measures the builds in turn, round by round.
///
/// # Errors
/// When a program does not start, or a job does not come to what it must.
pub async fn measure(builds: Vec<Build>, plan: Plan) -> Result<Compared> {
    let mut compared =
        Compared { plan, builds: builds.into_iter().map(|build| (build, Vec::new())).collect() };
    for number in 1..=plan.rounds {
        for (build, rounds) in &mut compared.builds {
            say(format_args!("round {number} of {}: {}", plan.rounds, build.name));
            let round = Box::pin(round(build, plan)).await?;
            say(format_args!(
                "  {:.0} starts/s; cancels {:?}; HTTP starts {:?}, cancels {:?}",
                round.starts_per_second, round.cancels, round.http_starts, round.http_cancels
            ));
            rounds.push(round);
        }
    }
    Ok(compared)
}

async fn round(build: &Build, plan: Plan) -> Result<Round> {
    let most = plan.starts.max(plan.cancels).max(plan.callers * plan.calls);
    let ground = Box::pin(Ground::prepare(build, most, plan.cancels)).await?;
    let starts_per_second = burst::starts(&ground, plan.starts).await?;
    ground.end_all().await?;
    let cancels = Times::of(burst::cancels(&ground, plan.cancels).await?);
    ground.end_all().await?;
    let (starts, cancels_over_http) = burst::over_http(&ground, plan).await?;
    Ok(Round {
        starts_per_second,
        cancels,
        http_starts: Times::of(starts),
        http_cancels: Times::of(cancels_over_http),
    })
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_by(f64::total_cmp);
    of.get(of.len() / 2).copied().unwrap_or(f64::NAN)
}

type Figure = (&'static str, fn(&Round) -> f64);

const FIGURES: [Figure; 7] = [
    ("starts accepted and planned, per second", |round| round.starts_per_second),
    ("cancel by message → cancelled, p50 ms", |round| round.cancels.p50.as_secs_f64() * 1e3),
    ("cancel by message → cancelled, p99 ms", |round| round.cancels.p99.as_secs_f64() * 1e3),
    ("start over HTTP → answer, p50 ms", |round| round.http_starts.p50.as_secs_f64() * 1e3),
    ("start over HTTP → answer, p99 ms", |round| round.http_starts.p99.as_secs_f64() * 1e3),
    ("cancel over HTTP → answer, p50 ms", |round| round.http_cancels.p50.as_secs_f64() * 1e3),
    ("cancel over HTTP → answer, p99 ms", |round| round.http_cancels.p99.as_secs_f64() * 1e3),
];

impl Compared {
    /// What is said of a figure, and its median in each build.
    fn rows(&self) -> impl Iterator<Item = (&'static str, Vec<f64>)> {
        FIGURES.iter().map(|(what, figure)| {
            (
                *what,
                self.builds.iter().map(|(_, rounds)| median(rounds.iter().map(figure).collect())).collect(),
            )
        })
    }
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { starts, cancels, callers, calls, rounds } = self.plan;
        writeln!(
            f,
            "{starts} starts and {cancels} cancels by message, {callers} callers over HTTP with {calls} starts and cancels \
             each; one consumer, one producer; medians of {rounds}\n"
        )?;
        write!(f, "{:<42}", "")?;
        for (build, _) in &self.builds {
            write!(f, "{:>12}", build.name)?;
        }
        writeln!(f, "{:>10}", if self.builds.len() == 2 { "ratio" } else { "" })?;
        for (what, medians) in self.rows() {
            write!(f, "{what:<42}")?;
            for value in &medians {
                write!(f, "{value:>12.1}")?;
            }
            if let [base, own] = medians[..] {
                write!(f, "{:>10.2}", own / base)?;
            }
            writeln!(f)?;
        }
        if self.builds.len() < 2 {
            writeln!(f, "\nNothing to compare with: say BASE=COMMIT, in a clone that has its history.")?;
        }
        Ok(())
    }
}

impl Outcome for Compared {
    fn json(&self) -> Value {
        let names: Vec<_> = self.builds.iter().map(|(build, _)| &build.name).collect();
        let rows: Vec<_> =
            self.rows().map(|(what, medians)| json!({ "what": what, "medians": medians })).collect();
        json!({ "builds": names, "rounds": self.plan.rounds, "figures": rows })
    }

    fn is_good(&self) -> bool {
        true
    }
}
