//! The sections that both programs read, together, and whether they agree with each other.

use super::{
    CancelConfig, ConfigError, CredentialsConfig, DatabaseConfig, FairnessConfig, HttpConfig, LeasesConfig,
    Loaded, LogConfig, PagesConfig, ShutdownConfig, SweeperConfig,
};
use crate::amqp::AmqpConfig;
use std::time::Duration;

/// The broker takes a delivery back from a consumer that has not answered for 30 minutes (older ones: 15). A page
/// and its stint stay far below that, whatever the broker is set to.
const LONGEST_BUDGET: Duration = Duration::from_secs(5 * 60);
const LONGEST_QUANTUM: Duration = Duration::from_secs(60);

/// Every section that both programs read.
#[derive(Clone, Debug)]
#[expect(missing_docs, reason = "each field is the section of its name, documented at its type")]
pub struct Settings {
    pub database: DatabaseConfig,
    pub amqp: AmqpConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    pub pages: PagesConfig,
    pub leases: LeasesConfig,
    pub cancel: CancelConfig,
    pub sweeper: SweeperConfig,
    pub fairness: FairnessConfig,
    pub shutdown: ShutdownConfig,
    pub credentials: CredentialsConfig,
}

impl Settings {
    /// Reads every section and [checks](Settings::check) them.
    ///
    /// # Errors
    /// The first key that is wrong; or all contradictions at once.
    pub fn read(loaded: &Loaded) -> Result<Self, ConfigError> {
        let settings = Self {
            database: loaded.section("database")?,
            amqp: loaded.section("amqp")?,
            http: loaded.section("http")?,
            log: loaded.section("log")?,
            pages: loaded.section("pages")?,
            leases: loaded.section("leases")?,
            cancel: loaded.section("cancel")?,
            sweeper: loaded.section("sweeper")?,
            fairness: loaded.section("fairness")?,
            shutdown: loaded.section("shutdown")?,
            credentials: loaded.section("credentials")?,
        };
        if settings.database.url.is_empty() {
            return Err(ConfigError::missing("database.url"));
        }
        settings.check()?;
        Ok(settings)
    }

    /// Whether the values make sense together. A fleet whose leases end before they are renewed, say, would take
    /// its own pages over for ever; that must be said at start.
    ///
    /// # Errors
    /// All contradictions at once, each with the keys and values concerned.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Vec::new();
        let mut demand = |holds: bool, problem: String| {
            if !holds {
                problems.push(problem);
            }
        };
        self.check_pages(&mut demand);
        self.check_loops(&mut demand);
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Contradiction { problems }) }
    }

    fn check_pages(&self, demand: &mut impl FnMut(bool, String)) {
        let (pages, leases) = (&self.pages, &self.leases);
        demand(!leases.renew_every.is_zero(), "leases.renew_every_ms must not be 0".to_owned());
        demand(
            leases.duration >= leases.renew_every * 3,
            format!(
                "leases.duration_ms ({}) must be at least three times leases.renew_every_ms ({}), so that two lost \
                 renewals do not cost a page",
                leases.duration.as_millis(),
                leases.renew_every.as_millis()
            ),
        );
        demand(
            !pages.budget.is_zero() && pages.budget <= LONGEST_BUDGET,
            format!(
                "pages.budget_ms ({}) must be between 1 and {}: a page must end well before the broker takes its \
                 delivery back",
                pages.budget.as_millis(),
                LONGEST_BUDGET.as_millis()
            ),
        );
        demand(
            pages.quantum <= LONGEST_QUANTUM,
            format!(
                "pages.quantum_ms ({}) must be at most {}: longer stints keep a slot from other tenants",
                pages.quantum.as_millis(),
                LONGEST_QUANTUM.as_millis()
            ),
        );
        demand(pages.slots > 0, "pages.slots must be at least 1".to_owned());
        demand(pages.max_attempts > 0, "pages.max_attempts must be at least 1".to_owned());
        demand(
            pages.retry.initial <= pages.retry.max,
            "pages.retry.initial_ms must not be above pages.retry.max_ms".to_owned(),
        );
        demand(
            pages.suspect_after > 0 && pages.suspect_after < pages.deaths,
            format!(
                "pages.suspect_after ({}) must be at least 1 and below pages.deaths ({}): a page is isolated before \
                 it is given up",
                pages.suspect_after, pages.deaths
            ),
        );
    }

    fn check_loops(&self, demand: &mut impl FnMut(bool, String)) {
        let (database, sweeper) = (&self.database, &self.sweeper);
        demand(database.max_connections > 0, "database.max_connections must be at least 1".to_owned());
        demand(
            database.lock_timeout <= database.statement_timeout,
            format!(
                "database.lock_timeout_ms ({}) must not be above database.statement_timeout_ms ({}), which would \
                 always strike first",
                database.lock_timeout.as_millis(),
                database.statement_timeout.as_millis()
            ),
        );
        // Postgres reads 0 as "no limit", and a session without limits can hold locks for ever.
        for (key, limit) in [
            ("lock_timeout_ms", database.lock_timeout),
            ("statement_timeout_ms", database.statement_timeout),
            ("idle_in_transaction_timeout_ms", database.idle_in_transaction_timeout),
            ("connect_timeout_ms", database.connect_timeout),
        ] {
            demand(!limit.is_zero(), format!("database.{key} must not be 0"));
        }
        demand(self.amqp.heartbeat_seconds > 0, "amqp.heartbeat_seconds must be at least 1".to_owned());
        demand(!sweeper.every.is_zero(), "sweeper.every_ms must not be 0".to_owned());
        demand(!sweeper.marker_every.is_zero(), "sweeper.marker_every_ms must not be 0".to_owned());
        demand(sweeper.batch > 0, "sweeper.batch must be at least 1".to_owned());
        demand(
            sweeper.no_progress > self.pages.budget + self.pages.retry.max,
            format!(
                "sweeper.no_progress_ms ({}) must be above pages.budget_ms + pages.retry.max_ms ({}), or one slow \
                 page would fail its job",
                sweeper.no_progress.as_millis(),
                (self.pages.budget + self.pages.retry.max).as_millis()
            ),
        );
        demand(!self.cancel.deadline.is_zero(), "cancel.deadline_ms must not be 0".to_owned());
        demand(
            self.fairness.slices_per_tenant > 0,
            "fairness.slices_per_tenant must be at least 1".to_owned(),
        );
    }
}
