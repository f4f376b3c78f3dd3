//! The broker: its topology, the one publisher, and the supervisor that keeps a process consuming.
//!
//! Everything here rests on two rules. The broker is a doorbell: whatever it loses, repeats or delays costs time,
//! never truth, so every part may tear its connection down and build a new one whenever in doubt. And every call
//! to the broker has a time-out, because a broker that is half alive answers some calls and not others.
//!
//! lapin's automatic recovery stays off: it hides lost deliveries from their consumers, leaves a consumer silent
//! for ever after a channel error, and hangs for ever once its tries run out.

use lapin::ErrorKind;
use lapin::protocol::{AMQPErrorKind, AMQPHardError, AMQPSoftError};
use protocol::topology::NAMESPACE_LIMIT;
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
    DeadLetter, DeadLetters, Done, End, Fate, Origin, Reach, Text, UNROUTED, Walk, why_unrouted,
};
pub use delivery::{ConsumedQueue, Delivery, SettleError};
pub use envelope::{Destination, Envelope};
pub use inspect::{Inspected, Part, Standing, inspect, is_declared, round_trip};
pub use places::Trouble;
pub use publisher::{PublishError, Publisher};
pub use supervisor::{Intake, Prefetch, Supervisor, SupervisorOptions, SupervisorStatus};
pub use topology::{declare, exchange_names, queue_names};

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
