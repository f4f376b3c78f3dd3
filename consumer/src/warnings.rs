//! Counts what jobs warn of, by kind, when they end.

use metrics::{Unit, counter, describe_counter};
use protocol::ids::JobId;
use store::Store;

const NAME: &str = "backhaul_warnings_total";

/// Says what the metric is.
pub(crate) fn describe() {
    describe_counter!(
        NAME,
        Unit::Count,
        "What ended jobs warned of, by kind: records, ids or pages that may differ from the upstream"
    );
}

/// Counts the warnings of a job that has ended.
pub(crate) async fn count(store: &Store, job: JobId) {
    match store.jobs().get(job, None).await {
        Ok(view) => {
            for warning in view.iter().flat_map(|view| &view.warnings) {
                counter!(NAME, "kind" => warning.kind.word())
                    .increment(u64::try_from(warning.count).unwrap_or_default());
            }
        }
        Err(error) => tracing::debug!(%job, %error, "the job's warnings are not counted"),
    }
}
