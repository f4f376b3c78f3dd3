//! `make bench-recovery`: how long it takes until work goes on after something broke.

use benchmarks::recovery;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use testkit::private::Private;

/// Measures recoveries with real processes, on a PostgreSQL and a RabbitMQ of its own, and prints p50, p99 and the
/// longest. Missing a goal is no failure; a broken invariant is.
#[derive(Debug, Parser)]
struct Arguments {
    /// Consumers killed with a page in hand.
    #[arg(long, default_value_t = 50)]
    kills: usize,
    /// Consumers whose machine is cut off at once, and as many whose connections to the broker alone go dead.
    #[arg(long, default_value_t = 6)]
    half_open: usize,
    /// Restarts of the broker, in good order and by SIGKILL in turn.
    #[arg(long, default_value_t = 4)]
    broker: usize,
    /// Restarts of Postgres, in good order and by SIGKILL in turn.
    #[arg(long, default_value_t = 10)]
    postgres: usize,
    /// Writes the figures there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let plan = recovery::Plan {
        kills: arguments.kills,
        half_open: arguments.half_open,
        broker: arguments.broker,
        postgres: arguments.postgres,
    };
    let json = arguments.json.as_deref();
    let measured = benchmarks::run_private("bench_recovery", json, async |stage, servers: &mut Private| {
        recovery::measure(stage, plan, servers).await
    });
    Box::pin(measured).await
}
