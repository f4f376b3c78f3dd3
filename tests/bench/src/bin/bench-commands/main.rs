//! `make bench-commands`: commands in bursts, beside an older build.

use benchmarks::commands::{self, Plan};
use benchmarks::{Build, fail, finish};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Measures how fast starts are applied that come at once, and how long cancels and HTTP calls take.
///
/// Each build has a PostgreSQL and a RabbitMQ of its own. Figures are medians of the rounds.
#[derive(Debug, Parser)]
struct Arguments {
    /// The folder of the programs of another build to compare with.
    #[arg(long)]
    base: Option<PathBuf>,
    /// What that build is called.
    #[arg(long, default_value = "base")]
    base_name: String,
    /// Starts that are published at once.
    #[arg(long, default_value_t = 2000)]
    starts: usize,
    /// Cancels that are published at once, of jobs whose pages hang.
    #[arg(long, default_value_t = 500)]
    cancels: usize,
    /// Callers over HTTP at a time.
    #[arg(long, default_value_t = 50)]
    callers: usize,
    /// Calls of each of them.
    #[arg(long, default_value_t = 10)]
    calls: usize,
    /// How often all of it is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let Arguments { base, base_name, starts, cancels, callers, calls, rounds, json } = Arguments::parse();
    let plan = Plan { starts, cancels, callers, calls, rounds: rounds.max(1) };
    let builds = match Build::beside(base, &base_name) {
        Ok(builds) => builds,
        Err(error) => return fail(&error),
    };
    match Box::pin(commands::measure(builds, plan)).await {
        Ok(compared) => finish(&compared, json.as_deref()),
        Err(error) => fail(&error),
    }
}
