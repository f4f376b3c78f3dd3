//! The canary: a message that a process sends to its own queue. While it comes back the process really consumes, which
//! "connected" does not say.

use crate::bell::Bell;
use common::ids::WorkerId;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Between two canaries.
const EVERY: Duration = Duration::from_secs(2);
/// A canary that is not back by then is a reason not to be ready.
const MISSING_AFTER: Duration = Duration::from_secs(6);

/// When the last canary came back. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Canary(Arc<watch::Sender<Option<Instant>>>);

impl Default for Canary {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(None)))
    }
}

impl Canary {
    /// One came back.
    pub fn returned(&self) {
        self.0.send_replace(Some(Instant::now()));
    }

    /// Whether the last one is recent.
    ///
    /// # Errors
    /// What is wrong, in words.
    pub fn check(&self) -> Result<(), String> {
        match *self.0.borrow() {
            None => Err("no canary has come back yet".to_owned()),
            Some(at) if at.elapsed() > MISSING_AFTER => {
                Err(format!("the last canary came back {} s ago", at.elapsed().as_secs()))
            }
            Some(_) => Ok(()),
        }
    }

    /// Sends canaries until `ended`; one more whenever `kick` changes, so that a new subscription is proved at once.
    pub async fn run<T>(
        &self,
        bell: Bell,
        worker: WorkerId,
        mut kick: watch::Receiver<T>,
        ended: CancellationToken,
    ) {
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
                Ok(()) = kick.changed() => {}
            }
            if let Err(error) = bell.canary(worker).await {
                tracing::debug!(%error, "a canary was not confirmed");
            }
        }
    }
}
