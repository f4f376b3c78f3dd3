//! What cases stand on: the upstreams, a consumer, and who sees when jobs end.

use super::upstream::Upstreams;
use super::watch::Watch;
use anyhow::{Context, Result};
use configuration::{Settings, load_from};
use consumer::worker::Worker;
use runtime::health::Health;
use runtime::telemetry::Metrics;
use sources::FetchConfig;
use stage::Stage;
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The longest time that a consumer takes to be ready, or to end.
const LONGEST: Duration = Duration::from_secs(60);

/// What cases stand on.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) stage: &'a Stage,
    pub(super) upstreams: Upstreams,
    pub(super) watch: Watch,
    /// How many runs there were, so that each has a name of its own.
    runs: AtomicU64,
}

/// A consumer in this process.
#[derive(Debug)]
pub(super) struct Consumer {
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

impl<'a> Ground<'a> {
    pub(super) async fn lay(stage: &'a Stage) -> Result<Self> {
        let (upstreams, watch) = (Upstreams::start().await?, Watch::default());
        Ok(Self { stage, upstreams, watch, runs: AtomicU64::default() })
    }

    pub(super) fn next_run(&self) -> u64 {
        self.runs.fetch_add(1, Ordering::Relaxed)
    }

    /// A consumer that waits for little: what takes a minute elsewhere takes a moment.
    pub(super) async fn consumer(&self) -> Result<Consumer> {
        let more = [
            ("BACKHAUL__DATABASE__MAX_CONNECTIONS", "8"),
            ("BACKHAUL__PAGES__SLOTS", "32"),
            ("BACKHAUL__PAGES__BUDGET_MS", "20000"),
            ("BACKHAUL__PAGES__RETRY__INITIAL_MS", "10"),
            ("BACKHAUL__PAGES__RETRY__MAX_MS", "20"),
            ("BACKHAUL__SWEEPER__EVERY_MS", "100"),
            ("BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES", "true"),
        ];
        let mut environment: HashMap<String, String> =
            more.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        for (name, value) in self.stage.variables() {
            let name = match name {
                "DATABASE_URL" => "BACKHAUL__DATABASE__URL",
                "AMQP_URL" => "BACKHAUL__AMQP__URL",
                name => name,
            };
            environment.insert(name.to_owned(), value);
        }
        let mut settings = Settings::read(&load_from(None, environment)?)?;
        settings.fetch = FetchConfig { allow_private_addresses: true, ..settings.fetch };
        let worker = Worker::new(settings)?;
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(worker.run(listener, Health::new(Metrics::detached()), shutdown.clone()));
        let ready = tokio::time::timeout(LONGEST, async {
            while !reqwest::get(format!("http://{address}/readyz")).await?.status().is_success() {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(())
        });
        ready.await.context("the consumer was never ready")??;
        Ok(Consumer { shutdown, task })
    }
}

impl Consumer {
    pub(super) async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(LONGEST, self.task).await.context("the consumer never ended")??
    }
}
