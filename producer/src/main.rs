//! The producer process: hosts the HTTP API and publishes commands. Holds no state; any number may run.

use anyhow::Context;
use broker::Publisher;
use clap::Parser;
use configuration::AmqpConfig;
use configuration::ApiConfig;
use configuration::{AuthConfig, Settings, load};
use engine::Engine;
use engine::deadline;
use identity::tokens::Tokens;
use relay::EventRelay;
use runtime::fitness::Fitness;
use runtime::health::Health;
use runtime::serve::{Leaving, serve_within};
use runtime::telemetry;
use std::path::PathBuf;
use std::sync::Arc;
use store::Store;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

const DEFAULT_PORT: u16 = 8080;
/// What the servers show for this process's connections.
const NAME: &str = "backhaul-producer";

/// Backhaul's producer: the HTTP API that starts, cancels and shows syncs.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The TOML file to read before the environment [default: the one that BACKHAUL_CONFIG names, else none]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let loaded = load(arguments.config.as_deref())?;
    let settings = Settings::read(&loaded)?;
    let api: ApiConfig = loaded.section("api")?;
    api.check().map_err(anyhow::Error::msg)?;
    let auth: AuthConfig = loaded.section("auth")?;

    let metrics = telemetry::init(&settings.log, "producer")?;
    sealing::install_tls_provider();
    let shutdown = shutdown_on_signal()?;

    let store = Store::configured(&settings.database, NAME)?;
    let fitness = Fitness::new(&settings.database, NAME, &store)?;
    // An answer waits for a confirm, so the publisher gives up after what an answer may wait.
    let amqp = AmqpConfig { publish_timeout: api.publish_wait, ..settings.amqp };
    let publisher = Publisher::start(amqp, &connection_name(), NAME);
    let tokens = Tokens::start(&auth).map_err(anyhow::Error::msg)?;
    let engine = Engine::new(store.clone(), publisher.clone())
        .with_tokens(tokens)
        .with_keyring(settings.credentials.keyring()?)
        .with_end_of_streams(shutdown.clone())
        .with_limits(api.each_caller, api.unknown_callers);
    let engine = Arc::new(engine);
    let relay = EventRelay::new(store.clone(), publisher.clone(), i64::from(settings.sweeper.batch));
    let ended = shutdown.clone();
    tokio::spawn(async move { relay.run(ended).await });
    let (deadline, every) = (settings.cancel.deadline, settings.sweeper.every);
    tokio::spawn(deadline::run(store.clone(), deadline, every, shutdown.clone()));

    // The broker is no condition: without it starts are still accepted, and cancels still hold.
    let (looking, ended) = (fitness.clone(), shutdown.clone());
    tokio::spawn(async move { looking.run(ended).await });
    let told = shutdown.clone();
    let health =
        Health::new(metrics).check("database", move || fitness.check()).check("staying", move || {
            if told.is_cancelled() { Err("this process is ending".to_owned()) } else { Ok(()) }
        });
    let router = api::router(engine, &api, health.router());

    let address = settings.http.listen_or(DEFAULT_PORT);
    let listener = TcpListener::bind(address).await.with_context(|| {
        format!("cannot listen on {address}; free the port, or set http.listen to another")
    })?;
    let leaving = Leaving { told: shutdown, grace: settings.shutdown.grace };
    serve_within((&settings.http).into(), listener, router, leaving)
        .await
        .context("the HTTP listener failed")?;

    publisher.close().await;
    store.close().await;
    tracing::info!("stopped");
    Ok(())
}

/// What the broker's console shows.
fn connection_name() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    format!("backhaul/producer host={} pid={} publishing", host.trim(), std::process::id())
}

/// A token that SIGTERM and SIGINT cancel.
fn shutdown_on_signal() -> anyhow::Result<CancellationToken> {
    let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
    let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
    let token = CancellationToken::new();
    let shutdown = token.clone();
    tokio::spawn(async move {
        let name = tokio::select! {
            _ = terminate.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        };
        tracing::info!(
            "{name}: not ready any more; requests are taken for a while, and those under way are finished"
        );
        shutdown.cancel();
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::warn!("second signal received; exiting now, requests in progress are cut off");
        std::process::exit(1);
    });
    Ok(token)
}
