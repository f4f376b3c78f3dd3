//! `make random-upstreams`: upstreams of all sorts, drawn from a seed, and whether every difference is explained.

use chaos::random_upstreams::world::World;
use chaos::random_upstreams::{Plan, play};
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;
use testkit::servers::Servers;

/// Runs jobs of all modes against upstreams that are drawn from a seed: their styles, orders, caps, clamps, windows, zones,
/// lies and failures, while they change. The exit code is 1 if a difference between an upstream and the records is not
/// explained, a record is deleted that lives, or a job does not end.
#[derive(Debug, Parser)]
struct Arguments {
    /// What the upstreams are drawn from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many upstreams.
    #[arg(long, default_value_t = 2000)]
    count: u64,
    /// The number of the first one.
    #[arg(long, default_value_t = 0)]
    first: u64,
    /// Only the one with this number, and all that happened.
    #[arg(long)]
    only: Option<u64>,
    /// Only this one, as JSON, and all that happened.
    #[arg(long, value_parser = world, conflicts_with = "only")]
    world: Option<World>,
    /// How many at the same time.
    #[arg(long, default_value_t = 16)]
    at_once: usize,
    /// What fails is not made smaller.
    #[arg(long)]
    as_it_is: bool,
    /// Writes the score there, too.
    #[arg(long)]
    json: Option<PathBuf>,
}

fn world(json: &str) -> Result<World, String> {
    serde_json::from_str(json).map_err(|error| error.to_string())
}

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let servers = match Servers::from_environment() {
        Ok(servers) => servers,
        Err(error) => return benchmarks::fail(&error),
    };
    let one = arguments.only.or_else(|| arguments.world.as_ref().map(|_world| 0));
    let cases = match one {
        Some(number) => vec![number],
        None => (arguments.first..arguments.first.saturating_add(arguments.count)).collect(),
    };
    let plan = Plan {
        seed: arguments.seed,
        cases,
        world: arguments.world,
        at_once: arguments.at_once.max(1),
        shrink: !arguments.as_it_is,
        verbose: one.is_some(),
    };
    let json = arguments.json.as_deref();
    Box::pin(benchmarks::run("random_upstreams", &servers, json, async |stage| play(stage, &plan).await))
        .await
}
