//! How a session of the store begins: one statement with all its settings, so that a new session costs one round trip.
//!
//! They are no start-up parameters, since a pooler between here and the server (pgbouncer in session mode) refuses those
//! that it does not know.

use super::SessionLimits;
use std::time::Duration;

/// The schema that every table, function and view is in. Statements name none: it is each session's `search_path`.
pub const SCHEMA: &str = "backhaul";

/// For a migration, which takes as long as it takes: it may rewrite a table, or wait for another process that migrates.
/// Said, not left out: a server, a database or a role may have time-outs of its own.
pub(super) const WITHOUT_TIMEOUTS: &str = "select set_config('lock_timeout', '0', false),
    set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false)";

/// Postgres gives all that a statement needed back to its allocator at the end, and glibc's gives what is more than twice
/// the largest piece so far back to the system (mallopt(3), "dynamic mmap threshold"), to be had again, and filled with
/// zeros, for the next statement: for a settle of several full pages a thirtieth of its time. After one piece of 8 MiB, a
/// session keeps up to 16 MiB. Elsewhere this does nothing.
const KEEP_MEMORY: &str = ", length(repeat(' ', 8388608))";

/// The first statement of a session. Each of its statements is planned anew each time, for the values that it is given: a
/// generic plan that was cached while a table was empty may read all of it, long after it has grown.
pub(super) fn planned_anew(limits: SessionLimits) -> Beginning {
    settings(limits, &[("plan_cache_mode", "force_custom_plan")], "")
}

/// The same, of a session that settles. Each of its statements is planned once, since planning a settle takes three times as
/// long as the settle of a small page. What makes that safe is that it never chooses to read a whole table: its statements
/// look single rows up by key, and a plan made while a table was empty does so, too.
pub(super) fn planned_once(limits: SessionLimits) -> Beginning {
    let planning = [("plan_cache_mode", "force_generic_plan"), ("enable_seqscan", "off")];
    settings(limits, &planning, KEEP_MEMORY)
}

/// The last column of a session's first statement: whether it can only read.
const READ_ONLY: &str = "pg_is_in_recovery() or current_setting('transaction_read_only') = 'on' as read_only";

/// How a session begins.
pub(super) struct Beginning {
    /// Its first statement.
    pub(super) statement: String,
    /// The settings that it makes.
    pub(super) settings: Vec<(&'static str, String)>,
}

fn settings(limits: SessionLimits, planning: &[(&'static str, &str)], rest: &str) -> Beginning {
    let millis = |limit: Duration| limit.as_millis().to_string();
    let settings = [
        ("search_path", SCHEMA.to_owned()),
        ("lock_timeout", millis(limits.lock_timeout)),
        ("statement_timeout", millis(limits.statement_timeout)),
        ("idle_in_transaction_session_timeout", millis(limits.idle_in_transaction_timeout)),
        // Every statement here is short; compiling one takes longer than running it.
        ("jit", "off".to_owned()),
    ];
    let planning = planning.iter().map(|(name, value)| (*name, (*value).to_owned()));
    let settings: Vec<_> = settings.into_iter().chain(planning).collect();
    let calls: Vec<String> =
        settings.iter().map(|(name, value)| format!("set_config('{name}', '{value}', false)")).collect();
    Beginning { statement: format!("select {}{rest}, {READ_ONLY}", calls.join(", ")), settings }
}
