//! Reading what was imported.

use super::StoreError;
use crate::handles::Connections;
use futures::{Stream, TryStreamExt};
use protocol::ids::ConnectionId;

/// One stored record: its identifier at the upstream, and the hash of its content.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecordHash {
    /// The upstream's identifier.
    pub external_id: String,
    /// The hash of the content.
    pub hash: Vec<u8>,
}

impl<'a> Connections<'a> {
    /// The identity and content hash of every record of a connection, in no order: what an exactness check compares.
    pub fn record_hashes(
        self,
        connection: ConnectionId,
    ) -> impl Stream<Item = Result<RecordHash, StoreError>> + 'a {
        sqlx::query_as!(
            RecordHash,
            "select external_id, hash from records where connection_id = $1 and deleted_at is null",
            connection.0
        )
        .fetch(&self.store.pool)
        .map_err(StoreError::from)
    }
}
