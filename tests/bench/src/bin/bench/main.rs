//! `make bench`: how fast pages are pulled, and at what cost.

use benchmarks::throughput::{self, POSTGRES, Plan, corpus::Size};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Pulls the same pages with a loop without any queue (ideal), with a bare consumer (ref) and with Backhaul, in turn, on a
/// PostgreSQL, a RabbitMQ and an nginx of its own. Prints medians, ratios, CPU, WAL and memory, and the goals in Markdown.
///
/// A run whose records or counters are not exact ends it. Missing a goal is no failure. Ratios within a run count:
/// absolute figures drift with whatever else the machine does.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each is measured.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Jobs; each has an account of its own. At least as many as slots, to fill them.
    #[arg(long, default_value_t = 50)]
    jobs: u32,
    /// Pages of 100 records, of each job.
    #[arg(long, default_value_t = 100)]
    full_pages: u32,
    /// Pages of one record, of each job.
    #[arg(long, default_value_t = 1000)]
    thin_pages: u32,
    /// Pages in flight per consumer.
    #[arg(long, default_value_t = 50)]
    slots: usize,
    /// Tasks of the ideal loop, with a session each.
    #[arg(long, default_value_t = 8)]
    ideal_tasks: usize,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let size = |pages: u32| Size { jobs: arguments.jobs.max(1), pages: pages.max(1) };
    let plan = Plan {
        rounds: arguments.rounds.max(1),
        full: size(arguments.full_pages),
        thin: size(arguments.thin_pages),
        slots: arguments.slots.clamp(1, 200),
        ideal_tasks: arguments.ideal_tasks.clamp(1, 64),
        reference_sessions: 8,
        reference_prefetch: 40,
    };
    let measured =
        benchmarks::run_tuned("bench", &POSTGRES, arguments.json.as_deref(), async |stage, servers| {
            throughput::measure(stage, servers, plan).await
        });
    Box::pin(measured).await
}
