//! Whether the values agree with each other: what is fine alone can be wrong together, and must be said at start.

use super::{ConfigError, Settings};
use protocol::topology::NAMESPACE_LIMIT;
use std::time::Duration;

/// The broker takes a delivery back from a consumer that has not answered for 30 minutes (older ones: 15). A page
/// and its stint stay far below that, whatever the broker is set to.
const LONGEST_BUDGET: Duration = Duration::from_secs(5 * 60);
const LONGEST_QUANTUM: Duration = Duration::from_secs(60);
const MOST_DELETION_ROWS: u32 = 50_000;
/// As a tenant's row accepts it.
const MOST_SLICES: u32 = 10_000;

/// Collects what does not hold.
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, problem: impl FnOnce() -> String) {
        if !holds {
            self.0.push(problem());
        }
    }

    /// `left` and `right` are keys with their values, `why` ends the sentence.
    fn unless_at_most(&mut self, left: (&str, Duration), right: (&str, Duration), why: &str) {
        let ((left, this), (right, that)) = (left, right);
        self.unless(this <= that, || {
            format!("{left} ({}) must not be above {right} ({}){why}", this.as_millis(), that.as_millis())
        });
    }

    fn if_zero(&mut self, key: &str, zero: bool) {
        self.unless(!zero, || format!("{key} must not be 0"));
    }
}

impl Settings {
    /// Whether the values make sense together. A fleet whose leases end before they are renewed, say, would take
    /// its own pages over for ever; that must be said at start.
    ///
    /// # Errors
    /// All contradictions at once, each with the keys and values concerned.
    pub fn check(&self) -> Result<(), ConfigError> {
        let mut problems = Problems(Vec::new());
        self.check_pages(&mut problems);
        self.check_repairs(&mut problems);
        self.check_services(&mut problems);
        let Problems(problems) = problems;
        if problems.is_empty() { Ok(()) } else { Err(ConfigError::Contradiction { problems }) }
    }

    fn check_pages(&self, problems: &mut Problems) {
        let (pages, leases) = (&self.pages, &self.leases);
        problems.if_zero("leases.renew_every_ms", leases.renew_every.is_zero());
        problems.unless(leases.duration >= leases.renew_every * 3, || {
            format!(
                "leases.duration_ms ({}) must be at least three times leases.renew_every_ms ({}), so that two lost \
                 renewals do not cost a page",
                leases.duration.as_millis(),
                leases.renew_every.as_millis()
            )
        });
        problems.unless(!pages.budget.is_zero() && pages.budget <= LONGEST_BUDGET, || {
            format!(
                "pages.budget_ms ({}) must be between 1 and {}: a page must end well before the broker takes its \
                 delivery back",
                pages.budget.as_millis(),
                LONGEST_BUDGET.as_millis()
            )
        });
        problems.unless(pages.quantum <= LONGEST_QUANTUM, || {
            format!(
                "pages.quantum_ms ({}) must be at most {}: longer stints keep a slot from other tenants",
                pages.quantum.as_millis(),
                LONGEST_QUANTUM.as_millis()
            )
        });
        problems.if_zero("pages.slots", pages.slots == 0);
        problems.if_zero("pages.max_attempts", pages.max_attempts == 0);
        problems.unless((1..=MOST_DELETION_ROWS).contains(&pages.deletion_rows), || {
            format!(
                "pages.deletion_rows ({}) must be between 1 and {MOST_DELETION_ROWS}: a cancel waits for a page of a deletion",
                pages.deletion_rows
            )
        });
        let (initial, max) = (pages.retry.initial, pages.retry.max);
        problems.unless_at_most(("pages.retry.initial_ms", initial), ("pages.retry.max_ms", max), "");
        problems.unless(pages.suspect_after > 0 && pages.suspect_after < pages.deaths, || {
            format!(
                "pages.suspect_after ({}) must be at least 1 and below pages.deaths ({}): a page is isolated before \
                 it is given up",
                pages.suspect_after, pages.deaths
            )
        });
        let connect = ("fetch.connect_timeout_ms", self.fetch.connect_timeout);
        problems.unless_at_most(
            connect,
            ("pages.budget_ms", pages.budget),
            ", which would always strike first",
        );
        if let Err(problem) = self.fetch.check(usize::from(pages.slots)) {
            problems.0.push(problem);
        }
        problems.unless((1..=MOST_SLICES).contains(&self.fairness.slices_per_tenant), || {
            format!(
                "fairness.slices_per_tenant ({}) must be between 1 and {MOST_SLICES}",
                self.fairness.slices_per_tenant
            )
        });
    }

