//! How a stint goes on after a page.

use crate::disposition::Outcome;
use store::slices::Lease;

/// What a page leads to.
pub(super) enum Step {
    /// The next page of the slice, whose lease is ours.
    Next(Lease),
    /// The end of the stint.
    End(End),
}

/// How a stint ends.
pub(super) enum End {
    /// With its doorbell.
    Over(Outcome),
    /// The page is free again and its doorbell still in hand: claim it anew.
    ClaimAgain,
}
