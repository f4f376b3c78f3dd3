//! What became of a published command. An upstream service would ask for a reply; a person with a database looks there.

use crate::context::Context;
use crate::failure::Failure;
use serde::de::DeserializeOwned;
use std::time::Duration;
use store::Store;
use store::commands::CommandKind;
use tokio::time::{Instant, sleep};

const LOOK_EVERY: Duration = Duration::from_millis(100);
/// How long an answer is waited for before it is said that there is none yet. Applying takes milliseconds.
const SOON: Duration = Duration::from_secs(5);

/// How long to wait for an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Patience {
    /// A few seconds; `None` if there is no answer by then.
    Short,
    /// As long as it takes, with a hint after a few seconds.
    Endless,
}

/// Waits for the answer to the command with this identifier.
pub(crate) async fn wait<T: DeserializeOwned>(
    context: &Context,
    store: &Store,
    kind: CommandKind,
    command: &str,
    patience: Patience,
) -> Result<Option<T>, Failure> {
    let mut hint_at = Some(Instant::now() + SOON);
    loop {
        if let Some(answer) = store.commands().answer(kind, command).await? {
            return Ok(Some(answer));
        }
        if hint_at.is_some_and(|at| Instant::now() >= at) {
            if patience == Patience::Short {
                return Ok(None);
            }
            hint_at = None;
            context.output.note(
                "no consumer has taken the command yet; it waits in the queue (is a consumer running?)",
            );
        }
        sleep(LOOK_EVERY).await;
    }
}
