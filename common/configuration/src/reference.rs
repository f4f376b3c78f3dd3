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
    key("database.url", "Required: the Postgres that holds everything; DATABASE_URL stands in for it"),
    key(
        "database.max_connections",
        "Sessions per process for pages: by default 2 per core, at most 8. A consumer has 7 more: two each for starts, cancels and the sweeper, and one that checks the database",
    ),
    key("database.lock_timeout_ms", "How long a statement may wait for a lock"),
    key("database.statement_timeout_ms", "How long a statement may take"),
    key(
        "database.idle_in_transaction_timeout_ms",
        "How long a session may sit in an open transaction before Postgres ends it, and so frees a frozen process's locks",
    ),
    key("database.connect_timeout_ms", "How long to wait for a session, a new one or one of the pool"),
    key("amqp.url", "The broker, or the members of a cluster separated by commas; AMQP_URL stands in for it"),
    key("amqp.namespace", "Prefix of every exchange and queue"),
    key(
        "amqp.management_url",
        "The broker's management API; only `backhaul doctor` uses it, to see delivery limits",
    ),
    key(
        "amqp.heartbeat_seconds",
        "Heartbeat interval. A silent broker is given up after two of them, and a silent client by RabbitMQ after two to three",
    ),
    key("amqp.ca_file", "PEM file of CA certificates for the broker, in addition to the system's"),
    key("amqp.call_timeout_ms", "How long a call may take: connect, declare, consume, ack"),
    key(
        "amqp.publish_timeout_ms",
        "How long a publish may take, including the wait for a connection and for the confirm",
    ),
    key(
        "amqp.renew_idle_after_ms",
        "A consumer that has delivered nothing for this long is replaced by a new one",
    ),
    key("amqp.reconnect.initial_ms", "Upper bound of the first delay between two attempts to connect"),
    key("amqp.reconnect.max_ms", "Upper bound of later delays; the number of attempts has no limit"),
    key(
        "http.listen",
        "Address and port of the API, /healthz, /readyz and /metrics; by default loopback, port 8080 (producer) or 8081 (consumer)",
    ),
    key("http.max_connections", "Connections open at a time; a further one ends an idle one, or waits"),
    key("http.head_timeout_ms", "How long a new connection may be silent, or take to send a request's head"),
    key(
        "http.keep_alive_ms",
        "How long a connection is kept between requests; keep it longer than your proxies do",
    ),
    key("log.format", "`text`, or `json`: one object per line"),
    key("log.filter", "What is logged to stderr, such as `info` or `info,consumer=debug`"),
    key("pages.slots", "Pages in flight per process; also its prefetch"),
    key(
        "pages.quantum_ms",
        "How long a worker goes on with one slice while others wait for its slot; eight times that while nobody does. 0 is one page per message",
    ),
    key("pages.budget_ms", "How long the fetch of one page may take; at most 5 minutes"),
    key(
        "pages.max_attempts",
        "Attempts at a page that fails while other pages of its connection do not; then its job fails. Rests after a 429 do not count",
    ),
    key(
        "pages.give_up_after_ms",
        "How long a page is tried while its upstream fails for everyone (5xx, timeouts, HTML instead of JSON); 0: `pages.max_attempts` applies",
    ),
    key("pages.retry.initial_ms", "Upper bound of the first delay between attempts"),
    key("pages.retry.max_ms", "Upper bound of later delays"),
    key(
        "pages.suspect_after",
        "Worker deaths after which the page they held becomes a suspect, and is tried in isolation",
    ),
    key("pages.deaths", "Worker deaths after which the page fails its job, or is skipped"),
    key("pages.deletion_rows", "Rows that one page of a full sync's deletion handles at most"),
    key(
        "jobs.max_records",
        "Records that one job may have; then it fails, keeps what it has, and can be resumed. Ends lists that never end. 0 is no limit",
    ),
    key("jobs.max_pages", "Pages that one job may settle; as above"),
    key("jobs.max_age_ms", "How long one job may run; as above"),
    key("leases.duration_ms", "How long a page stays with a silent worker; at least three renewals"),
    key(
        "leases.renew_every_ms",
        "Time between two renewals of a lease; a cancel whose broadcast was missed is seen at the next one",
    ),
    key("cancel.deadline_ms", "Age at which a cancel is forced, without the workers"),
    key("sweeper.every_ms", "Time between two sweeps (repairs) of a process"),
    key("sweeper.marker_every_ms", "Time between two markers, which show lost doorbells"),
    key(
        "sweeper.start_grace_ms",
        "Age at which a start whose message was never confirmed is planned without it",
    ),
    key("sweeper.batch", "Rows that one repair touches in one sweep"),
    key("fairness.slices_per_tenant", "How many slices of a new tenant are worked on at a time"),
    key(
        "shutdown.grace_ms",
        "Producer: how long requests are still taken after SIGTERM, while `/readyz` is 503",
    ),
    key(
        "shutdown.drain_ms",
        "Consumer: time to stop in. Pages in flight have a fifth of it to finish; then they are handed over",
    ),
    key("fetch.max_page_bytes", "Largest body of a page, in bytes after decompression; at most 128 MiB"),
    key(
        "fetch.small_page_bytes",
        "Bytes that each page in flight may use without waiting for its share of `fetch.byte_budget`",
    ),
    key("fetch.byte_budget", "Bytes that all pages in flight of a process may use together"),
    key("fetch.max_page_records", "Most records of a page"),
    key("fetch.ca_file", "PEM file of CA certificates for upstreams, in addition to the system's"),
    key("fetch.connect_timeout_ms", "How long connecting to an upstream may take"),
    key("fetch.allow_private_addresses", "Whether upstreams may have private or loopback addresses"),
    key("api.publish_wait_ms", "Producer: how long an answer waits for the broker's confirm"),
    key("api.request_timeout_ms", "Producer: how long the handling of one request may take"),
    key(
        "api.each_caller.per_second",
        "Producer: requests per second of each key or user, counted by each process; more are a 429. 0 is no limit",
    ),
    key("api.each_caller.burst", "How many at once after a pause"),
    key(
        "api.unknown_callers.per_second",
        "Producer: unknown keys per second that one address may try, for each key prefix; 0 is no limit",
    ),
    key("api.unknown_callers.burst", "How many at once after a pause"),
    key("api.public_url", "Producer: its public address, for links in `/v1/jobs`; no slash at the end"),
    key(
        "auth.hs256_secret",
        "Producer: secret of HS256 tokens, at least 32 bytes; without it they are refused",
    ),
    key(
        "auth.jwks_url",
        "Producer: address of the issuer's key set for RS256 and ES256 tokens; https, or http on loopback",
    ),
    key("auth.issuer", "What a token's `iss` must be; required with either of the above"),
    key("auth.audience", "What a token's `aud` must be or contain; required with either of the above"),
    key("auth.leeway_ms", "How far the issuer's clock may be off"),
    key("auth.refresh_every_ms", "Age at which the key set is fetched again"),
    key("auth.refresh_again_ms", "Least time between two fetches, after a failure or for an unknown key"),
    key("auth.fetch_timeout_ms", "How long a fetch of the key set may take"),
    key(
        "credentials.key",
        "Seals the credentials of connections: 32 bytes in base64, from `backhaul admin generate-key`",
    ),
    key("credentials.key_file", "A file with that key, instead"),
    key(
        "credentials.old_keys",
        "Former keys, which still open what they sealed until `backhaul admin rotate-key` has run; separated by commas in the environment",
    ),
    key("credentials.old_key_files", "Files with such keys, one each"),
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
