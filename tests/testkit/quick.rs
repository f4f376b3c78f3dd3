//! Settings of programs under test.

/// Small limits and short times, so that what takes a minute in production takes a moment; and no patience with upstreams that are
/// down, except where a test is about that.
pub(crate) const QUICK: &[(&str, &str)] = &[
    ("AMQP__RECONNECT__INITIAL_MS", "20"),
    ("AMQP__RECONNECT__MAX_MS", "200"),
    ("DATABASE__MAX_CONNECTIONS", "4"),
    ("DATABASE__CONNECT_TIMEOUT_MS", "1000"),
    ("PAGES__SLOTS", "8"),
    ("PAGES__BUDGET_MS", "10000"),
    ("PAGES__GIVE_UP_AFTER_MS", "0"),
    ("PAGES__RETRY__INITIAL_MS", "20"),
    ("PAGES__RETRY__MAX_MS", "100"),
    ("LEASES__DURATION_MS", "1500"),
    ("LEASES__RENEW_EVERY_MS", "300"),
    ("SWEEPER__EVERY_MS", "50"),
    ("SWEEPER__MARKER_EVERY_MS", "200"),
    ("SWEEPER__START_GRACE_MS", "1000"),
    ("SHUTDOWN__DRAIN_MS", "5000"),
    ("SHUTDOWN__GRACE_MS", "0"),
];
