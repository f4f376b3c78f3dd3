//! Which servers a test or a program uses: those that the environment names, or private ones.

use crate::private::{PrivatePostgres, PrivateRabbit};
use anyhow::{Context, Result};
use lapin::Channel;
use lapin::options::{ExchangeDeleteOptions, QueueDeleteOptions};
use protocol::topology::Topology;
use url::Url;

/// Deletes every queue and exchange of a namespace, with all messages.
///
/// # Errors
/// When the broker refuses.
pub async fn delete_names(channel: &Channel, topology: &Topology) -> Result<()> {
    for queue in broker::queue_names(topology) {
        channel.queue_delete(queue.into(), QueueDeleteOptions::default()).await?;
    }
    for exchange in broker::exchange_names(topology) {
        channel.exchange_delete(exchange.into(), ExchangeDeleteOptions::default()).await?;
    }
    Ok(())
}

/// The addresses of a database server and of a broker.
#[derive(Clone, Debug)]
pub struct Servers {
    /// A database in which databases can be made.
    pub database: Url,
    /// The broker, with its virtual host.
    pub amqp: String,
}

impl Servers {
    /// Those that `DATABASE_URL` and `AMQP_URL` name.
    ///
    /// # Errors
    /// When a name is no address.
    pub fn from_environment() -> Result<Self> {
        let database = crate::database::database_url().parse().context("DATABASE_URL is not a URL")?;
        Ok(Self { database, amqp: crate::fixture::amqp_url() })
    }

    /// The same with a database server of one's own.
    ///
    /// # Errors
    /// None: the address is ours.
    pub fn with_postgres(self, postgres: &PrivatePostgres) -> Result<Self> {
        Ok(Self { database: postgres.url()?, ..self })
    }

    /// The same with a broker of one's own.
    #[must_use]
    pub fn with_rabbit(self, rabbit: &PrivateRabbit) -> Self {
        Self { amqp: rabbit.url(), ..self }
    }
}
