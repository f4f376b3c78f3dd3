//! The broker: its topology, the one publisher, and the supervisor that keeps a process consuming.
//!
//! Everything here rests on two rules. The broker is a doorbell: whatever it loses, repeats or delays costs time,
//! never truth, so every part may tear its connection down and build a new one whenever in doubt. And every call
//! to the broker has a time-out, because a broker that is half alive answers some calls and not others.
//!
//! lapin's automatic recovery stays off: it hides lost deliveries from their consumers, leaves a consumer silent
//! for ever after a channel error, and hangs for ever once its tries run out.

use crate::config::{SecretUrl, millis};
use crate::retry::RetryPolicy;
use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt;
use std::future::Future;
use std::path::PathBuf;
use std::time::Duration;

mod address;
mod connecting;
mod dead_letters;
mod delivery;
mod envelope;
mod epoch;
mod inspect;
mod places;
mod publisher;
mod registration;
mod session;
mod subscription;
mod supervisor;
mod topology;

pub use connecting::connect;
pub use dead_letters::{
    DeadLetter, DeadLetters, Done, End, Fate, Origin, Reach, Text, UNROUTED, Walk, header, why_unrouted,
};
pub use delivery::{ConsumedQueue, Delivery, SettleError};
pub use envelope::{Destination, Envelope};
pub use inspect::{Inspected, Part, Standing, round_trip};
pub use places::Trouble;
pub use publisher::{PublishError, Publisher};
pub use supervisor::{Intake, Prefetch, Supervisor, SupervisorOptions, SupervisorStatus};
pub use topology::{KEY_CANCEL, KEY_PAGE, KEY_START, Topology, WorkQueue};

/// Names end at 255 bytes, and that of a process queue adds up to 66 to its namespace.
pub(crate) const NAMESPACE_LIMIT: usize = 180;

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
        address::shown(&self.url)
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

/// A call to the broker that did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum AmqpError {
    /// The configured URL is not one of AMQP.
    #[error("the broker's URL cannot be used ({reason}); set it to amqp://user:password@host:port/vhost")]
    Url {
        /// What is wrong with it. Never contains the URL itself.
        reason: String,
    },
    /// Several addresses are configured, and none could be connected to.
    #[error("no broker of the list could be connected to: {each}")]
    NoneOf {
        /// Each address, and what happened there.
        each: String,
    },
    /// The configured namespace is empty, or too long for the names that begin with it.
    #[error("the namespace of the broker's names has {bytes} bytes; it must have 1 to {NAMESPACE_LIMIT}")]
    Namespace {
        /// Its length.
        bytes: usize,
    },
    /// The file of certificates cannot be used.
    #[error("amqp.ca_file ({}) cannot be used: {reason}", path.display())]
    CaFile {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A queue of the namespace is missing.
    #[error(
        "there is no queue {queue} in this virtual host; correct amqp.namespace and the virtual host, or start a consumer, which \
         makes it"
    )]
    NoQueue {
        /// Its name.
        queue: String,
    },
    /// The broker said no.
    #[error("{call}: the broker refuses: {words}")]
    Refused {
        /// What was being done.
        call: &'static str,
        /// In its words.
        words: String,
    },
    /// There is no connection at the moment; a new one is being made.
    #[error("{call}: not connected to the broker at the moment; the connection is being rebuilt, try again")]
    Disconnected {
        /// What was being done.
        call: &'static str,
    },
    /// No answer in time. The call may or may not have had its effect.
    #[error("{call}: no answer from the broker within {after:?}")]
    TimedOut {
        /// What was being done.
        call: &'static str,
        /// How long it was waited for.
        after: Duration,
    },
    /// The broker refused, or the connection broke.
    #[error("{call}: {source}")]
    Failed {
        /// What was being done.
        call: &'static str,
        /// What lapin says.
        source: lapin::Error,
    },
}

impl AmqpError {
    /// What to do about an error of connecting.
    #[must_use]
    pub fn advice(&self) -> &'static str {
        const LOGIN: &str = "Correct user and password in AMQP_URL or amqp.url, and see that the user exists";
        const VHOST: &str = "Correct the virtual host at the end of AMQP_URL or amqp.url (%2f is /), or give the user rights on it";
        match self {
            Self::Failed { source, .. } if let ErrorKind::ProtocolError(said) = source.kind() => {
                match said.kind() {
                    AMQPErrorKind::Soft(AMQPSoftError::ACCESSREFUSED) => LOGIN,
                    AMQPErrorKind::Hard(AMQPHardError::NOTALLOWED) => VHOST,
                    AMQPErrorKind::Soft(_) | AMQPErrorKind::Hard(_) => "See the broker's log",
                }
            }
            Self::Url { .. } | Self::Namespace { .. } | Self::CaFile { .. } => "Correct the section [amqp]",
            Self::NoQueue { .. } | Self::Refused { .. } => {
                "Correct amqp.namespace, or the rights of this user"
            }
            Self::Failed { .. } | Self::NoneOf { .. } | Self::Disconnected { .. } | Self::TimedOut { .. } => {
                "Is it running, and does AMQP_URL (or amqp.url) name it?"
            }
        }
    }
}

/// The time-out that every call to the broker goes through.
pub(crate) async fn bounded<T>(
    limit: Duration,
    call: &'static str,
    answer: impl Future<Output = lapin::Result<T>>,
) -> Result<T, AmqpError> {
    match tokio::time::timeout(limit, answer).await {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(source)) => Err(AmqpError::Failed { call, source }),
        Err(_elapsed) => Err(AmqpError::TimedOut { call, after: limit }),
    }
}

fn masked<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address::shown(url))
}

#[cfg(test)]
mod tests {
    use super::*;

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
