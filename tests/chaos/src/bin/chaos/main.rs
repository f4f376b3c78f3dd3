//! `make chaos`: everything fails, all the time, and nothing may be lost.

use chaos::{Harmed, Plan, wreak};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use testkit::private::{Cluster, Private};
use testkit::servers::Servers;

/// Kills, freezes and cuts off consumers while tenants start and cancel jobs and the upstream misbehaves; then checks
/// that every job ended, and that nothing was lost, counted twice or left behind. The exit code is 1 if anything was.
#[derive(Debug, Parser)]
struct Arguments {
    /// Decides the faults and the commands. The same seed does the same things, at not quite the same moments.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// The longest time of faults.
    #[arg(long, default_value_t = 5.0)]
    minutes: f64,
    /// Ends after so many SIGKILLs.
    #[arg(long, default_value_t = u64::MAX, hide_default_value = true)]
    kills: u64,
    /// Starts a PostgreSQL and a RabbitMQ of its own, and restarts them too.
    #[arg(long)]
    private: bool,
    /// Starts three RabbitMQ nodes and a PostgreSQL with a synchronous standby of its own, and harms those instead of the
    /// programs, which are replaced one by one all the time. Root is needed.
    #[arg(long, conflicts_with = "private")]
    cluster: bool,
    /// Consumer processes.
    #[arg(long, default_value_t = 4)]
    consumers: usize,
    /// Producer processes.
    #[arg(long, default_value_t = 2)]
    producers: usize,
    /// Connections that jobs are started for.
    #[arg(long, default_value_t = 12)]
    connections: usize,
    /// Writes the scoreboard there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match Box::pin(play(Arguments::parse())).await {
        Ok(code) => code,
        Err(error) => benchmarks::fail(&error),
    }
}

async fn play(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let plan = Plan {
        seed: arguments.seed,
        lasts: Duration::try_from_secs_f64(arguments.minutes * 60.0)?,
        kills: arguments.kills,
        consumers: arguments.consumers.max(2),
        producers: arguments.producers.max(1),
        connections: arguments.connections.max(1),
    };
    let json = arguments.json.as_deref();
    if arguments.private {
        let wreaked = benchmarks::run_private("chaos", json, async |stage, private: &mut Private| {
            wreak(stage, plan, Harmed::Private(private)).await
        });
        return Ok(Box::pin(wreaked).await);
    }
    if arguments.cluster {
        let wreaked = benchmarks::run_cluster("chaos", json, async |stage, cluster: &mut Cluster| {
            wreak(stage, plan, Harmed::Cluster(cluster)).await
        });
        return Ok(Box::pin(wreaked).await);
    }
    let servers = Servers::from_environment()?;
    Ok(Box::pin(benchmarks::run("chaos", &servers, json, async |stage| {
        wreak(stage, plan, Harmed::Nothing).await
    }))
    .await)
}
