//! The protocol as it is, and with one thing changed.

/// What is changed in the protocol. Each but the first is a mistake that the checker must find.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Variant {
    /// Nothing.
    AsItIs,
    /// A settle asks neither for its token, nor for its page, nor whether the slice is open.
    SettleWithoutFence,
    /// A delivery is acked when its page is claimed, before anything is settled.
    AckBeforeCommit,
    /// A redelivered doorbell of a page that is settled by now is acked, as a first delivery of it is.
    StaleRedeliveryAcked,
    /// Any redelivered doorbell takes a leased slice over, not only the one that the lease answers.
    TakeoverOnAnyRedelivery,
    /// Only the newest ring of a slice may claim it.
    NewestRingOnly,
    /// The statement that releases a lease also ends the cancel, if it sees no other lease.
    CancelEndedByRelease,
    /// A start looks for an active job in one transaction and inserts its own in the next, with no lock and
    /// no unique index.
    StartReadsThenInserts,
    /// A marker counts as lost only once the queue is found empty, and none follows it until then.
    MarkerMissedInEmptyQueue,
    /// A redelivered doorbell of a closed slice without a lease is acked, and the cancel not ended.
    ClosedSliceAcked,
    /// The deletion slice of a full sync is made with the others, and walked beside them.
    DeletionWithTheWalk,
    /// A start that finds its job over makes it pending again.
    StartRevives,
    /// Whoever cannot consume a queue of commands deletes it, and declares it anew.
    RefusingQueueDeleted,
    /// Commands that are applied together are acked before their transaction is committed.
    BatchAckedBeforeCommit,
    /// No marker follows one that does not come back.
    LostMarkerAwaited,
    /// When the queue of doorbells is lost, what is ready and unleased is rung once, and nothing is rung again later.
    RungOnceWhenLost,
}