    fn check_repairs(&self, problems: &mut Problems) {
        let (sweeper, leases) = (&self.sweeper, &self.leases);
        problems.if_zero("sweeper.every_ms", sweeper.every.is_zero());
        problems.if_zero("sweeper.marker_every_ms", sweeper.marker_every.is_zero());
        problems.if_zero("sweeper.batch", sweeper.batch == 0);
        let every = ("sweeper.every_ms", sweeper.every);
        let why = ", or the pages of a lost worker wait for a sweep long after their leases have expired";
        problems.unless_at_most(every, ("leases.duration_ms", leases.duration), why);
        let why = ", since markers are sent by sweeps";
        problems.unless_at_most(every, ("sweeper.marker_every_ms", sweeper.marker_every), why);
        problems.unless(self.cancel.deadline > leases.renew_every, || {
            format!(
                "cancel.deadline_ms ({}) must be above leases.renew_every_ms ({}), or a cancel is forced before a worker \
                 that missed its push can see it",
                self.cancel.deadline.as_millis(),
                leases.renew_every.as_millis()
            )
        });
        problems.unless(!self.shutdown.drain.is_zero(), || {
            "shutdown.drain_ms must not be 0: handing pages back takes a moment".to_owned()
        });
    }

    fn check_services(&self, problems: &mut Problems) {
        let (database, amqp) = (&self.database, &self.amqp);
        problems.if_zero("database.max_connections", database.max_connections == 0);
        problems.if_zero("http.max_connections", self.http.max_connections == 0);
        problems.if_zero("http.head_timeout_ms", self.http.head_timeout.is_zero());
        problems.if_zero("http.keep_alive_ms", self.http.keep_alive.is_zero());
        let lock = ("database.lock_timeout_ms", database.lock_timeout);
        let statement = ("database.statement_timeout_ms", database.statement_timeout);
        problems.unless_at_most(lock, statement, ", which would always strike first");
        // Postgres reads 0 as "no limit", and a session without limits can hold locks for ever.
        for (key, limit) in [
            lock,
            statement,
            ("database.idle_in_transaction_timeout_ms", database.idle_in_transaction_timeout),
            ("database.connect_timeout_ms", database.connect_timeout),
            ("amqp.call_timeout_ms", amqp.call_timeout),
            ("amqp.publish_timeout_ms", amqp.publish_timeout),
            ("amqp.renew_idle_after_ms", amqp.renew_idle_after),
        ] {
            problems.if_zero(key, limit.is_zero());
        }
        problems.if_zero("amqp.heartbeat_seconds", amqp.heartbeat_seconds == 0);
        let (initial, max) = (amqp.reconnect.initial, amqp.reconnect.max);
        problems.unless_at_most(("amqp.reconnect.initial_ms", initial), ("amqp.reconnect.max_ms", max), "");
        problems.unless((1..=NAMESPACE_LIMIT).contains(&amqp.namespace.len()), || {
            format!("amqp.namespace has {} bytes; it must have 1 to {NAMESPACE_LIMIT}", amqp.namespace.len())
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One change that is refused, and what the refusal must name.
    type Refusal = (fn(&mut Settings), &'static [&'static str]);

    const MS: fn(u64) -> Duration = Duration::from_millis;

    #[test]
    fn the_defaults_agree() {
        Settings::default().check().unwrap();
    }

    #[test]
    fn what_is_at_a_limit_is_accepted() {
        let changes: &[fn(&mut Settings)] = &[
            |it| it.leases.duration = it.leases.renew_every * 3,
            |it| it.pages.budget = LONGEST_BUDGET,
            |it| it.pages.budget = it.fetch.connect_timeout,
            |it| it.pages.quantum = LONGEST_QUANTUM,
            |it| it.pages.quantum = MS(0),
            |it| it.pages.slots = 1,
            |it| it.pages.retry.initial = it.pages.retry.max,
            |it| (it.pages.suspect_after, it.pages.deaths) = (1, 2),
            |it| it.fairness.slices_per_tenant = 1,
            |it| it.fairness.slices_per_tenant = MOST_SLICES,
            |it| it.sweeper.every = it.sweeper.marker_every,
            |it| it.cancel.deadline = it.leases.renew_every + MS(1),
            |it| it.database.lock_timeout = it.database.statement_timeout,
            |it| it.amqp.reconnect.initial = it.amqp.reconnect.max,
            |it| it.amqp.namespace = "x".into(),
            |it| it.amqp.namespace = "x".repeat(NAMESPACE_LIMIT),
            |it| it.http.max_connections = 1,
        ];
        for (number, change) in changes.iter().enumerate() {
            let mut settings = Settings::default();
            change(&mut settings);
            settings.check().unwrap_or_else(|refused| panic!("change {number}: {refused}"));
        }
    }

    #[test]
    fn every_contradiction_is_refused_by_the_names_of_its_keys() {
        let refusals: &[Refusal] = &[
            (|it| it.leases.renew_every = MS(0), &["leases.renew_every_ms"]),
            (
                |it| it.leases.duration = MS(14_999),
                &["leases.duration_ms (14999)", "leases.renew_every_ms (5000)"],
            ),
            (|it| it.pages.budget = MS(300_001), &["pages.budget_ms (300001)", "takes its delivery back"]),
            (|it| it.pages.budget = MS(0), &["pages.budget_ms (0)"]),
            (|it| it.pages.quantum = MS(60_001), &["pages.quantum_ms (60001)"]),
            (|it| it.pages.slots = 0, &["pages.slots"]),
            (|it| it.pages.max_attempts = 0, &["pages.max_attempts"]),
            (|it| it.pages.deletion_rows = 0, &["pages.deletion_rows (0)"]),
            (|it| it.pages.deletion_rows = 50_001, &["pages.deletion_rows (50001)"]),
            (
                |it| it.pages.retry.initial = MS(60_001),
                &["pages.retry.initial_ms (60001)", "pages.retry.max_ms"],
            ),
            (|it| it.pages.suspect_after = 5, &["pages.suspect_after (5)", "pages.deaths (5)"]),
            (|it| it.pages.suspect_after = 0, &["pages.suspect_after (0)"]),
            (
                |it| it.pages.budget = MS(4_999),
                &["fetch.connect_timeout_ms (5000)", "pages.budget_ms (4999)"],
            ),
            (|it| it.fetch.byte_budget = 1, &["fetch.byte_budget (1)", "fetch.max_page_bytes"]),
            (|it| it.pages.slots = 300, &["fetch.byte_budget", "299 slots"]),
            (|it| it.fairness.slices_per_tenant = 0, &["fairness.slices_per_tenant (0)"]),
            (|it| it.fairness.slices_per_tenant = 10_001, &["fairness.slices_per_tenant (10001)"]),
            (|it| it.sweeper.every = MS(0), &["sweeper.every_ms"]),
            (|it| it.sweeper.marker_every = MS(0), &["sweeper.marker_every_ms must not be 0"]),
            (|it| it.sweeper.batch = 0, &["sweeper.batch"]),
            (|it| it.sweeper.every = MS(20_001), &["sweeper.every_ms (20001)", "leases.duration_ms (20000)"]),
            (
                |it| it.sweeper.marker_every = MS(999),
                &["sweeper.every_ms (1000)", "sweeper.marker_every_ms (999)"],
            ),
            (
                |it| it.cancel.deadline = MS(5_000),
                &["cancel.deadline_ms (5000)", "leases.renew_every_ms (5000)"],
            ),
            (|it| it.shutdown.drain = MS(0), &["shutdown.drain_ms"]),
            (|it| it.database.max_connections = 0, &["database.max_connections"]),
            (|it| it.http.max_connections = 0, &["http.max_connections must not be 0"]),
            (|it| it.http.head_timeout = MS(0), &["http.head_timeout_ms must not be 0"]),
            (|it| it.http.keep_alive = MS(0), &["http.keep_alive_ms must not be 0"]),
            (|it| it.amqp.namespace = "x".repeat(181), &["amqp.namespace has 181 bytes", "1 to 180"]),
            (|it| it.fetch.max_page_records = 0, &["fetch.max_page_records"]),
            (
                |it| it.database.lock_timeout = MS(15_001),
                &["database.lock_timeout_ms (15001)", "statement_timeout_ms"],
            ),
            (|it| it.database.lock_timeout = MS(0), &["database.lock_timeout_ms must not be 0"]),
            (|it| it.database.statement_timeout = MS(0), &["database.statement_timeout_ms must not be 0"]),
            (|it| it.database.idle_in_transaction_timeout = MS(0), &["idle_in_transaction_timeout_ms"]),
            (|it| it.database.connect_timeout = MS(0), &["database.connect_timeout_ms"]),
            (|it| it.amqp.call_timeout = MS(0), &["amqp.call_timeout_ms"]),
            (|it| it.amqp.publish_timeout = MS(0), &["amqp.publish_timeout_ms"]),
            (|it| it.amqp.renew_idle_after = MS(0), &["amqp.renew_idle_after_ms"]),
            (|it| it.amqp.heartbeat_seconds = 0, &["amqp.heartbeat_seconds"]),
            (|it| it.amqp.reconnect.initial = MS(3_001), &["amqp.reconnect.initial_ms (3001)"]),
            (|it| it.amqp.namespace.clear(), &["amqp.namespace has 0 bytes"]),
        ];
        for (change, names) in refusals {
            let mut settings = Settings::default();
            change(&mut settings);
            let refused = settings.check().expect_err(names[0]).to_string();
            assert!(names.iter().all(|name| refused.contains(name)), "{names:?}: {refused}");
        }
    }
}
