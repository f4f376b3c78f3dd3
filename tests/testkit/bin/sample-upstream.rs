//! The sample upstream as a program of its own, for demos and for trying things out by hand.

use anyhow::Context;
use clap::Parser;
use configuration::LogConfig;
use std::net::SocketAddr;
use std::time::Duration;
use testkit::sample_upstream::{Limit, LimitBy, Options, SampleUpstream, TenantOptions};

/// Serves call lists as Ultravox does: GET /api/calls with the header X-API-Key.
#[derive(Debug, Parser)]
struct Arguments {
    /// Where to listen; port 0 takes a free one, and the log says which.
    #[arg(long, default_value = "127.0.0.1:8099")]
    listen: SocketAddr,
    /// How many tenants: tenant-1, tenant-2 … with the keys key-tenant-1, key-tenant-2 …
    #[arg(long, default_value_t = 3)]
    tenants: u32,
    /// Calls of each tenant.
    #[arg(long, default_value_t = 30_000)]
    calls: u64,
    /// About how long one call is, in bytes of JSON.
    #[arg(long, default_value_t = 1600)]
    record_bytes: usize,
    /// The largest page; a larger pageSize is clamped silently.
    #[arg(long, default_value_t = 100)]
    page_max: usize,
    /// Milliseconds before each answer.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// Requests per second and key beyond which the answer is 429.
    #[arg(long, conflicts_with = "limit_every")]
    limit_per_second: Option<u64>,
    /// Answers every n-th request with 429.
    #[arg(long)]
    limit_every: Option<u64>,
    /// The Retry-After of a 429.
    #[arg(long, default_value = "1")]
    retry_after: String,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    runtime::telemetry::init(&LogConfig::default(), "sample-upstream")?;

    let mut options = Options::new(TenantOptions::numbered(arguments.tenants, arguments.calls));
    options.listen = arguments.listen;
    options.count_pages = false;
    for tenant in &mut options.tenants {
        tenant.record_bytes = arguments.record_bytes;
        tracing::info!(
            tenant = tenant.name,
            calls = tenant.calls,
            "{} has the key {}",
            tenant.name,
            tenant.key
        );
    }
    options.behaviour.page_max = arguments.page_max;
    options.behaviour.delay = Duration::from_millis(arguments.delay_ms);
    let per_second = arguments.limit_per_second.map(LimitBy::PerSecond);
    options.behaviour.limit = per_second
        .or(arguments.limit_every.map(LimitBy::EveryNth))
        .map(|by| Limit { by, retry_after: Some(arguments.retry_after) });

    let upstream = SampleUpstream::start(options)
        .await
        .with_context(|| format!("cannot listen on {}: choose another --listen", arguments.listen))?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted?,
        _terminated = terminate.recv() => {}
    }
    let seen = upstream.seen();
    tracing::info!(
        requests = seen.requests,
        limited = seen.limited,
        disconnects = seen.disconnects,
        "stopped"
    );
    Ok(())
}
