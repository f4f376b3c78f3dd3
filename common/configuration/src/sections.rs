//! One small struct per concern, each with its documented defaults. Keys that end in `_ms` are milliseconds.

use super::secret::SecretUrl;
use protocol::millis;
use protocol::retry::RetryPolicy;
use serde::{Deserialize, Deserializer, Serialize, de::Error};
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::time::Duration;

/// `[database]`: the Postgres that holds the truth.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct DatabaseConfig {
    /// Required; `DATABASE_URL` stands in for it.
    pub url: SecretUrl,
    /// Connections of the pool for pages (of a producer: for everything). Default: two per core, at most 8; more buys
    /// only latency. In a consumer, starts and cancels have one each beside it, and the sweeper has two.
    pub max_connections: u32,
    /// Longest wait for a row lock (`lock_timeout_ms`, default 5 s).
    #[serde(rename = "lock_timeout_ms", with = "millis")]
    pub lock_timeout: Duration,
    /// Longest statement (`statement_timeout_ms`, default 15 s).
    #[serde(rename = "statement_timeout_ms", with = "millis")]
    pub statement_timeout: Duration,
    /// When Postgres ends a session that sits in an open transaction, so that a frozen process's locks do not
    /// outlive its lease by much (`idle_in_transaction_timeout_ms`, default 10 s).
    #[serde(rename = "idle_in_transaction_timeout_ms", with = "millis")]
    pub idle_in_transaction_timeout: Duration,
    /// Longest wait for a connection, a new one or one of the pool (`connect_timeout_ms`, default 5 s).
    #[serde(rename = "connect_timeout_ms", with = "millis")]
    pub connect_timeout: Duration,
}

impl Default for DatabaseConfig {
    fn default() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Self {
            url: SecretUrl::default(),
            max_connections: u32::try_from(cores * 2).map_or(8, |connections| connections.min(8)),
            lock_timeout: Duration::from_secs(5),
            statement_timeout: Duration::from_secs(15),
            idle_in_transaction_timeout: Duration::from_secs(10),
            connect_timeout: Duration::from_secs(5),
        }
    }
}

/// `[http]`: the process's own listener (health, readiness, metrics; the producer's API too).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct HttpConfig {
    /// `address:port`. Default: loopback, at a port that each program chooses; port 0 takes a free one.
    #[serde(deserialize_with = "listen")]
    pub listen: Option<SocketAddr>,
    /// Connections at a time; further ones wait for their turn. Default 1000.
    pub max_connections: usize,
    /// How long a new connection may be silent, or take to send the head of a request (`head_timeout_ms`, default 30 s).
    #[serde(rename = "head_timeout_ms", with = "millis")]
    pub head_timeout: Duration,
    /// How long it is kept between requests (`keep_alive_ms`, default 125 s). Longer than proxies keep theirs to us, or they
    /// send a request just when it is closed.
    #[serde(rename = "keep_alive_ms", with = "millis")]
    pub keep_alive: Duration,
}

impl Default for HttpConfig {
    fn default() -> Self {
        let (head_timeout, keep_alive) = (Duration::from_secs(30), Duration::from_secs(125));
        Self { listen: None, max_connections: 1000, head_timeout, keep_alive }
    }
}

impl HttpConfig {
    /// The configured address, else `port` on loopback.
    #[must_use]
    pub fn listen_or(&self, port: u16) -> SocketAddr {
        self.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], port)))
    }
}

fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let text = String::deserialize(deserializer)?;
    let wanted = "expected an IP address and a port, such as 127.0.0.1:8080 or [::]:8080";
    text.parse().map(Some).map_err(|_unspecific| D::Error::custom(wanted))
}

/// `[log]`: what is written to stderr.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LogConfig {
    /// `text` (default) or `json`, one object per line.
    pub format: LogFormat,
    /// As of `tracing_subscriber::EnvFilter`: `info` or `info,consumer=debug`. Default `info,lapin=warn`.
    pub filter: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, filter: "info,lapin=warn".to_owned() }
    }
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "String", rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// For collectors.
    Json,
}

impl TryFrom<String> for LogFormat {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "text" => Ok(Self::Text),
            "json" => Ok(Self::Json),
            _ => Err("expected `text` or `json`"),
        }
    }
}

