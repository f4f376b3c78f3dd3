//! `[amqp]`: how to reach the broker.

use super::secret::SecretUrl;
use protocol::millis;
use protocol::retry::RetryPolicy;
use protocol::topology::Topology;
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// Between two addresses of the list. A password may hold a comma, so the scheme of the next address belongs to it.
const NEXT: [&str; 2] = [",amqp://", ",amqps://"];

/// The addresses of a list, as they are written: `amqp://a,amqp://b`.
#[must_use]
pub fn addresses(list: &str) -> Vec<&str> {
    let mut addresses = Vec::new();
    let mut rest = list;
    while let Some(comma) = NEXT.iter().filter_map(|next| rest.find(next)).min() {
        addresses.push(rest[..comma].trim());
        rest = &rest[comma + 1..];
    }
    addresses.push(rest.trim());
    addresses
}

/// The list with every password blanked out.
fn shown(list: &str) -> String {
    let blanked = |mut url: url::Url| {
        let ours = matches!(url.scheme(), "amqp" | "amqps");
        let hidden = url.password().is_none() || url.set_password(Some("***")).is_ok();
        (ours && hidden).then(|| url.to_string())
    };
    let unreadable = || "(a URL that cannot be read)".to_owned();
    let one = |address: &str| url::Url::parse(address).ok().and_then(blanked).unwrap_or_else(unreadable);
    addresses(list).into_iter().map(one).collect::<Vec<_>>().join(",")
}

/// How to reach the broker, and how long to wait for it.
#[derive(Clone, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AmqpConfig {
    /// `amqp://user:password@host:port/vhost`, or `amqps://`; several, separated by commas, for the members of a cluster.
    /// Holds passwords: never printed, see [`Self::shown`].
    #[serde(serialize_with = "masked")]
    pub url: String,
    /// The broker's management API, `http://user:password@host:15672`: asked by `backhaul doctor` alone. Default: none.
    pub management_url: Option<SecretUrl>,
    /// A file of PEM certificates that vouch for the broker, beside the system's; read at each connection. Default: none.
    pub ca_file: Option<PathBuf>,
    /// The first word of every exchange's and queue's name. Two namespaces share a vhost without meeting.
    pub namespace: String,
    /// The broker is given up after two of these without a sign of life, in seconds. Default 7.
    pub heartbeat_seconds: u16,
    /// The longest that a call (connect, declare, consume, ack …) may take. `call_timeout_ms` in the configuration.
    #[serde(rename = "call_timeout_ms", with = "millis")]
    pub call_timeout: Duration,
    /// The longest that a publish may take: waiting for a connection, writing, and the broker's confirm.
    /// `publish_timeout_ms` in the configuration.
    #[serde(rename = "publish_timeout_ms", with = "millis")]
    pub publish_timeout: Duration,
    /// A consumer that has brought nothing for this long is replaced, see the supervisor. `renew_idle_after_ms` in
    /// the configuration.
    #[serde(rename = "renew_idle_after_ms", with = "millis")]
    pub renew_idle_after: Duration,
    /// The delays between tries to reconnect. There is no limit to the number of tries.
    pub reconnect: RetryPolicy,
}

impl AmqpConfig {
    /// The URL with every password blanked out: for logs.
    #[must_use]
    pub fn shown(&self) -> String {
        shown(&self.url)
    }

    /// The names of this namespace.
    #[must_use]
    pub fn topology(&self) -> Topology {
        Topology::new(&self.namespace)
    }
}

impl Default for AmqpConfig {
    fn default() -> Self {
        Self {
            url: "amqp://guest:guest@127.0.0.1:5672".to_owned(),
            management_url: None,
            ca_file: None,
            namespace: "backhaul".to_owned(),
            // RabbitMQ looks once per heartbeat, and gives up who was silent at two looks: after 14 to 21 s.
            heartbeat_seconds: 7,
            call_timeout: Duration::from_secs(5),
            publish_timeout: Duration::from_secs(10),
            renew_idle_after: Duration::from_secs(15),
            // After a long outage a fleet is back within these 3 s, and spread over them.
            reconnect: RetryPolicy::new(Duration::from_millis(200), Duration::from_secs(3)),
        }
    }
}

impl fmt::Debug for AmqpConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AmqpConfig")
            .field("url", &self.shown())
            .field("management_url", &self.management_url)
            .field("ca_file", &self.ca_file)
            .field("namespace", &self.namespace)
            .field("heartbeat_seconds", &self.heartbeat_seconds)
            .field("call_timeout", &self.call_timeout)
            .field("publish_timeout", &self.publish_timeout)
            .field("renew_idle_after", &self.renew_idle_after)
            .field("reconnect", &self.reconnect)
            .finish()
    }
}

fn masked<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&shown(url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_split_where_the_next_address_begins() {
        assert_eq!(addresses("amqp://one"), ["amqp://one"]);
        assert_eq!(addresses("amqp://a:1,amqps://b,amqp://c"), ["amqp://a:1", "amqps://b", "amqp://c"]);
        assert_eq!(addresses("amqp://me:a,b@one,amqp://two"), ["amqp://me:a,b@one", "amqp://two"]);
    }

    #[test]
    fn no_password_is_shown() {
        assert_eq!(shown("amqp://me:s3cret@broker:5672/%2f"), "amqp://me:***@broker:5672/%2f");
        assert_eq!(shown("amqp://me:s3cret@a,amqp://me:s4cret@b/x"), "amqp://me:***@a,amqp://me:***@b/x");
        assert_eq!(shown("me:s3cret at broker"), "(a URL that cannot be read)");
        assert!(!shown("amqp://me:s3,cret@a,amqps://me:s3,cret@b").contains("cret"));
    }

    #[test]
    fn the_password_is_never_shown() {
        let config =
            AmqpConfig { url: "amqp://me:s3cret@broker:5672/%2f".to_owned(), ..AmqpConfig::default() };
        assert!(!format!("{config:?}").contains("s3cret"));
        assert!(!serde_json::to_string(&config).expect("is JSON").contains("s3cret"));
    }

    #[test]
    fn what_is_not_configured_has_a_default() {
        let config: AmqpConfig =
            serde_json::from_str(r#"{"namespace": "mine", "call_timeout_ms": 1500}"#).expect("reads");
        assert_eq!(config.namespace, "mine");
        assert_eq!(config.call_timeout, Duration::from_millis(1500));
        assert_eq!(config.heartbeat_seconds, AmqpConfig::default().heartbeat_seconds);
    }
}
