//! Writes down what keeps this worker from consuming, for those who ask why a job does not go on.

use broker::SupervisorStatus;
use protocol::ids::WorkerId;
use std::time::Duration;
use store::Store;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// Between two tries, while the database does not take it.
const AGAIN: Duration = Duration::from_secs(5);

/// Follows the supervisor until `ended`.
pub async fn write_down(
    store: Store,
    worker: WorkerId,
    mut status: watch::Receiver<SupervisorStatus>,
    ended: CancellationToken,
) {
    let mut written = Vec::new();
    loop {
        let now: Vec<String> =
            status.borrow_and_update().troubles.iter().map(|it| format!("{}: {}", it.of, it.words)).collect();
        let known = now == written
            || match store.workers().report_troubles(worker, &now).await {
                // A worker that is not registered yet has no row.
                Ok(found) => found,
                Err(error) => {
                    tracing::debug!(%error, "what keeps this worker from consuming was not written down yet");
                    false
                }
            };
        if known {
            written = now;
        }
        tokio::select! {
            () = ended.cancelled() => return,
            changed = status.changed(), if known => {
                if changed.is_err() {
                    return;
                }
            }
            () = tokio::time::sleep(AGAIN), if !known => {}
        }
    }
}
