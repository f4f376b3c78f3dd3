//! A message before it is published: where it goes, what it says, and the properties that a person sees beside it
//! in the broker's console.

use super::publisher::PublishError;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use protocol::contract::AbortMessage;
use protocol::ids::JobId;
use protocol::slice::Ring;
use protocol::topology::{KEY_CANCEL, KEY_PAGE, KEY_START, Topology};
use protocol::trace;
use std::time::{SystemTime, UNIX_EPOCH};
use uuid::Uuid;

/// Where a message goes. The routing is decided here and nowhere else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Destination {
    /// A start command, to whichever consumer is free.
    StartCommand,
    /// A cancel command, to whichever consumer is free.
    CancelCommand,
    /// A slice's doorbell.
    Page,
    /// A numbered marker, among the doorbells.
    Marker,
    /// Told to every process at once, on a channel of its own; lost if nobody listens.
    Abort,
    /// What happened to a job, for whoever listens to `key` (`job.completed` …); lost if nobody does.
    Event {
        /// The routing key.
        key: String,
    },
    /// A message that can never be applied, kept for people. Its headers say why.
    DeadLetter,
    /// A process's own proof that its queue still delivers.
    Canary {
        /// The queue of the process; see [`Topology::process_queue`].
        queue: String,
    },
    /// The answer to a command that asked for one; lost if the queue is gone.
    Reply {
        /// The command's `reply_to`.
        queue: String,
    },
}

impl Destination {
    /// Exchange and routing key. The exchange without a name routes to the queue that the key names.
    pub(super) fn route(&self, topology: &Topology) -> (String, String) {
        match self {
            Self::StartCommand => (topology.commands(), KEY_START.to_owned()),
            Self::CancelCommand => (topology.commands(), KEY_CANCEL.to_owned()),
            Self::Page | Self::Marker => (topology.pages(), KEY_PAGE.to_owned()),
            Self::Abort => (topology.aborts(), String::new()),
            Self::Event { key } => (topology.events(), key.clone()),
            Self::DeadLetter => (String::new(), topology.dead_letters()),
            Self::Canary { queue } | Self::Reply { queue } => (String::new(), queue.clone()),
        }
    }

    /// Whether the broker should write the message to disk. An abort or a canary is worth nothing a second later.
    const fn is_persistent(&self) -> bool {
        match self {
            Self::StartCommand
            | Self::CancelCommand
            | Self::Page
            | Self::Marker
            | Self::Event { .. }
            | Self::DeadLetter
            | Self::Reply { .. } => true,
            Self::Abort | Self::Canary { .. } => false,
        }
    }
}

/// A message to publish.
///
/// Its `message_id` is fixed from the beginning: if the outcome of a publish is unknown, the same envelope may be
/// published again, and whoever receives both can tell that they are one.
#[derive(Clone, Debug)]
pub struct Envelope {
    /// Where it goes.
    pub destination: Destination,
    /// The `type` property: what the body is.
    pub kind: String,
    /// The body: JSON.
    pub body: Vec<u8>,
    /// The `message_id` property; at most 255 bytes.
    pub message_id: String,
    /// The `correlation_id` property: the job's id, or in a reply what the command had; at most 255 bytes.
    pub correlation_id: Option<String>,
    /// The queue that a reply should go to.
    pub reply_to: Option<String>,
    /// Further headers; `traceparent` is one. At most 8 KiB, since all properties must fit into one frame. (Those of a dead
    /// letter may be larger, and then go over a connection of their own.)
    pub headers: Vec<(String, String)>,
    /// Those of a dead letter, which are its message's; then none of the above count.
    given: Option<Box<BasicProperties>>,
}

impl Envelope {
    /// A message with a fresh `message_id` and nothing optional.
    #[must_use]
    pub fn new(destination: Destination, kind: impl Into<String>, body: impl Into<Vec<u8>>) -> Self {
        Self {
            destination,
            kind: kind.into(),
            body: body.into(),
            message_id: Uuid::now_v7().to_string(),
            correlation_id: None,
            reply_to: None,
            headers: Vec::new(),
            given: None,
        }
    }

    /// The doorbell of a slice. A ring has one identity, however often it is published.
    #[must_use]
    pub fn doorbell(ring: Ring) -> Self {
        Self::new(Destination::Page, "page", serde_json::json!(ring).to_string())
            .with_message_id(format!("{}/{}/{}", ring.job, ring.slice, ring.ring))
            .with_correlation_id(ring.job.to_string())
    }

    /// The same for the command of this trace.
    #[must_use]
    pub fn with_trace(self, trace: Option<&str>) -> Self {
        match trace {
            Some(trace) => self.with_header(trace::HEADER, trace),
            None => self,
        }
    }

    /// The order to give up the pages of a job.
    #[must_use]
    pub fn abort(job: JobId) -> Self {
        Self::new(Destination::Abort, "abort", serde_json::json!(AbortMessage { job_id: job }).to_string())
            .with_correlation_id(job.to_string())
    }

    /// The same with this `message_id`.
    #[must_use]
    pub fn with_message_id(mut self, id: impl Into<String>) -> Self {
        self.message_id = id.into();
        self
    }

