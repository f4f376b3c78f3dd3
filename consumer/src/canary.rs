//! The canary: a message that a process sends to its own queue. While it comes back the process really consumes, which
//! "connected" does not say.

use crate::outbox::Outbox;
use broker::SupervisorStatus;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Between two canaries.
const EVERY: Duration = Duration::from_secs(2);
/// A canary that is not back by then is a reason not to be ready.
const MISSING_AFTER: Duration = Duration::from_secs(6);

/// A connection over which no canary has come back for so long is built anew.
const DOUBTED_AFTER: Duration = Duration::from_secs(10);

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

    /// Sends canaries until `ended`; one more whenever `status` changes, so that a new subscription is proved at once. Where
    /// none comes back though the broker has confirmed them, the connection is doubted.
    pub async fn run(
        &self,
        outbox: Outbox,
        mut status: watch::Receiver<SupervisorStatus>,
        doubted: Arc<Notify>,
        ended: CancellationToken,
    ) {
        // The first canary to this queue that was confirmed and has not come back.
        let mut missing: Option<(Arc<str>, Instant)> = None;
        let mut ticks = tokio::time::interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
                Ok(()) = status.changed() => {}
            }
            let queue = status.borrow_and_update().process_queue.clone();
            let returned = *self.0.borrow();
            missing.take_if(|(to, sent)| Some(&*to) != queue.as_ref() || returned > Some(*sent));
            let Some(queue) = queue else { continue };
            if missing.as_ref().is_some_and(|(_, sent)| sent.elapsed() > DOUBTED_AFTER) {
                missing = None;
                doubted.notify_one();
                continue;
            }
            let sent = Instant::now();
            match outbox.canary(queue.to_string()).await {
                Ok(()) => drop(missing.get_or_insert((queue, sent))),
                Err(error) => tracing::debug!(%error, "a canary was not confirmed"),
            }
        }
    }
}
