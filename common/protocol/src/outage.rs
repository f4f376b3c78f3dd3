//! Tells a log of an outage: at its start, at growing intervals while it lasts, and at its end.

use std::time::Duration;
use tokio::time::Instant;

/// After the first line; it doubles with each further one.
const FIRST: Duration = Duration::from_secs(5);
const LONGEST: Duration = Duration::from_secs(300);

/// What an outage is of, and how long it has lasted, if there is one.
#[derive(Debug)]
pub struct Outage {
    of: &'static str,
    lasting: Option<Lasting>,
}

#[derive(Clone, Copy, Debug)]
struct Lasting {
    since: Instant,
    told_at: Instant,
    again_after: Duration,
}

impl Outage {
    /// There is none yet. `of` begins a sentence: "the broker".
    #[must_use]
    pub const fn of(of: &'static str) -> Self {
        Self { of, lasting: None }
    }

    /// A call has failed for this reason.
    pub fn met(&mut self, error: &dyn std::fmt::Display) {
        let (of, now) = (self.of, Instant::now());
        match &mut self.lasting {
            None => {
                tracing::warn!(%error, "{of} is away; it is tried again until it is back");
                self.lasting = Some(Lasting { since: now, told_at: now, again_after: FIRST });
            }
            Some(it) if it.told_at.elapsed() >= it.again_after => {
                let seconds = it.since.elapsed().as_secs();
                tracing::warn!(%error, "{of} has been away for {seconds} s");
                (it.told_at, it.again_after) = (now, (it.again_after * 2).min(LONGEST));
            }
            Some(_) => tracing::debug!(%error, "{of} is still away"),
        }
    }

    /// It works again, or still.
    pub fn over(&mut self) {
        if let Some(it) = self.lasting.take() {
            tracing::info!("{} is back after {} s", self.of, it.since.elapsed().as_secs());
        }
    }

    /// Since when it has been away.
    #[must_use]
    pub fn since(&self) -> Option<Instant> {
        self.lasting.map(|it| it.since)
    }
}