    /// The same with this `correlation_id`.
    #[must_use]
    pub fn with_correlation_id(mut self, id: impl Into<String>) -> Self {
        self.correlation_id = Some(id.into());
        self
    }

    /// The same, asking for a reply to `queue`.
    #[must_use]
    pub fn with_reply_to(mut self, queue: impl Into<String>) -> Self {
        self.reply_to = Some(queue.into());
        self
    }

    /// The same with one more header.
    #[must_use]
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// The same with just these properties.
    pub(super) fn with_properties(mut self, properties: BasicProperties) -> Self {
        self.given = Some(Box::new(properties));
        self
    }

    pub(super) fn properties(&self, app_id: &str) -> Result<BasicProperties, PublishError> {
        if let Some(given) = &self.given {
            return Ok(BasicProperties::clone(given));
        }
        let bytes = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if bytes > HEADERS_LIMIT {
            return Err(PublishError::TooLong { what: "headers", bytes, limit: HEADERS_LIMIT });
        }
        let mut headers = FieldTable::default();
        for (name, value) in &self.headers {
            let value = AMQPValue::LongString(LongString::from(value.as_str()));
            headers.insert(short("the name of a header", name)?, value);
        }
        let mut properties = BasicProperties::default()
            .with_message_id(short("message_id", &self.message_id)?)
            .with_type(short("type", &self.kind)?)
            .with_app_id(short("app_id", app_id)?)
            // For people: nothing is decided by it, so this process's clock is good enough.
            .with_timestamp(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |age| age.as_secs()))
            .with_content_type("application/json".into())
            .with_delivery_mode(if self.destination.is_persistent() { 2 } else { 1 })
            .with_headers(headers);
        if let Some(id) = &self.correlation_id {
            properties = properties.with_correlation_id(short("correlation_id", id)?);
        }
        if let Some(queue) = &self.reply_to {
            properties = properties.with_reply_to(short("reply_to", queue)?);
        }
        Ok(properties)
    }
}

/// With it, and five short strings, a message's properties are far from the largest frame of a publisher.
const HEADERS_LIMIT: usize = 8 << 10;

/// AMQP's short strings end at 255 bytes, and lapin panics on a longer one.
pub(super) fn short(what: &'static str, text: &str) -> Result<ShortString, PublishError> {
    ShortString::try_new(text).map_err(|_too_long| PublishError::TooLong {
        what,
        bytes: text.len(),
        limit: 255,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_property_is_refused_and_named() {
        let envelope = Envelope::new(Destination::Page, "page", "{}").with_message_id("x".repeat(255));
        assert!(envelope.properties("test").is_ok());
        let envelope = Envelope::new(Destination::Page, "page", "{}").with_message_id("x".repeat(256));
        let error = envelope.properties("test").expect_err("256 bytes are too long");
        assert_eq!(
            error.to_string(),
            "message_id: 256 bytes are too many, 255 can be sent; the message was not published"
        );
    }

    #[test]
    fn headers_that_fit_into_no_frame_are_refused() {
        let with =
            |bytes| Envelope::new(Destination::DeadLetter, "kind", "{}").with_header("h", "x".repeat(bytes));
        assert!(with(HEADERS_LIMIT - 1).properties("test").is_ok());
        let error = with(HEADERS_LIMIT).properties("test").expect_err("a byte too many");
        assert!(
            error.to_string().starts_with("headers: 8193 bytes are too many, 8192 can be sent"),
            "{error}"
        );
    }

    #[test]
    fn only_aborts_and_canaries_are_transient() {
        let mode = |destination| {
            let envelope = Envelope::new(destination, "kind", "{}");
            *envelope.properties("test").expect("short enough").delivery_mode()
        };
        assert_eq!(mode(Destination::Page), Some(2));
        assert_eq!(mode(Destination::DeadLetter), Some(2));
        assert_eq!(mode(Destination::Abort), Some(1));
        assert_eq!(mode(Destination::Canary { queue: "mine".to_owned() }), Some(1));
    }

    #[test]
    fn every_message_says_what_it_is() {
        let envelope = Envelope::new(Destination::Page, "page", "{}")
            .with_correlation_id("job")
            .with_header("traceparent", "00-1-2-01");
        let properties = envelope.properties("backhaul-test").expect("short enough");
        assert_eq!(
            properties.message_id().as_ref().map(|id| id.as_str()),
            Some(envelope.message_id.as_str())
        );
        assert_eq!(properties.correlation_id().as_ref().map(|id| id.as_str()), Some("job"));
        assert_eq!(properties.kind().as_ref().map(|kind| kind.as_str()), Some("page"));
        assert_eq!(properties.app_id().as_ref().map(|id| id.as_str()), Some("backhaul-test"));
        assert_eq!(properties.content_type().as_ref().map(|kind| kind.as_str()), Some("application/json"));
        assert!(properties.timestamp().is_some());
        let headers = properties.headers().as_ref().expect("has headers");
        assert!(headers.inner().contains_key("traceparent"));
    }
}
