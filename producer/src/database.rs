//! The producer's store.

use common::config::DatabaseConfig;
use common::store::{Store, StoreError};

/// A store for this configuration. It connects at its first use; `name` is what Postgres shows for its sessions.
///
/// # Errors
/// When the address cannot be read.
pub fn open(config: &DatabaseConfig, name: &str) -> Result<Store, StoreError> {
    Store::new(config.url.expose(), name, config.max_connections, config.limits())
}
