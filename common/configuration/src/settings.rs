//! The sections that every program reads, together.

use super::{
    CancelConfig, ConfigError, CredentialsConfig, DatabaseConfig, FairnessConfig, FetchConfig, HttpConfig,
    JobsConfig, LeasesConfig, Loaded, LogConfig, PagesConfig, ShutdownConfig, SweeperConfig,
};
use crate::AmqpConfig;
use serde::Serialize;

/// Every section but the producer's own.
#[derive(Clone, Debug, Default, Serialize)]
#[expect(missing_docs, reason = "each field is the section of its name, documented at its type")]
pub struct Settings {
    pub database: DatabaseConfig,
    pub amqp: AmqpConfig,
    pub http: HttpConfig,
    pub log: LogConfig,
    pub pages: PagesConfig,
    pub jobs: JobsConfig,
    pub leases: LeasesConfig,
    pub cancel: CancelConfig,
    pub sweeper: SweeperConfig,
    pub fairness: FairnessConfig,
    pub shutdown: ShutdownConfig,
    pub fetch: FetchConfig,
    pub credentials: CredentialsConfig,
}

impl Settings {
    /// Reads every section and [checks](Settings::check) them.
    ///
    /// # Errors
    /// The first key that is wrong; or all contradictions at once.
    pub fn read(loaded: &Loaded) -> Result<Self, ConfigError> {
        let settings = Self::parse(loaded)?;
        if settings.database.url.is_empty() {
            return Err(ConfigError::missing("database.url"));
        }
        settings.check()?;
        Ok(settings)
    }

    /// Reads every section, without asking whether they make sense together.
    ///
    /// # Errors
    /// The first key that is wrong.
    pub fn parse(loaded: &Loaded) -> Result<Self, ConfigError> {
        Ok(Self {
            database: loaded.section("database")?,
            amqp: loaded.section("amqp")?,
            http: loaded.section("http")?,
            log: loaded.section("log")?,
            pages: loaded.section("pages")?,
            jobs: loaded.section("jobs")?,
            leases: loaded.section("leases")?,
            cancel: loaded.section("cancel")?,
            sweeper: loaded.section("sweeper")?,
            fairness: loaded.section("fairness")?,
            shutdown: loaded.section("shutdown")?,
            fetch: loaded.section("fetch")?,
            credentials: loaded.section("credentials")?,
        })
    }
}
