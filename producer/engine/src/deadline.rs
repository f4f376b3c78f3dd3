//! The deadline of a cancel holds with no consumer alive: every producer ends overdue cancels too. Idempotent, so any number
//! of producers and consumers may do it.

use runtime::telemetry::{CancelEnd, cancel_ended};
use runtime::warn_unless_outage;
use std::time::Duration;
use store::{Store, StoreError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

/// How many cancels are looked at in one turn.
const BATCH: i64 = 500;

/// Ends cancels that have lost their last lease, or whose deadline has passed, until `ended`.
pub async fn run(store: Store, deadline: Duration, every: Duration, ended: CancellationToken) {
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut failing = false;
    loop {
        tokio::select! {
            () = ended.cancelled() => return,
            _ = ticks.tick() => {}
        }
        let result = sweep(&store, deadline).await;
        if let Err(error) = &result
            && !failing
        {
            warn_unless_outage!(error, "overdue cancels could not be looked for; it is tried again");
        }
        failing = result.is_err();
    }
}

async fn sweep(store: &Store, deadline: Duration) -> Result<(), StoreError> {
    for due in store.sweeps().cancels_due(deadline, BATCH).await? {
        if !due.overdue {
            if let Some(took) = store.jobs().end_cancel(due.job).await? {
                cancel_ended(CancelEnd::Released, took);
            }
        } else if let Some(took) = store.jobs().force_cancel(due.job).await? {
            cancel_ended(CancelEnd::Forced, took);
            tracing::warn!(job = %due.job, "nobody answered a cancel in time; the job is cancelled all the same");
        }
    }
    Ok(())
}