/// `[pages]`: how a consumer walks pages.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PagesConfig {
    /// Pages in flight per process, and its prefetch. Default 40.
    pub slots: u16,
    /// How long one delivery may go on with its slice's next pages while others wait for its slot (`quantum_ms`, default
    /// 250); while nobody does, eight times as long. 0 is strictly one page per message.
    #[serde(rename = "quantum_ms", with = "millis")]
    pub quantum: Duration,
    /// Longest fetch of one page (`budget_ms`, default 60 s, at most 5 minutes: far below the broker's ack time-out).
    #[serde(rename = "budget_ms", with = "millis")]
    pub budget: Duration,
    /// Attempts at a page that fails while other pages of its connection are settled, before it fails its job; pauses for a
    /// 429 are not attempts. Default 8.
    pub max_attempts: u32,
    /// How long a page is tried while the upstream fails for all pages of its connection, before it fails its job
    /// (`give_up_after_ms`, default 24 h). With 0, `max_attempts` holds for an outage, too.
    #[serde(rename = "give_up_after_ms", with = "millis")]
    pub give_up_after: Duration,
    /// Caps of the delays between those attempts (`retry.initial_ms` 500, `retry.max_ms` 60 s).
    pub retry: RetryPolicy,
    /// Deaths of workers while they held a page that make its slice a suspect. Default 2.
    pub suspect_after: u32,
    /// Deaths charged to one page that fail the job. Default 5.
    pub deaths: u32,
    /// Rows that one page of a full sync's deletion handles at most. Default 5000: a fraction of a second, for which a
    /// cancel waits.
    pub deletion_rows: u32,
}

impl Default for PagesConfig {
    fn default() -> Self {
        Self {
            slots: 40,
            quantum: Duration::from_millis(250),
            budget: Duration::from_secs(60),
            max_attempts: 8,
            give_up_after: Duration::from_secs(24 * 60 * 60),
            retry: RetryPolicy::new(Duration::from_millis(500), Duration::from_secs(60)),
            suspect_after: 2,
            deaths: 5,
            deletion_rows: 5000,
        }
    }
}

/// `[leases]`: how long a page stays with a worker that is not heard of.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeasesConfig {
    /// `duration_ms`, default 20 s.
    #[serde(rename = "duration_ms", with = "millis")]
    pub duration: Duration,
    /// `renew_every_ms`, default 5 s. A missed cancel push is seen at the next renewal at the latest.
    #[serde(rename = "renew_every_ms", with = "millis")]
    pub renew_every: Duration,
}

impl Default for LeasesConfig {
    fn default() -> Self {
        Self { duration: Duration::from_secs(20), renew_every: Duration::from_secs(5) }
    }
}

/// `[cancel]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CancelConfig {
    /// Age of a cancel request at which the sweeper makes the job cancelled with no worker's help
    /// (`deadline_ms`, default 3 minutes).
    #[serde(rename = "deadline_ms", with = "millis")]
    pub deadline: Duration,
}

impl Default for CancelConfig {
    fn default() -> Self {
        Self { deadline: Duration::from_secs(180) }
    }
}

/// `[sweeper]`: the loop that repairs what messages and workers lost.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SweeperConfig {
    /// Between two sweeps of one process (`every_ms`, default 1 s).
    #[serde(rename = "every_ms", with = "millis")]
    pub every: Duration,
    /// Between two markers of the whole fleet (`marker_every_ms`, default 10 s).
    #[serde(rename = "marker_every_ms", with = "millis")]
    pub marker_every: Duration,
    /// Age at which a start that was never confirmed is planned by the sweeper (`start_grace_ms`, default 15 s).
    #[serde(rename = "start_grace_ms", with = "millis")]
    pub start_grace: Duration,
    /// Rows that one duty touches in one sweep. Default 500.
    pub batch: u32,
}

impl Default for SweeperConfig {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(1),
            marker_every: Duration::from_secs(10),
            start_grace: Duration::from_secs(15),
            batch: 500,
        }
    }
}

/// `[jobs]`: what one job may grow to. An upstream's list that never ends would fill the database otherwise. A job that fails
/// by a limit keeps what it has, and goes on there if it is resumed.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct JobsConfig {
    /// Records, of whatever outcome. Default 1,000,000,000; 0 is no limit.
    pub max_records: u64,
    /// Settled pages. Default 100,000,000; 0 is no limit.
    pub max_pages: u64,
    /// Age since it was started (`max_age_ms`, default 90 days; 0 is no limit).
    #[serde(rename = "max_age_ms", with = "millis")]
    pub max_age: Duration,
}

impl Default for JobsConfig {
    fn default() -> Self {
        Self {
            max_records: 1_000_000_000,
            max_pages: 100_000_000,
            max_age: Duration::from_secs(90 * 24 * 3600),
        }
    }
}

/// `[fairness]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FairnessConfig {
    /// Slices of one tenant that may be rung at a time; a tenant's own row holds it, this is the value that a new
    /// tenant gets. Default 16.
    pub slices_per_tenant: u32,
}

impl Default for FairnessConfig {
    fn default() -> Self {
        Self { slices_per_tenant: 16 }
    }
}

/// `[shutdown]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ShutdownConfig {
    /// How long pages in flight may finish after SIGTERM before they are handed back (`drain_ms`, default 25 s:
    /// below the 30 s after which orchestrators usually kill).
    #[serde(rename = "drain_ms", with = "millis")]
    pub drain: Duration,
    /// How long a producer still takes requests after SIGTERM, not being ready (`grace_ms`, default 5 s): whoever sends them
    /// has to hear of it first.
    #[serde(rename = "grace_ms", with = "millis")]
    pub grace: Duration,
}

impl Default for ShutdownConfig {
    fn default() -> Self {
        Self { drain: Duration::from_secs(25), grace: Duration::from_secs(5) }
    }
}
