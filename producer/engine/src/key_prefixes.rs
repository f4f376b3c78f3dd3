//! How the keys that are good begin. A key that begins otherwise is a guess, and costs no statement.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;
use store::{Store, StoreError};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep_until};

/// Between two looks at the database. A key that was created since the last one waits for so long at most, once.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// The first characters of every key that is not revoked, as they were a moment ago.
#[derive(Debug, Default)]
pub(super) struct KeyPrefixes {
    seen: RwLock<HashSet<String>>,
    /// When the last look began.
    looked: Mutex<Option<Instant>>,
}

impl KeyPrefixes {
    /// Whether a key begins like this. Looks again if none did: those who ask meanwhile share the look.
    pub(super) async fn contain(&self, store: &Store, prefix: &str) -> Result<bool, StoreError> {
        if self.have(prefix) {
            return Ok(true);
        }
        let asked = Instant::now();
        let mut looked = self.looked.lock().await;
        if looked.is_none_or(|at| at < asked) {
            if let Some(at) = *looked {
                sleep_until(at + LOOK_EVERY).await;
            }
            let at = Instant::now();
            let prefixes = store.tenants().key_prefixes().await?.into_iter().collect();
            *self.seen.write().unwrap_or_else(PoisonError::into_inner) = prefixes;
            *looked = Some(at);
        }
        Ok(self.have(prefix))
    }

    fn have(&self, prefix: &str) -> bool {
        self.seen.read().unwrap_or_else(PoisonError::into_inner).contains(prefix)
    }
}
