//! `make bench-fair`: what one tenant's flood does to another, and what a second consumer adds.

use benchmarks::{fairness, throughput::POSTGRES};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Measures on a PostgreSQL and a RabbitMQ of its own, with an upstream whose every answer takes a while. Missing a goal is
/// no failure; a broken invariant is.
#[derive(Debug, Parser)]
struct Arguments {
    /// How often each.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Slices of the flood.
    #[arg(long, default_value_t = 10_000)]
    slices: u32,
    /// Pages of the small tenant, each time.
    #[arg(long, default_value_t = 150)]
    pages: i64,
    /// Pages in flight per consumer.
    #[arg(long, default_value_t = 20)]
    slots: usize,
    /// What an answer of the upstream takes, in milliseconds.
    #[arg(long, default_value_t = 100)]
    delay_ms: u64,
    /// How long pages are counted for one consumer, and for two, in seconds.
    #[arg(long, default_value_t = 10)]
    window: u64,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = fairness::Plan {
        rounds: arguments.rounds.max(1),
        slices: arguments.slices.clamp(100, 10_000),
        pages: arguments.pages.max(20),
        slots: arguments.slots.clamp(1, 200),
        delay: Duration::from_millis(arguments.delay_ms),
        window: Duration::from_secs(arguments.window.max(1)),
    };
    let json = arguments.json.as_deref();
    let measured = benchmarks::run_tuned("bench_fair", &POSTGRES, json, async |stage, _servers| {
        fairness::measure(stage, plan).await
    });
    Box::pin(measured).await
}
