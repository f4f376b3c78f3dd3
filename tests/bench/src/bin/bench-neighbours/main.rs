//! `make bench-neighbours`: what one tenant's mischief costs another, beside an older build.

use benchmarks::neighbours::{self, Plan};
use benchmarks::{Build, fail, finish};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures how long ordinary things take beside what a hostile tenant does.
///
/// Each build has a PostgreSQL and a RabbitMQ of its own.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the programs of another build to compare with.
    #[arg(long)]
    base: Option<PathBuf>,
    /// What that build is called.
    #[arg(long, default_value = "base")]
    base_name: String,
    /// How often each thing is done beside each mischief.
    #[arg(long, default_value_t = 60)]
    samples: usize,
    /// How often all of it is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { base, base_name, samples, rounds, json } = Arguments::parse();
    let plan = Plan { samples: samples.max(1), rounds: rounds.max(1) };
    let builds = match Build::beside(base, &base_name) {
        Ok(builds) => builds,
        Err(error) => return fail(&error),
    };
    match Box::pin(neighbours::measure(builds, plan)).await {
        Ok(compared) => finish(&compared, json.as_deref()),
        Err(error) => fail(&error),
    }
}
