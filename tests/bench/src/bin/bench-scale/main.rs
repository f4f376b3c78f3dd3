//! `make bench-scale`: millions of records on one machine.

use benchmarks::scale;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

/// Pulls many small records on a PostgreSQL and a RabbitMQ of its own, asks the HTTP API meanwhile, and looks at the tables
/// at the end. Missing a goal is no failure; a broken invariant, or a missing record, is.
#[derive(Debug, Parser)]
struct Arguments {
    /// How many records. Ten million need some 25 GB of disk.
    #[arg(long, default_value_t = 10_000_000)]
    records: u64,
    /// Of how many tenants, with a connection each.
    #[arg(long, default_value_t = 8)]
    connections: u32,
    /// Consumers.
    #[arg(long, default_value_t = 2)]
    consumers: usize,
    /// Jobs that are over, in the table beside those that run.
    #[arg(long, default_value_t = 10_000)]
    old_jobs: u32,
    /// Pulls the same again and again after that, for so many minutes.
    #[arg(long)]
    soak: Option<f64>,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let soak = arguments.soak.map(|minutes| Duration::try_from_secs_f64(minutes * 60.0)).transpose();
    let soak = match soak {
        Ok(soak) => soak,
        Err(error) => return benchmarks::fail(&anyhow::Error::new(error).context("--soak is in minutes")),
    };
    let connections = arguments.connections.clamp(1, 64);
    let plan = scale::Plan {
        records: arguments.records.max(u64::from(connections) * 1000),
        connections,
        consumers: arguments.consumers.clamp(1, 16),
        old_jobs: arguments.old_jobs.max(1),
        soak,
    };
    let json = arguments.json.as_deref();
    let measured = benchmarks::run_tuned("bench_scale", &scale::POSTGRES, json, async |stage, _servers| {
        scale::measure(stage, plan).await
    });
    Box::pin(measured).await
}
