//! Commands in bursts: how fast starts are applied, how long cancels and HTTP calls take when many come at once. Two builds
//! are measured beside each other, each on servers of its own; what they have in common is used, and no more.

mod burst;
mod ground;

use super::throughput::meter::median;
use super::{Build, Outcome, Series, say};
use anyhow::Result;
use ground::Ground;
use serde_json::{Value, json};
use std::fmt;

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

/// What one round measured: what is said of each figure, and the figure.
type Round = Vec<(String, f64)>;

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
            for (what, figure) in &round {
                say(format_args!("  {what:<42}{figure:>12.1}"));
            }
            rounds.push(round);
        }
    }
    Ok(compared)
}

async fn round(build: &Build, plan: Plan) -> Result<Round> {
    let most = plan.starts.max(plan.cancels).max(plan.callers * plan.calls);
    let ground = Box::pin(Ground::prepare(build, most, plan.cancels)).await?;
    let starts_per_second = burst::starts(&ground, plan.starts).await?;
    ground.deployment.end_all().await?;
    let cancels = burst::cancels(&ground, plan.cancels).await?;
    ground.deployment.end_all().await?;
    let (http_starts, http_cancels) = burst::over_http(&ground, plan).await?;
    let mut figures = vec![("starts accepted and planned, per second".to_owned(), starts_per_second)];
    for (what, times) in [
        ("cancel by message → cancelled", cancels),
        ("start over HTTP → answer", http_starts),
        ("cancel over HTTP → answer", http_cancels),
    ] {
        let times = Series::new(what, None, times);
        for percent in [50, 99] {
            let ms = times.percentile(percent).unwrap_or_default().as_secs_f64() * 1e3;
            figures.push((format!("{what}, p{percent} ms"), ms));
        }
    }
    Ok(figures)
}

impl Compared {
    /// What is said of each figure, and its median in each build.
    fn rows(&self) -> Vec<(&str, Vec<f64>)> {
        let Some(first) = self.builds.first().and_then(|(_, rounds)| rounds.first()) else {
            return Vec::new();
        };
        let medians = |place: usize| {
            let of = |rounds: &Vec<Round>| median(rounds.iter().map(|figures| figures[place].1).collect());
            self.builds.iter().map(|(_, rounds)| of(rounds)).collect()
        };
        first.iter().enumerate().map(|(place, (what, _))| (what.as_str(), medians(place))).collect()
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
        let rows: Vec<_> = self
            .rows()
            .into_iter()
            .map(|(what, medians)| json!({ "what": what, "medians": medians }))
            .collect();
        json!({ "builds": names, "rounds": self.plan.rounds, "figures": rows })
    }

    fn is_good(&self) -> bool {
        true
    }
}
