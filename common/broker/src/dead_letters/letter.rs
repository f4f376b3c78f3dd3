//! One dead letter: what it was, why it is here, and where it came from.

use super::{properties, shown};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lapin::BasicProperties;
use protocol::command::UnknownName;
use protocol::contract::header;
use protocol::topology::{KEY_CANCEL, KEY_START, Topology, WorkQueue};
use serde_json::Value;

/// The queue that a letter came from, if it was the broker (a policy) that made it one.
const BROKERS_QUEUE: &str = "x-first-death-queue";

/// Where a letter was published, and is published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// The exchange; empty for the one that routes to the queue that the key names.
    pub exchange: String,
    /// The routing key.
    pub routing_key: String,
}

/// Bytes as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// The bytes as they are if they are UTF-8, else in base64.
    pub text: String,
    /// Whether it is base64.
    pub base64: bool,
}

/// The reason of a message that no queue has taken.
pub const UNROUTED: &str = "unrouted";

/// Where a letter waits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// In the queue of dead letters.
    Dead,
    /// In the queue of what no other queue has taken, until a consumer makes a letter of it; published there.
    Unrouted(Origin),
}

/// What [`UNROUTED`] means for a message that was published here.
#[must_use]
pub fn why_unrouted(topology: &Topology, exchange: &str, routing_key: &str) -> String {
    let shown = routing_key.escape_debug();
    if exchange != topology.commands() {
        return format!(
            "no queue takes what is published to the exchange {exchange} with the routing key \"{shown}\""
        );
    }
    match UnknownName::of(routing_key, &[KEY_START, KEY_CANCEL]) {
        Some(unknown) => format!("no queue takes this routing key: {unknown}"),
        None => format!("there was no queue for the routing key \"{shown}\" when it came"),
    }
}

/// A message of the dead-letter queue, or one that no queue has taken.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// What it is called here: its `message_id`, or for want of one a hash of its body. Others may be called the same.
    pub id: String,
    /// The letter's own name. None if the broker made it a letter, or nobody has yet.
    pub letter: Option<String>,
    /// The `type` property, or for want of one the routing key that it came with.
    pub kind: Option<String>,
    /// A stable word.
    pub reason: Option<String>,
    /// What exactly is wrong with it.
    pub detail: Option<String>,
    /// When it was first refused, in RFC 3339.
    pub first_seen: Option<String>,
    /// The queue that it came from, without its namespace.
    pub queue: Option<String>,
    /// Where it is sent back to. None if its headers do not tell.
    pub origin: Option<Origin>,
    /// The body.
    pub body: Vec<u8>,
    place: Place,
    properties: BasicProperties,
}

impl DeadLetter {
    pub(super) fn read(
        topology: &Topology,
        place: Place,
        properties: BasicProperties,
        body: Vec<u8>,
    ) -> Self {
        let headers = properties.headers().clone().unwrap_or_default();
        let said = |name: &str| properties::text(&headers, name);
        let of_body = || format!("body:{}", &blake3::hash(&body).to_hex()[..16]);
        let id = properties.message_id().as_ref().map_or_else(of_body, ToString::to_string);
        let kind = properties.kind().as_ref().map(ToString::to_string);
        match &place {
            Place::Dead => Self {
                id,
                letter: said(header::LETTER),
                kind: kind.or_else(|| said(header::ROUTING_KEY)),
                reason: said(header::REASON),
                detail: said(header::DETAIL),
                first_seen: said(header::FIRST_SEEN),
                queue: said(header::QUEUE).or_else(|| said(BROKERS_QUEUE)),
                origin: origin(topology, said),
                body,
                place,
                properties,
            },
            Place::Unrouted(published) => Self {
                id,
                letter: None,
                kind: kind.or_else(|| Some(published.routing_key.clone())),
                reason: Some(UNROUTED.to_owned()),
                detail: Some(why_unrouted(topology, &published.exchange, &published.routing_key)),
                first_seen: None,
                queue: Some(WorkQueue::Unrouted.word().to_owned()),
                origin: Some(published.clone()),
                body,
                place,
                properties,
            },
        }
    }

    /// Every property that is set, by its name in AMQP.
    #[must_use]
    pub fn properties(&self) -> Vec<(&'static str, String)> {
        shown::named(&self.properties)
    }

    /// Every header, of whatever type.
    #[must_use]
    pub fn headers(&self) -> serde_json::Map<String, Value> {
        shown::json_of(&self.properties.headers().clone().unwrap_or_default())
    }

    /// The whole body.
    #[must_use]
    pub fn text(&self) -> Text {
        match std::str::from_utf8(&self.body) {
            Ok(text) => Text { text: text.to_owned(), base64: false },
            Err(_not_text) => Text { text: STANDARD.encode(&self.body), base64: true },
        }
    }

