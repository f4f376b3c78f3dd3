//! `make bench-cancel`: how long a cancel takes, from its request to `cancelled`.

use benchmarks::cancel;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use testkit::servers::Servers;

/// Measures cancels of jobs whose pages hang upstream, with real processes, and prints p50, p99 and the longest.
///
/// Two times are given: until `finished_at` in the database, and until a poll every 2 ms saw the end. Missing a goal is
/// no failure; a broken invariant is.
#[derive(Debug, Parser)]
struct Arguments {
    /// Cancels by message, and as many over HTTP, of each of the first three kinds.
    #[arg(long, default_value_t = 200)]
    cancels: usize,
    /// Cancels of the kinds that take seconds.
    #[arg(long, default_value_t = 32)]
    slow_cancels: usize,
    /// Pages in flight per consumer; there are two.
    #[arg(long, default_value_t = 8)]
    slots: usize,
    /// The deadline of a cancel that nobody answers, in seconds.
    #[arg(long, default_value_t = 10)]
    deadline: u64,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let servers = match Servers::from_environment() {
        Ok(servers) => servers,
        Err(error) => return benchmarks::fail(&error),
    };
    let plan = cancel::Plan {
        cancels: arguments.cancels.max(1),
        slow_cancels: arguments.slow_cancels.max(1),
        slots: arguments.slots.clamp(4, 64),
        deadline: Duration::from_secs(arguments.deadline),
        renew_every: Duration::from_secs(5),
    };
    Box::pin(benchmarks::run("bench_cancel", &servers, arguments.json.as_deref(), async |stage| {
        cancel::measure(stage, plan).await
    }))
    .await
}
