//! The trace that a command belongs to: its header `traceparent` (W3C Trace Context), carried to everything that is
//! published for it. Whoever sends a command can follow it through events, work items and replies.
//!
//! While a command is handled its trace is that of the task. Later, and in other processes, it is what the job's row says.

/// The header.
pub const HEADER: &str = "traceparent";
/// A longer one is not carried, in bytes. (The schema says the same.)
const LONGEST: usize = 255;

tokio::task_local! {
    static CURRENT: Option<String>;
}

/// Handles a command that came with this header.
pub async fn within<F: Future>(traceparent: Option<&str>, handling: F) -> F::Output {
    let carried = |trace: &&str| {
        (1..=LONGEST).contains(&trace.len()) && trace.bytes().all(|byte| (b' '..=b'~').contains(&byte))
    };
    CURRENT.scope(traceparent.filter(carried).map(ToOwned::to_owned), handling).await
}

/// The trace of the command that this task handles.
#[must_use]
pub fn current() -> Option<String> {
    CURRENT.try_with(Clone::clone).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn carried(header: Option<&str>) -> Option<String> {
        within(header, async { current() }).await
    }

    #[tokio::test]
    async fn a_command_is_handled_under_its_trace() {
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
        assert_eq!(carried(Some(trace)).await.as_deref(), Some(trace));
        assert_eq!(carried(Some(&"x".repeat(LONGEST))).await.map(|trace| trace.len()), Some(LONGEST));
        for not in [None, Some(""), Some("a\nb"), Some("ö"), Some(&*"x".repeat(LONGEST + 1))] {
            assert_eq!(carried(not).await, None, "{not:?}");
        }
        let inner = within(Some("outer"), within(None, async { current() })).await;
        assert_eq!((inner, current()), (None, None), "each command has its own, or none");
    }
}
