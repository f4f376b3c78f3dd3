//! What the database says of the fleet: workers, the sweeper's duties, and keys of credentials.

use super::database::step;
use super::report::Report;
use configuration::Settings;
use sealing::{KeyId, Keyring};
use std::collections::BTreeSet;
use store::Store;
use store::examine::WorkerRow;

const WORKERS: &str = "workers";
const SWEEPER: &str = "sweeper";
const CREDENTIALS: &str = "credentials";
/// Duties are written down every 10 s, and the rarest runs once a minute.
const STALE_SECONDS: f64 = 150.0;

/// Returns how many workers are alive in this namespace.
pub(super) async fn check(
    report: &mut Report,
    store: &Store,
    settings: &Settings,
    keyring: &Keyring,
) -> usize {
    let alive = workers(report, store, settings).await;
    sweeper(report, store, alive.len()).await;
    if let Some(keys) =
        step(report, CREDENTIALS, "the keys in use cannot be read", store.connections().credentials_keys())
            .await
    {
        credentials(report, &keys, keyring);
        consumers_keys(report, &keys, keyring, &alive);
    }
    alive.len()
}

/// Returns those that are alive and consume from the queues of this configuration.
async fn workers(report: &mut Report, store: &Store, settings: &Settings) -> Vec<WorkerRow> {
    let rows =
        step(report, WORKERS, "they cannot be read", store.workers().running()).await.unwrap_or_default();
    // Renewals say that a worker is there; three of them missed cost it its pages.
    let limit = settings.leases.duration.as_secs_f64();
    let (alive, silent): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|worker| worker.silent_seconds <= limit);
    let namespace = &settings.amqp.namespace;
    let (ours, others): (Vec<_>, Vec<_>) =
        alive.into_iter().partition(|worker| worker.namespace == *namespace);
    match (ours.as_slice(), others.first()) {
        ([], Some(other)) => report.failed(
            WORKERS,
            format!(
                "{} consumers run on this database, and none in the namespace {namespace} (amqp.namespace): one is in {}, on \
                 {}; starts wait in a queue that nobody consumes",
                others.len(),
                other.namespace,
                other.host
            ),
            "give consumers, producers and this command the same amqp.namespace",
        ),
        ([], None) => report.failed(
            WORKERS,
            format!("no consumer runs in the namespace {namespace}: starts wait in the queue, and nothing is repaired"),
            "start at least one `consumer`",
        ),
        (ours, _) => report.passed(WORKERS, format!("{} alive", ours.len())),
    }
    // Those of last week are history.
    let recent: Vec<_> = silent.iter().filter(|worker| worker.silent_seconds < 3600.0).collect();
    if let Some(worker) = recent.first() {
        let found = format!(
            "{} died within the last hour; the last one: {} (process {} on {}), {:.0} s ago",
            recent.len(),
            worker.id,
            worker.pid,
            worker.host,
            worker.silent_seconds
        );
        let todo = "their pages were taken over; unless you killed them, see their logs";
        report.warning(WORKERS, found, todo);
    }
    ours
}

/// Consumers open what producers and this command seal.
fn consumers_keys(report: &mut Report, used: &[(KeyId, i64)], keyring: &Keyring, workers: &[WorkerRow]) {
    let used = used.iter().map(|(key, _)| *key).chain(keyring.current());
    let used: BTreeSet<String> = used.map(|key| key.to_string()).collect();
    let mut lacking = 0;
    for worker in workers {
        let missing: Vec<_> = used.iter().filter(|key| !worker.keys.contains(*key)).cloned().collect();
        if !missing.is_empty() {
            lacking += 1;
            report.failed(
                CREDENTIALS,
                format!(
                    "the consumer {} (process {} on {}) does not know the key {}, with which credentials are sealed",
                    worker.id,
                    worker.pid,
                    worker.host,
                    missing.join(", ")
                ),
                "give it that key as credentials.key, or among credentials.old_keys, and start it again",
            );
        }
    }
    if lacking == 0 && !workers.is_empty() {
        report.passed(CREDENTIALS, "every consumer knows every key in use");
    }
}

async fn sweeper(report: &mut Report, store: &Store, alive: usize) {
    let Some(duties) =
        step(report, SWEEPER, "the sweeper's duties cannot be read", store.inspection().duties()).await
    else {
        return;
    };
    let mut healthy = true;
    for duty in &duties {
        if let Some(error) = &duty.error {
            healthy = false;
            let found = format!("the duty {:?} failed at its last run: {error}", duty.duty);
            report.warning(SWEEPER, found, "fix what it names; it is tried again at every sweep");
        } else if alive > 0 && duty.succeeded_seconds_ago.is_none_or(|age| age > STALE_SECONDS) {
            healthy = false;
            let age = duty.succeeded_seconds_ago.map_or("never".to_owned(), |age| format!("{age:.0} s ago"));
            let found = format!("the duty {:?} last succeeded {age}, though workers are alive", duty.duty);
            report.warning(SWEEPER, found, "see the consumers' logs for what delays their sweepers");
        }
    }
    if healthy && alive > 0 {
        report.passed(SWEEPER, format!("{} duties succeeded lately", duties.len()));
    }
}

fn credentials(report: &mut Report, keys: &[(KeyId, i64)], keyring: &Keyring) {
    let known: Vec<KeyId> = keyring.ids().collect();
    let mut fine = 0;
    for (key, connections) in keys {
        if !known.contains(key) {
            report.failed(
                CREDENTIALS,
                format!("{connections} connections are sealed with the key {key}, which is not configured here"),
                "add that key to credentials.old_keys, or give those connections their credentials again (`backhaul admin \
                 connection put`)",
            );
        } else if keyring.current() == Some(*key) {
            fine += connections;
        } else {
            report.warning(
                CREDENTIALS,
                format!("{connections} connections are sealed with the old key {key}"),
                "run `backhaul admin rotate-key`; then the old key can be removed",
            );
        }
    }
    match keyring.current() {
        Some(key) => {
            report.passed(CREDENTIALS, format!("{fine} connections are sealed with the current key {key}"));
        }
        None => report.warning(
            CREDENTIALS,
            "no key is configured: connections with credentials cannot be stored",
            "make one with `backhaul admin generate-key`, and set it as credentials.key everywhere",
        ),
    }
}
