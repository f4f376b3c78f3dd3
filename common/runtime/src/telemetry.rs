//! Logs and metrics: what a process installs once, before anything else.

use configuration::{LogConfig, LogFormat};
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use std::time::Duration;
use tracing_subscriber::EnvFilter;

/// Buckets of histograms whose names end in `_seconds`: from a claim (1 ms) to a page's longest budget.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];
/// Buckets of histograms whose names end in `_bytes`: 1 KiB to 64 MiB.
const BYTES: &[f64] =
    &[1024.0, 8192.0, 32768.0, 131_072.0, 524_288.0, 2_097_152.0, 8_388_608.0, 33_554_432.0, 67_108_864.0];
/// Buckets of every other histogram: counts of something.
const COUNTS: &[f64] = &[0.0, 1.0, 2.0, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 1000.0];

/// Why a process cannot report about itself.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// `log.filter` cannot be read.
    #[error("`log.filter` is {filter:?}: {reason}; write it like `info` or `info,consumer=debug`")]
    Filter {
        /// As configured.
        filter: String,
        /// As the parser says it.
        reason: String,
    },
    /// The global logger was there already: [`init`] was called twice, or a library installed its own.
    #[error("a logger is installed already: {0}")]
    Logger(String),
    /// The metrics recorder cannot be built or was there already.
    #[error("the metrics recorder cannot be installed: {0}")]
    Metrics(#[from] metrics_exporter_prometheus::BuildError),
}

/// What the process has counted. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Metrics(PrometheusHandle);

impl Metrics {
    /// A recorder of its own that nothing writes to: for programs and tests that serve health without telemetry.
    #[must_use]
    pub fn detached() -> Self {
        Self(PrometheusBuilder::new().build_recorder().handle())
    }

    /// Everything, in Prometheus's text format.
    #[must_use]
    pub fn render(&self) -> String {
        self.0.render()
    }

    /// Folds histogram samples into their buckets. Must be called every few seconds, or they pile up in memory
    /// whenever nobody scrapes; [`Health::router`](crate::health::Health::router) does it.
    pub fn upkeep(&self) {
        self.0.run_upkeep();
    }
}

/// Installs the global logger (to stderr) and the global metrics recorder, whose series all carry `service`.
///
/// # Errors
/// When the filter cannot be read, or either is installed already.
pub fn init(config: &LogConfig, service: &str) -> Result<Metrics, TelemetryError> {
    let filter = EnvFilter::try_new(&config.filter).map_err(|error| TelemetryError::Filter {
        filter: config.filter.clone(),
        reason: error.to_string(),
    })?;
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    let installed = match config.format {
        LogFormat::Text => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        LogFormat::Json => lines.json().flatten_event(true).try_init(),
    };
    installed.map_err(|error| TelemetryError::Logger(error.to_string()))?;

    let metrics = recorder(service)?.install_recorder()?;
    tracing::info!(
        service,
        version = env!("CARGO_PKG_VERSION"),
        pid = std::process::id(),
        "starting {service}"
    );
    Ok(Metrics(metrics))
}

fn recorder(service: &str) -> Result<PrometheusBuilder, TelemetryError> {
    Ok(PrometheusBuilder::new()
        .add_global_label("service", service)
        .set_buckets(COUNTS)?
        .set_buckets_for_metric(Matcher::Suffix("_seconds".to_owned()), SECONDS)?
        .set_buckets_for_metric(Matcher::Suffix("_bytes".to_owned()), BYTES)?)
}

/// How a cancel came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CancelEnd {
    /// Nothing was in flight: the request itself ended the job.
    AtOnce,
    /// The last page in flight was released, or its lease expired.
    Released,
    /// Nobody answered before the deadline.
    Forced,
}

/// Counts a cancel that has ended, by the time between its request and its end as Postgres has both: `job_cancel_seconds`.
pub fn cancel_ended(how: CancelEnd, took: Duration) {
    let how = match how {
        CancelEnd::AtOnce => "at_once",
        CancelEnd::Released => "released",
        CancelEnd::Forced => "forced",
    };
    metrics::histogram!("job_cancel_seconds", "ended" => how).record(took.as_secs_f64());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn histograms_have_buckets_and_the_service_label() {
        let recorder = recorder("consumer").unwrap().build_recorder();
        let metrics = Metrics(recorder.handle());
        metrics::with_local_recorder(&recorder, || {
            metrics::histogram!("page_fetch_seconds").record(0.02);
            metrics::histogram!("page_bytes").record(162_000.0);
        });
        metrics.upkeep();
        let text = metrics.render();
        assert!(text.contains(r#"page_fetch_seconds_bucket{service="consumer",le="0.025"} 1"#), "{text}");
        assert!(text.contains(r#"page_bytes_bucket{service="consumer",le="131072"} 0"#), "{text}");
    }

    #[test]
    fn a_bad_filter_is_named() {
        let config = LogConfig { filter: "info,=".to_owned(), ..LogConfig::default() };
        let error = init(&config, "test").err().unwrap().to_string();
        assert!(error.starts_with("`log.filter` is \"info,=\": "), "{error}");
    }
}
