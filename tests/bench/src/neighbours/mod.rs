//! What one tenant's mischief costs another: ten ordinary things, alone and beside each kind of it. Two builds are measured
//! beside each other, each on servers of its own.

mod ground;
mod mischief;
mod report;
mod things;
mod upstream;

pub use report::Compared;

use super::throughput::meter::p95;
use super::{Build, say};
use anyhow::Result;
use ground::Ground;
use mischief::Mischief;
use report::{Beside, Round};
use stage::milliseconds;
use std::sync::Arc;
use std::time::Duration;
use things::{THINGS, Times};
use tokio::time::{Instant, sleep};

/// How often each thing is done beside each mischief, and how often all of it is repeated.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each thing is done.
    pub samples: usize,
    /// Rounds; medians of their ratios are shown.
    pub rounds: usize,
}

/// From the beginning of a mischief to the first thing that is done beside it.
const UNTIL_FELT: Duration = Duration::from_secs(2);

/// Beside mischief that makes everything slow, fewer samples say enough.
const ENOUGH: Duration = Duration::from_secs(60);

/// Measures the builds in turn, round by round.
///
/// # Errors
/// When a program does not start, or a job does not end.
pub async fn measure(builds: Vec<Build>, plan: Plan) -> Result<Compared> {
    let mut compared = Compared::new(builds.iter().map(|build| build.name.clone()).collect(), plan);
    for number in 1..=plan.rounds {
        for build in &builds {
            say(format_args!("round {number} of {}: {}", plan.rounds, build.name));
            let round = Box::pin(round(build, plan)).await?;
            compared.add(&build.name, round);
        }
    }
    Ok(compared)
}

async fn round(build: &Build, plan: Plan) -> Result<Round> {
    let ground = Arc::new(Box::pin(Ground::prepare(build)).await?);
    // What is only slow the first time is not what is measured.
    sample(&ground, 3).await?;
    let mut besides = Vec::new();
    for mischief in Mischief::ALL {
        let alone = p95s(sample(&ground, plan.samples).await?);
        let doing = mischief.begin(&ground).await?;
        sleep(UNTIL_FELT).await;
        let beside = p95s(sample(&ground, plan.samples).await?);
        doing.end();
        ground.deployment.end_all().await?;
        let beside = Beside { mischief: mischief.told(), alone, beside, memory: ground.peak_memory() };
        let (thing, ratio) = beside.worst();
        say(format_args!(
            "  {:<44}{ratio:>6.2} ({thing}: {} instead of {}), {} MiB at most",
            beside.mischief,
            milliseconds(beside.beside[thing.0]),
            milliseconds(beside.alone[thing.0]),
            beside.memory >> 20
        ));
        besides.push(beside);
    }
    Ok(Round { besides })
}

async fn sample(ground: &Ground, samples: usize) -> Result<Times> {
    let (mut times, began) = (Times::default(), Instant::now());
    for _ in 0..samples {
        things::once(ground, &mut times).await?;
        if began.elapsed() > ENOUGH {
            break;
        }
    }
    Ok(times)
}

fn p95s(times: Times) -> [Duration; THINGS.len()] {
    times.0.map(p95)
}
