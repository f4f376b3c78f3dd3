//! What a sample upstream serves, and how it behaves unless a test scripts something else.

use super::catalogue::{self, Catalogue, Expected, Span};
use chrono::{DateTime, TimeDelta, Utc};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Where to listen, whose calls to serve, and how to begin.
#[derive(Clone, Debug)]
pub struct Options {
    /// Default `127.0.0.1:0`: a free port.
    pub listen: SocketAddr,
    /// Each has its own key and its own calls.
    pub tenants: Vec<TenantOptions>,
    /// May be changed while it runs.
    pub behaviour: Behaviour,
    /// Whether to remember how often each page was fetched. Costs memory per page, so long runs turn it off.
    pub count_pages: bool,
}

impl Options {
    /// The given tenants, served correctly and at once.
    #[must_use]
    pub fn new(tenants: impl IntoIterator<Item = TenantOptions>) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            tenants: tenants.into_iter().collect(),
            behaviour: Behaviour::default(),
            count_pages: true,
        }
    }
}

/// One tenant's calls. The same options always give the same calls, byte for byte.
#[derive(Clone, Debug)]
pub struct TenantOptions {
    /// How tests and the demo call it.
    pub name: String,
    /// What its client sends as `X-API-Key`. Default `key-{name}`.
    pub key: String,
    /// How many calls exist at first.
    pub calls: u64,
    /// Decides every field. Default: from the name.
    pub seed: u64,
    /// No call is older. Default 2025-01-01.
    pub first: DateTime<Utc>,
    /// The mean time between two calls; one call lies somewhere in each such interval. Default ten minutes.
    pub every: TimeDelta,
    /// About how long a call is as JSON. Default 1600; at least 700 or so, which the other fields need.
    pub record_bytes: usize,
}

impl TenantOptions {
    /// `tenant-1`, `tenant-2` … with so many calls each: what the program of the same name serves, so that another
    /// process can compute what to expect of it.
    #[must_use]
    pub fn numbered(tenants: u32, calls: u64) -> Vec<Self> {
        (1..=tenants).map(|number| Self::new(format!("tenant-{number}"), calls)).collect()
    }

    /// The tenant's calls in the span as they are before anybody changes them, oldest first, without a server.
    pub fn expected(&self, span: Span) -> impl Iterator<Item = Expected> + use<> {
        catalogue::expected(Arc::new(Catalogue::new(self)), span)
    }

    /// The tenant's calls as they are served, each with its id, oldest first: for whoever serves them in another way.
    pub fn texts(&self) -> impl Iterator<Item = (String, String)> + use<> {
        catalogue::served(Catalogue::new(self))
    }

    /// A tenant with `calls` calls and defaults for the rest.
    #[must_use]
    pub fn new(name: impl Into<String>, calls: u64) -> Self {
        let name = name.into();
        let seed = blake3::hash(name.as_bytes())
            .as_bytes()
            .iter()
            .take(8)
            .fold(0, |seed, byte| seed << 8 | u64::from(*byte));
        Self {
            key: format!("key-{name}"),
            calls,
            seed,
            first: DateTime::UNIX_EPOCH + TimeDelta::days(20_089),
            every: TimeDelta::minutes(10),
            record_bytes: 1600,
            name,
        }
    }
}

/// How every request is answered that no script claims.
#[derive(Clone, Debug)]
pub struct Behaviour {
    /// Records of a page when the client does not ask for a number.
    pub page_default: usize,
    /// A larger `pageSize` is clamped to this, and nothing says so.
    pub page_max: usize,
    /// What `next` is on the last page.
    pub next_at_end: NextAtEnd,
    /// What `total` says.
    pub total: Total,
    /// A deployment that knows only whole days: times of day in `fromDate` and `toDate` are cut off.
    pub whole_days: bool,
    /// Time before each answer.
    pub delay: Duration,
    /// When requests are refused with 429.
    pub limit: Option<Limit>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            page_default: 20,
            page_max: 100,
            next_at_end: NextAtEnd::Null,
            total: Total::True,
            whole_days: false,
            delay: Duration::ZERO,
            limit: None,
        }
    }
}

/// `next` on the last page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NextAtEnd {
    /// `null`.
    Null,
    /// `""`.
    Empty,
    /// No such field.
    Missing,
}

/// `total` on every page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Total {
    /// The calls that the filters select, now.
    True,
    /// No such field.
    Missing,
    /// 0, with rows present.
    Zero,
    /// One less with each request, down to 0.
    Shrinking,
}

/// When requests are refused with 429.
#[derive(Clone, Debug)]
pub struct Limit {
    /// How refused requests are chosen.
    pub by: LimitBy,
    /// The `Retry-After` header as sent: seconds, an HTTP date, nonsense; `None` sends none.
    pub retry_after: Option<String>,
}

/// How refused requests are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// Every n-th request of the whole server, counted from its start. 1 refuses all.
    EveryNth(u64),
    /// All beyond so many per key and second.
    PerSecond(u64),
}
