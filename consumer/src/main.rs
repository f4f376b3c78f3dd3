//! The consumer program: one process of the fleet.

use anyhow::Context;
use clap::Parser;
use configuration::{self, Settings};
use consumer::worker::Worker;
use runtime::health::Health;
use runtime::telemetry;
use std::path::PathBuf;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Where health, readiness and metrics are served if nothing else is configured.
const DEFAULT_PORT: u16 = 8081;

/// One process of the Backhaul fleet: claims pages, fetches and settles them, and obeys cancels.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    /// A TOML file; BACKHAUL_CONFIG names it otherwise. Every key can also be set as BACKHAUL__SECTION__KEY.
    #[arg(long)]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let loaded = configuration::load(arguments.config.as_deref())?;
    let settings = Settings::read(&loaded)?;
    let metrics = telemetry::init(&settings.log, "consumer")?;
    sealing::install_tls_provider();
    containment::die_of_other_panics();

    let address = settings.http.listen_or(DEFAULT_PORT);
    let listener = TcpListener::bind(address).await.with_context(|| format!("cannot listen on {address}"))?;
    let worker = Worker::new(settings)?;
    tracing::info!(worker = %worker.id(), "listening on http://{}", listener.local_addr()?);

    let shutdown = CancellationToken::new();
    tokio::spawn(until_told(shutdown.clone())?);
    worker.run(listener, Health::new(metrics), shutdown).await
}

/// SIGTERM or SIGINT begins the shutdown; a second one ends it at once.
fn until_told(shutdown: CancellationToken) -> anyhow::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        for told in 1.. {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if told > 1 {
                tracing::warn!("told twice to end; pages in flight expire by themselves");
                std::process::exit(1);
            }
            tracing::info!("ending: nothing more is taken, pages in flight finish or are handed over");
            shutdown.cancel();
        }
    })
}