    /// How the body begins, on one line; what is not text is shown as `�`.
    #[must_use]
    pub fn beginning(&self, characters: usize) -> String {
        // Four bytes are the longest character; a cut one at the end is not looked at.
        let bytes = self.body.get(..characters.saturating_mul(4)).unwrap_or(&self.body);
        let shown = |it: char| if it.is_control() || it.is_whitespace() { ' ' } else { it };
        String::from_utf8_lossy(bytes).chars().take(characters).map(shown).collect()
    }

    /// The properties that its message had; `user` is who publishes it.
    pub(super) fn properties_as_it_was(&self, user: &str) -> BasicProperties {
        match &self.place {
            Place::Dead => properties::as_it_was(&self.properties, Some(user)),
            Place::Unrouted(_) => properties::of_unrouted(&self.properties, Some(user)),
        }
    }
}

/// Letters from before the exchange was written down, and those that the broker made, go straight to their queue.
fn origin(topology: &Topology, said: impl Fn(&str) -> Option<String>) -> Option<Origin> {
    if let (Some(exchange), Some(routing_key)) = (said(header::EXCHANGE), said(header::ROUTING_KEY)) {
        return Some(Origin { exchange, routing_key });
    }
    let word = said(header::QUEUE);
    let ours = word.and_then(|word| WorkQueue::ALL.into_iter().find(|queue| queue.word() == word));
    let queue = ours.map(|queue| topology.queue(queue)).or_else(|| said(BROKERS_QUEUE))?;
    Some(Origin { exchange: String::new(), routing_key: queue })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lapin::types::{AMQPValue, FieldTable};

    fn letter(headers: &[(&str, &str)], id: Option<&str>, body: &[u8]) -> DeadLetter {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert((*name).into(), AMQPValue::LongString((*value).into()));
        }
        let mut properties = BasicProperties::default().with_headers(table);
        if let Some(id) = id {
            properties = properties.with_message_id(id.into());
        }
        DeadLetter::read(&Topology::new("ns"), Place::Dead, properties, body.to_vec())
    }

    #[test]
    fn it_goes_back_to_where_it_was_published() {
        let routed = |exchange: &str, key: &str| {
            Some(Origin { exchange: exchange.to_owned(), routing_key: key.to_owned() })
        };
        let key = ("x-routing-key", "sync.start");
        let full = letter(&[("x-exchange", "ns.commands"), key, ("x-queue", "starts")], None, b"");
        assert_eq!(full.origin, routed("ns.commands", "sync.start"));
        assert_eq!(letter(&[key, ("x-queue", "starts")], None, b"").origin, routed("", "ns.starts"));
        let by_broker = letter(&[("x-first-death-queue", "ns.pages")], None, b"");
        assert_eq!(by_broker.origin, routed("", "ns.pages"));
        for headers in [&[][..], &[key], &[("x-queue", "process")]] {
            assert_eq!(letter(headers, None, b"").origin, None, "{headers:?}");
        }
    }

    #[test]
    fn what_no_queue_took_says_why_and_where_it_was_published() {
        let published = |exchange: &str, key: &str| {
            let origin = Origin { exchange: exchange.to_owned(), routing_key: key.to_owned() };
            let place = Place::Unrouted(origin.clone());
            let letter =
                DeadLetter::read(&Topology::new("ns"), place, BasicProperties::default(), Vec::new());
            assert_eq!(letter.origin, Some(origin));
            assert_eq!((letter.reason.as_deref(), letter.kind.as_deref()), (Some("unrouted"), Some(key)));
            letter.detail.unwrap()
        };
        let mistyped = published("ns.commands", "sync.strat");
        assert!(
            mistyped.contains("\"sync.strat\" is not known here; did you mean sync.start?"),
            "{mistyped}"
        );
        let early = published("ns.commands", "sync.cancel");
        assert!(early.contains("there was no queue for the routing key \"sync.cancel\""), "{early}");
        let internal = published("ns.pages", "pag\n");
        assert!(internal.contains("the exchange ns.pages with the routing key \"pag\\n\""), "{internal}");
    }

    #[test]
    fn one_without_an_id_is_called_by_its_body() {
        assert_eq!(letter(&[], Some("mine"), b"x").id, "mine");
        let nameless = letter(&[], None, b"x").id;
        assert!(nameless.starts_with("body:") && nameless == letter(&[], None, b"x").id, "{nameless}");
        assert_ne!(nameless, letter(&[], None, b"y").id);
    }

    #[test]
    fn a_body_is_shown_whatever_it_is() {
        let it = letter(&[], None, "{\n\t\"n\": \"é\"}".as_bytes());
        assert_eq!(it.beginning(8), "{  \"n\": ");
        assert_eq!(it.text(), Text { text: "{\n\t\"n\": \"é\"}".to_owned(), base64: false });
        let it = letter(&[], None, b"\xff\x00\x1b[2J");
        assert_eq!(it.beginning(80), "\u{fffd}  [2J");
        assert_eq!(it.text(), Text { text: "/wAbWzJK".to_owned(), base64: true });
    }
}
