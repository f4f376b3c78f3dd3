//! Proxies in front of the broker and the database of one process.

use super::FaultProxy;
use anyhow::{Context, Result};
use url::Url;

/// The way of one process to its servers, each through a proxy of its own.
#[derive(Debug)]
pub struct ToServers {
    /// Before the broker.
    pub broker: FaultProxy,
    /// Before Postgres.
    pub database: FaultProxy,
    /// The variables that lead a program through both.
    pub variables: Vec<(&'static str, String)>,
}

impl ToServers {
    /// Starts both proxies.
    ///
    /// # Errors
    /// When an address cannot be read, or no port is free.
    pub async fn open(amqp_url: &str, database: &Url) -> Result<Self> {
        let broker = Url::parse(amqp_url).context("AMQP_URL is not a URL")?;
        let (broker_proxy, broker) = FaultProxy::before(&broker, 5672).await?;
        let (database_proxy, mut database) = FaultProxy::before(database, 5432).await?;
        // In clear, as the proxy's address is not the certificate's.
        let others: Vec<(String, String)> = database
            .query_pairs()
            .filter(|(name, _)| name != "sslmode")
            .map(|(name, value)| (name.into(), value.into()))
            .collect();
        database.query_pairs_mut().clear().extend_pairs(others).append_pair("sslmode", "disable");
        let variables = vec![("DATABASE_URL", database.to_string()), ("AMQP_URL", broker.to_string())];
        Ok(Self { broker: broker_proxy, database: database_proxy, variables })
    }
}
