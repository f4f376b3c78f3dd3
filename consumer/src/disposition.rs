//! From what happened to a delivery to what the broker is told. Pure, so that each line can be seen and tested.

/// What happened to a delivery of a page message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// Pages were settled, and the slice's next doorbell is confirmed (or it needs none).
    Settled,
    /// The last page of the slice is settled.
    SliceDone,
    /// Nothing to do: the message is outdated, or another worker has the page.
    Stale,
    /// The job or its connection is paused; refill rings the slice later.
    Paused,
    /// The page failed for now, and waits.
    BackedOff,
    /// The upstream asked for a pause of the whole connection.
    RateLimited,
    /// The page failed for good, and its job with it.
    JobFailed,
    /// The slice was closed by a cancel (or its lease lost) while the page was in flight.
    GivenUp,
    /// The process ends: somebody else is to have the page, at once.
    HandedBack,
    /// Its handler panicked: the page is charged with it, and waits.
    Panicked,
    /// Pages were settled, but the next doorbell is not confirmed: this message must not be forgotten yet.
    Unrung,
    /// The database is away.
    Unavailable,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Disposition {
    /// The broker forgets it.
    Ack,
    /// Kept unsettled until the database is back, then handled again as if redelivered.
    Hold,
    /// Back to the queue, for whoever is free. Only at a hand-back: never in a loop.
    Requeue,
    /// To the dead-letter queue, with the reason, then acked.
    DeadLetter,
}

impl Outcome {
    /// What becomes of the delivery.
    #[must_use]
    pub const fn disposition(self) -> Disposition {
        match self {
            Self::Settled
            | Self::SliceDone
            | Self::Stale
            | Self::Paused
            | Self::BackedOff
            | Self::RateLimited
            | Self::JobFailed
            | Self::GivenUp
            | Self::Panicked => Disposition::Ack,
            Self::HandedBack | Self::Unrung => Disposition::Requeue,
            Self::Unavailable => Disposition::Hold,
        }
    }

    /// The word for metrics.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Settled => "settled",
            Self::SliceDone => "slice_done",
            Self::Stale => "stale",
            Self::Paused => "paused",
            Self::BackedOff => "backed_off",
            Self::RateLimited => "rate_limited",
            Self::JobFailed => "job_failed",
            Self::GivenUp => "given_up",
            Self::HandedBack => "handed_back",
            Self::Panicked => "panicked",
            Self::Unrung => "unrung",
            Self::Unavailable => "unavailable",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_acked_that_somebody_still_has_to_do() {
        for outcome in [Outcome::HandedBack, Outcome::Unrung, Outcome::Unavailable] {
            assert_ne!(outcome.disposition(), Disposition::Ack, "{outcome:?}");
        }
    }
}
