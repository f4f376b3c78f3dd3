//! What `make bench` measures Backhaul against; it starts this program itself. See `benchmarks::throughput::bare`.

use benchmarks::throughput::bare::{self, Task};
use benchmarks::throughput::corpus::Kind;
use clap::{Parser, ValueEnum};
use configuration::LogConfig;
use url::Url;

/// Pulls pages as a bare loop or as a bare consumer, then waits to be killed.
#[derive(Debug, Parser)]
struct Arguments {
    /// Which of the two.
    program: Program,
    /// A database with the tables.
    #[arg(long)]
    database: Url,
    /// The broker.
    #[arg(long)]
    amqp: String,
    /// Where the pages are.
    #[arg(long)]
    upstream: String,
    /// Which pages.
    #[arg(long)]
    pages: Pages,
    /// How many jobs.
    #[arg(long)]
    jobs: u32,
    /// Sessions with the database.
    #[arg(long)]
    sessions: usize,
    /// Deliveries at a time.
    #[arg(long, default_value_t = 40)]
    prefetch: u16,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Program {
    Ideal,
    Reference,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pages {
    Full,
    Thin,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    runtime::telemetry::init(&LogConfig::default(), "bench-bare")?;
    let task = Task {
        database: arguments.database,
        amqp: arguments.amqp,
        upstream: arguments.upstream,
        kind: match arguments.pages {
            Pages::Full => Kind::Full,
            Pages::Thin => Kind::Thin,
        },
        jobs: arguments.jobs,
        sessions: arguments.sessions,
        prefetch: arguments.prefetch,
    };
    match arguments.program {
        Program::Ideal => bare::ideal(task).await?,
        Program::Reference => bare::reference(task).await?,
    }
    // What it used is read before it ends.
    std::future::pending().await
}
