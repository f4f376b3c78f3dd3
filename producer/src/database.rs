//! The producer's store, and whether it can be used at this moment.

use common::config::DatabaseConfig;
use common::ids::JobId;
use common::store::{SessionLimits, Store, StoreError};
use std::time::Duration;
use tokio::sync::watch;
use uuid::Uuid;

const LOOK_EVERY: Duration = Duration::from_secs(1);

/// A store for this configuration. It connects at its first use; `name` is what Postgres shows for its sessions.
///
/// # Errors
/// When the address cannot be read.
pub fn open(config: &DatabaseConfig, name: &str) -> Result<Store, StoreError> {
    let limits = SessionLimits {
        lock_timeout: config.lock_timeout,
        statement_timeout: config.statement_timeout,
        idle_in_transaction_timeout: config.idle_in_transaction_timeout,
        acquire_timeout: config.connect_timeout,
    };
    Store::new(config.url.expose(), name, config.max_connections, limits)
}

/// Looks at the database once a second, for the readiness check.
#[derive(Clone, Debug)]
pub struct DatabaseWatch(watch::Receiver<Result<(), String>>);

impl DatabaseWatch {
    /// Starts looking, until the last clone is dropped.
    #[must_use]
    pub fn start(store: Store) -> Self {
        let (sender, receiver) = watch::channel(Err("the database has not been asked yet".to_owned()));
        tokio::spawn(async move {
            while !sender.is_closed() {
                // Reading a job that does not exist shows more than a ping would: that the schema is there and fits.
                let seen = store.job(JobId(Uuid::nil()), None).await;
                drop(sender.send_replace(seen.map(drop).map_err(|error| error.to_string())));
                tokio::time::sleep(LOOK_EVERY).await;
            }
        });
        Self(receiver)
    }

    /// Whether the last look went well, and if not, why.
    ///
    /// # Errors
    /// What the database said.
    pub fn check(&self) -> Result<(), String> {
        self.0.borrow().clone()
    }
}
