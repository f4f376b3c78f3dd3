//! What every key of the configuration means. `backhaul config --defaults` prints it; a test holds it to the sections.

use serde_json::Value;

/// One key.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// `section.key`; the key may have dots of its own.
    pub key: &'static str,
    /// What it means, in a line.
    pub meaning: &'static str,
}

const fn key(key: &'static str, meaning: &'static str) -> Entry {
    Entry { key, meaning }
}

/// Every key, section by section.
pub const REFERENCE: &[Entry] = &[
    key("database.url", "Required: the Postgres that holds the truth; DATABASE_URL stands in for it"),
    key(
        "database.max_connections",
        "Connections per process, default 2 per core and at most 8; starts and cancels have one more each",
    ),
    key("database.lock_timeout_ms", "Longest wait for a row lock"),
    key("database.statement_timeout_ms", "Longest statement"),
    key(
        "database.idle_in_transaction_timeout_ms",
        "When Postgres ends a session that sits in an open transaction, and so a frozen process's locks",
    ),
    key("database.connect_timeout_ms", "Longest wait for a connection, a new one or one of the pool"),
    key("amqp.url", "The broker, or the members of a cluster separated by commas; AMQP_URL stands in for it"),
    key("amqp.namespace", "First word of every exchange's and queue's name"),
    key(
        "amqp.management_url",
        "The broker's management API, asked by `backhaul doctor` alone for delivery limits",
    ),
    key("amqp.heartbeat_seconds", "The broker is given up after two of these without a sign of life"),
    key("amqp.ca_file", "PEM certificates that vouch for the broker, beside the system's"),
    key("amqp.call_timeout_ms", "Longest call: connect, declare, consume, ack"),
    key("amqp.publish_timeout_ms", "Longest publish, the wait for a connection and the confirm included"),
    key("amqp.renew_idle_after_ms", "A consumer that has brought nothing for this long is replaced"),
    key("amqp.reconnect.initial_ms", "Cap of the first delay between two tries to connect"),
    key("amqp.reconnect.max_ms", "Cap of the later ones; there is no limit of tries"),
    key(
        "http.listen",
        "Address and port of health, readiness, metrics and the API; default loopback, 8080 producer, 8081 consumer",
    ),
    key("http.max_connections", "Connections to that address at a time; further ones wait for their turn"),
    key("http.head_timeout_ms", "How long a new one may be silent, or take to send a request up to its body"),
    key("http.keep_alive_ms", "How long one is kept between requests; longer than proxies keep theirs to us"),
    key("log.format", "text, or json: one object per line"),
    key("log.filter", "What goes to stderr: info, or info,consumer=debug"),
    key("pages.slots", "Pages in flight per process, and its prefetch"),
    key("pages.quantum_ms", "Length of a stint where others wait for its slot; 0 is one page per message"),
    key("pages.budget_ms", "Longest fetch of one page, at most 5 minutes"),
    key(
        "pages.max_attempts",
        "Attempts at a page that fails alone before its job fails; pauses for a 429 are none",
    ),
    key(
        "pages.give_up_after_ms",
        "How long a page is tried while its upstream fails for all; 0: max_attempts",
    ),
    key("pages.retry.initial_ms", "Cap of the first delay between those attempts"),
    key("pages.retry.max_ms", "Cap of the later ones"),
    key("pages.suspect_after", "Deaths of workers while they held a page that make it a suspect"),
    key("pages.deaths", "Deaths that fail its job"),
    key("pages.deletion_rows", "Rows that one page of a full sync's deletion handles at most"),
    key("jobs.max_records", "Records that one job may have; 0 is no limit"),
    key("jobs.max_pages", "Pages that one job may settle; 0 is no limit"),
    key("jobs.max_age_ms", "How long one job may run; 0 is no limit"),
    key("leases.duration_ms", "How long a page stays with a silent worker; at least three renewals"),
    key("leases.renew_every_ms", "Between two renewals; a missed cancel push is seen at the next one"),
    key("cancel.deadline_ms", "Age of a cancel at which it is forced, with no worker's help"),
    key("sweeper.every_ms", "Between two sweeps of one process"),
    key("sweeper.marker_every_ms", "Between two markers of the whole fleet"),
    key("sweeper.start_grace_ms", "Age at which a start that was never confirmed is planned all the same"),
    key("sweeper.batch", "Rows that one duty touches in one sweep"),
    key("fairness.slices_per_tenant", "Slices of a new tenant that are rung at a time"),
    key("shutdown.grace_ms", "How long a producer still takes requests after SIGTERM, not being ready"),
    key("shutdown.drain_ms", "Time to end in: a fifth of it for pages to finish, then they are handed over"),
    key("fetch.max_page_bytes", "Largest body, decompressed; at most 128 MiB"),
    key("fetch.small_page_bytes", "What every page in flight may use without asking"),
    key("fetch.byte_budget", "What all bodies in flight of a process may use together"),
    key("fetch.max_page_records", "Most records of a page"),
    key("fetch.ca_file", "PEM certificates that vouch for upstreams, beside the system's"),
    key("fetch.connect_timeout_ms", "How long connecting to an upstream may take"),
    key("fetch.allow_private_addresses", "Whether upstreams may have private or loopback addresses"),
    key("api.publish_wait_ms", "Producer: how long an answer waits for the broker's confirm"),
    key("api.request_timeout_ms", "Producer: longest handling of one request"),
    key("api.each_caller.per_second", "Producer: requests per second of each key or user; 0 is no limit"),
    key("api.each_caller.burst", "How many of them at once, after a silence"),
    key(
        "api.unknown_callers.per_second",
        "Producer: wrong keys per second from one address, for each way in which keys begin; 0 is no limit",
    ),
    key("api.unknown_callers.burst", "How many of them at once, after a silence"),
    key("api.public_url", "Producer: where people reach it, for the links of /v1/jobs; no slash at the end"),
    key(
        "auth.hs256_secret",
        "Producer: secret of HS256 tokens, at least 32 bytes; without it, they are refused",
    ),
    key(
        "auth.jwks_url",
        "Producer: the issuer's key set for RS256 and ES256 tokens; https, or http on loopback",
    ),
    key("auth.issuer", "What a token's iss must be; required with either of the above"),
    key("auth.audience", "What a token's aud must be or contain; required with either of the above"),
    key("auth.leeway_ms", "How far the issuer's clock may be off"),
    key("auth.refresh_every_ms", "Between two fetches of the key set"),
    key("auth.refresh_again_ms", "How soon it is fetched again, after a failure or for an unknown key"),
    key("auth.fetch_timeout_ms", "Longest fetch of the key set"),
    key(
        "credentials.key",
        "Seals the credentials of connections: 32 bytes in base64, from `backhaul admin generate-key`",
    ),
    key("credentials.key_file", "The file that holds it, instead"),
    key(
        "credentials.old_keys",
        "Keys that still open what they sealed, until `backhaul admin rotate-key`; in the environment with commas",
    ),
    key("credentials.old_key_files", "Files that hold such keys, one each"),
];

/// The keys of a section's value with dots, in the order of their names: `retry.initial_ms`.
#[must_use]
pub fn flattened(section: &str, value: &Value) -> Vec<(String, Value)> {
    match value {
        Value::Object(fields) => {
            fields.iter().flat_map(|(name, field)| flattened(&format!("{section}.{name}"), field)).collect()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            vec![(section.to_owned(), value.clone())]
        }
    }
}
