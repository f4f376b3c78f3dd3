//! The protocol as it is, and with one thing changed.

/// What is changed in the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Nothing.
    AsItIs,
    /// A mistake: a settle asks neither for its token, nor for its page, nor whether the slice is open.
    SettleWithoutFence,
    /// A mistake: a delivery is acked when its page is claimed, before anything is settled.
    AckBeforeCommit,
    /// A mistake: a redelivered doorbell of a page that is settled by now is acked, as a first delivery of it is.
    StaleRedeliveryAcked,
    /// A mistake: any redelivered doorbell takes a leased slice over, not only the one that the lease answers.
    TakeoverOnAnyRedelivery,
    /// A mistake: only the newest ring of a slice may claim it.
    NewestRingOnly,
    /// A mistake: the statement that releases a lease also ends the cancel, if it sees no other lease.
    CancelEndedByRelease,
    /// A mistake: a start looks for an active job in one transaction and inserts its own in the next, with no lock and
    /// no unique index.
    StartReadsThenInserts,
    /// Would lift a limit: a marker that is out is sent again, with its number, whatever waits in the queue.
    MarkerSentAgain,
    /// Would lift a limit: a redelivered doorbell that meets a closed slice without a lease ends the cancel.
    ClosedSliceEndsCancel,
}
