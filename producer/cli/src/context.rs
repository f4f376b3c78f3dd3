//! What every action needs: the configuration, and from it a store or a publisher when the action asks for one.

use crate::failure::Failure;
use crate::output::Output;
use broker::{Publisher, connect};
use configuration::AmqpConfig;
use configuration::{CredentialsConfig, DatabaseConfig, Loaded, LogConfig, load};
use engine::Engine;
use protocol::ids::ConnectionId;
use runtime::telemetry;
use sealing::Keyring;
use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;
use store::jobs::JobView;
use store::tenants::Tenant;
use store::{Store, StoreError};

/// A person waits: rather an error soon than a success late.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the broker is waited for, when what it would be told happens without it too.
const HINT_TIMEOUT: Duration = Duration::from_secs(2);
const NAME: &str = "backhaul-cli";

#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) output: Output,
    loaded: Loaded,
}

impl Context {
    pub(crate) fn load(config: Option<&Path>, verbose: u8, output: Output) -> Result<Self, Failure> {
        let loaded = load(config)?;
        let mut log: LogConfig = loaded.section("log")?;
        // What matters is said as the result of the action; the log is for finding out why.
        match verbose {
            0 => "off".clone_into(&mut log.filter),
            1 => {}
            _ => "debug,lapin=info,sqlx=info".clone_into(&mut log.filter),
        }
        telemetry::init(&log, NAME).map_err(|error| Failure::Refused(error.to_string()))?;
        sealing::install_tls_provider();
        Ok(Self { output, loaded })
    }

    /// The same failure, with the address of the database if it is about reaching it.
    pub(crate) fn locate(&self, failure: Failure) -> Failure {
        match (failure, self.loaded.section::<DatabaseConfig>("database")) {
            (Failure::Store(error @ (StoreError::Unavailable(_) | StoreError::Admission(_))), Ok(config)) => {
                Failure::Database(error, config.url.to_string())
            }
            (failure, _) => failure,
        }
    }

    pub(crate) const fn loaded(&self) -> &Loaded {
        &self.loaded
    }

    /// The keys that seal and open credentials.
    pub(crate) fn keyring(&self) -> Result<Keyring, Failure> {
        let config: CredentialsConfig = self.loaded.section("credentials")?;
        config.keyring().map_err(|error| Failure::Refused(error.to_string()))
    }

    /// The store.
    pub(crate) fn store(&self) -> Result<Store, Failure> {
        let store = self.store_if_configured()?;
        store.ok_or_else(|| {
            Failure::Refused(
                "no database is configured: set DATABASE_URL to postgres://user:password@host:port/database, or `url` \
                 under [database] in the configuration file"
                    .to_owned(),
            )
        })
    }

    /// The store, unless the configuration names none: publishing alone needs no database.
    pub(crate) fn store_if_configured(&self) -> Result<Option<Store>, Failure> {
        let config: DatabaseConfig = self.loaded.section("database")?;
        if config.url.is_empty() {
            return Ok(None);
        }
        Ok(Some(Store::configured(&DatabaseConfig { max_connections: 2, ..config }, NAME)?))
    }

    /// A publisher whose broker answers.
    pub(crate) async fn publisher(&self) -> Result<Publisher, Failure> {
        let config: AmqpConfig = self.loaded.section("amqp")?;
        let config = AmqpConfig { publish_timeout: config.publish_timeout.min(PUBLISH_TIMEOUT), ..config };
        // The publisher would go on trying; a person wants to know at once why it cannot connect.
        let name = format!("backhaul/cli pid={}", std::process::id());
        let failed = |error| Failure::Broker(error, config.shown());
        let probe = connect(&config, &name).await.map_err(failed)?;
        let there =
            broker::is_declared(&config.topology(), &probe, config.call_timeout).await.map_err(failed)?;
        // A broker that does not answer this is not waited for.
        let closed = tokio::time::timeout(config.call_timeout, probe.close(200, "reachable".into())).await;
        if !matches!(closed, Ok(Ok(()))) {
            tracing::debug!("the probing connection did not close in order");
        }
        if !there {
            return Err(Failure::Refused(format!(
                "the broker at {} has nothing of the namespace {:?}; nothing was published. Set BACKHAUL__AMQP__NAMESPACE to the \
                 one of your consumers; a new one is made when its first consumer starts",
                config.shown(),
                config.namespace
            )));
        }
        Ok(Publisher::start_undeclared(config, &name, NAME))
    }

    /// The engine, for what is done in the database. What it publishes only makes things happen sooner, so a broker that
    /// is away is no failure. The publisher is to be closed in the end.
    pub(crate) fn engine(&self, store: &Store) -> Result<(Engine, Publisher), Failure> {
        let config: AmqpConfig = self.loaded.section("amqp")?;
        let config = AmqpConfig { publish_timeout: config.publish_timeout.min(HINT_TIMEOUT), ..config };
        let name = format!("backhaul/cli pid={}", std::process::id());
        let publisher = Publisher::start_undeclared(config, &name, NAME);
        Ok((Engine::new(store.clone(), publisher.clone()), publisher))
    }

    /// The tenant of this name or identifier.
    pub(crate) async fn tenant(&self, store: &Store, given: &str) -> Result<Tenant, Failure> {
        let tenants = store.tenants().list().await?;
        let found = tenants.into_iter().find(|tenant| tenant.name == given || tenant.id.to_string() == given);
        found.ok_or_else(|| {
            Failure::Refused(format!("there is no tenant {given:?}; `backhaul admin tenant list` shows them"))
        })
    }
}

/// Names of connections, for people.
#[derive(Debug)]
pub(crate) struct Names {
    connections: HashMap<ConnectionId, String>,
}

impl Names {
    pub(crate) async fn read(store: &Store) -> Result<Self, Failure> {
        let tenants: HashMap<_, _> =
            store.tenants().list().await?.into_iter().map(|tenant| (tenant.id, tenant.name)).collect();
        let connections = store.connections().list(None).await?.into_iter();
        let named = connections.map(|connection| {
            let tenant = tenants.get(&connection.tenant_id).map_or("?", String::as_str);
            (connection.id, format!("{tenant}/{}", connection.name))
        });
        Ok(Self { connections: named.collect() })
    }

    /// `tenant/connection` of a job.
    pub(crate) fn of(&self, job: &JobView) -> String {
        self.connections.get(&job.connection).cloned().unwrap_or_else(|| job.connection.to_string())
    }

    /// Whether there is such a connection.
    pub(crate) fn has(&self, connection: ConnectionId) -> bool {
        self.connections.contains_key(&connection)
    }
}
