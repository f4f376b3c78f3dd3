//! The process's own HTTP endpoints: is it alive (`/healthz`), can it work (`/readyz`), what has it done (`/metrics`).
//!
//! Alive and ready are different questions. A process that cannot reach the broker is not ready, but restarting it
//! would not help, so only a loop that has stopped turning makes it not alive.

pub use crate::serve::serve;
use crate::telemetry::Metrics;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;
use tokio::time::Instant;

const EVENT_LOOP_TICK: Duration = Duration::from_secs(1);
const EVENT_LOOP_WITHIN: Duration = Duration::from_secs(10);

type Check = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// What a process says about itself: filled at start, then turned into routes.
pub struct Health {
    metrics: Metrics,
    beats: Vec<Beat>,
    checks: Vec<(&'static str, Check)>,
}

impl Health {
    /// No checks yet: ready as soon as it answers.
    #[must_use]
    pub fn new(metrics: Metrics) -> Self {
        Self { metrics, beats: Vec::new(), checks: Vec::new() }
    }

    /// Adds a condition of readiness. The closure must be quick and must not block: it looks at what other tasks
    /// keep up to date. Its error says why not, in words for an operator.
    #[must_use]
    pub fn check(
        mut self,
        name: &'static str,
        check: impl Fn() -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        self.checks.push((name, Box::new(check)));
        self
    }

    /// Adds a loop that must turn at least every `within`, or the process counts as not alive. The loop calls
    /// [`Beat::touch`]; the first turn is due `within` from now.
    pub fn beat(&mut self, name: &'static str, within: Duration) -> Beat {
        let beat = Beat { name, within, started: Instant::now(), last_ms: Arc::new(AtomicU64::new(0)) };
        self.beats.push(beat.clone());
        beat
    }

    /// `/healthz`, `/readyz` and `/metrics`. Call it inside a runtime: it starts the event loop's own beat, which
    /// ends with the router.
    pub fn router(mut self) -> Router {
        let event_loop = self.beat("event_loop", EVENT_LOOP_WITHIN);
        let health = Arc::new(self);
        tokio::spawn(tick(event_loop, Arc::downgrade(&health)));
        Router::new()
            .route("/healthz", get(healthz))
            .route("/readyz", get(readyz))
            .route("/metrics", get(render_metrics))
            .with_state(health)
    }
}

impl std::fmt::Debug for Health {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let checks: Vec<_> = self.checks.iter().map(|(name, _)| name).collect();
        f.debug_struct("Health").field("beats", &self.beats).field("checks", &checks).finish_non_exhaustive()
    }
}

/// A loop's sign of life; see [`Health::beat`].
#[derive(Clone, Debug)]
pub struct Beat {
    name: &'static str,
    within: Duration,
    started: Instant,
    last_ms: Arc<AtomicU64>,
}

impl Beat {
    /// The loop has turned once more.
    pub fn touch(&self) {
        self.last_ms.store(self.elapsed_ms(), Ordering::Relaxed);
    }

    fn elapsed_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn report(&self) -> BeatReport {
        let age_ms = self.elapsed_ms().saturating_sub(self.last_ms.load(Ordering::Relaxed));
        BeatReport { name: self.name, ok: u128::from(age_ms) <= self.within.as_millis(), age_ms }
    }
}

#[derive(Serialize)]
struct BeatReport {
    name: &'static str,
    ok: bool,
    age_ms: u64,
}

#[derive(Serialize)]
struct CheckReport {
    name: &'static str,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
}

#[derive(Serialize)]
struct Alive {
    alive: bool,
    loops: Vec<BeatReport>,
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    checks: Vec<CheckReport>,
}

async fn tick(event_loop: Beat, health: Weak<Health>) {
    let mut due = Instant::now();
    loop {
        let Some(health) = health.upgrade() else { return };
        event_loop.touch();
        metrics::gauge!("event_loop_lag_seconds").set(due.elapsed().as_secs_f64());
        health.metrics.upkeep();
        drop(health);
        due = Instant::now() + EVENT_LOOP_TICK;
        tokio::time::sleep_until(due).await;
    }
}

async fn healthz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let loops: Vec<_> = health.beats.iter().map(Beat::report).collect();
    let alive = loops.iter().all(|beat| beat.ok);
    (status(alive), Json(Alive { alive, loops }))
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let report = |(name, check): &(&'static str, Check)| {
        let why = check().err();
        CheckReport { name, ok: why.is_none(), why }
    };
    let checks: Vec<_> = health.checks.iter().map(report).collect();
    let ready = checks.iter().all(|check| check.ok);
    (status(ready), Json(Ready { ready, checks }))
}

async fn render_metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], health.metrics.render())
}

fn status(good: bool) -> StatusCode {
    if good { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;
    use tokio_util::sync::CancellationToken;

    async fn get(address: std::net::SocketAddr, path: &str) -> String {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        answer
    }

    #[tokio::test]
    async fn readiness_lists_every_check_and_says_why_not() {
        let connected = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&connected);
        let health =
            Health::new(Metrics::detached()).check("database", || Ok(())).check("broker", move || {
                seen.load(Ordering::Relaxed).then_some(()).ok_or("no canary for 4 s".into())
            });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let server = tokio::spawn(serve(listener, health.router(), shutdown.clone()));

        let answer = get(address, "/readyz").await;
        assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
        assert!(answer.ends_with(
            r#"{"ready":false,"checks":[{"name":"database","ok":true},{"name":"broker","ok":false,"why":"no canary for 4 s"}]}"#
        ), "{answer}");

        connected.store(true, Ordering::Relaxed);
        assert!(get(address, "/readyz").await.starts_with("HTTP/1.1 200"));
        assert!(get(address, "/healthz").await.contains(r#""alive":true"#));
        assert!(get(address, "/metrics").await.contains("text/plain"));

        shutdown.cancel();
        server.await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_loop_that_stops_turning_is_not_alive() {
        let mut health = Health::new(Metrics::detached());
        let beat = health.beat("renewal", Duration::from_secs(15));
        tokio::time::advance(Duration::from_secs(14)).await;
        assert!(beat.report().ok);
        beat.touch();
        tokio::time::advance(Duration::from_secs(15)).await;
        assert!(beat.report().ok);
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(!beat.report().ok);
        assert!(!health.beats[0].report().ok);
    }
}
