//! The AsyncAPI 3 document: which messages there are, where they go, and what each side does with them. The names are
//! those of the default namespace.

use super::examples::examples;
use super::schemas::components;
use super::{EventKind, Message};
use crate::contract::header;
use crate::topology::KEY_CANCEL;
use crate::topology::KEY_PAGE;
use crate::topology::KEY_START;
use crate::topology::Topology;
use serde_json::{Value, json};

/// The document.
#[must_use]
pub fn asyncapi() -> Value {
    let names = Topology::new("backhaul");
    let (schemas, reference) = components();
    let message = |message: Message, kind: Value, summary: &str| {
        let examples = examples().into_iter().filter(|example| example.message == message);
        let examples: Vec<_> =
            examples.map(|example| json!({ "name": example.name, "payload": example.payload })).collect();
        json!({
            "summary": summary,
            "contentType": "application/json",
            "payload": reference(message),
            "bindings": { "amqp": { "contentEncoding": "utf-8", "messageType": kind, "bindingVersion": "0.3.0" } },
            "headers": headers(message),
            "examples": examples,
        })
    };
    let exchange = |name: String, kind: &str| {
        let exchange =
            json!({ "name": name, "type": kind, "durable": true, "autoDelete": false, "vhost": "/" });
        json!({ "amqp": { "is": "routingKey", "exchange": exchange, "bindingVersion": "0.3.0" } })
    };
    let carries = |messages: &[&str]| -> Value {
        let reference =
            |name: &&str| ((*name).to_owned(), json!({ "$ref": format!("#/components/messages/{name}") }));
        Value::Object(messages.iter().map(reference).collect())
    };
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Backhaul",
            "version": "1.0.0",
            "description": "Start and cancel commands, and what is told about the jobs. A field within two letters of a known \
                one, or from, to, since or until, is refused; other unknown fields are ignored, with a warning. A command \
                is applied once: it is recognised by its command_id, else by the message_id, and a repeat gets the first \
                answer. What can never be applied, and what is published with another routing key, goes to the \
                dead-letter queue, with headers that say why. A command's traceparent is on everything that is \
                published for it.",
            "license": { "name": "MIT OR Apache-2.0" },
        },
        "defaultContentType": "application/json",
        "channels": {
            "start": {
                "address": KEY_START, "messages": carries(&["start"]),
                "bindings": exchange(names.commands(), "direct"),
            },
            "cancel": {
                "address": KEY_CANCEL, "messages": carries(&["cancel"]),
                "bindings": exchange(names.commands(), "direct"),
            },
            "reply": {
                "address": null, "messages": carries(&["reply"]),
                "description": "The queue that the command's reply_to names.",
            },
            "events": {
                "address": "job.{event}", "messages": carries(&["event"]),
                "parameters": { "event": {
                    "description": "What happened: the last word of the routing key.",
                    "enum": EventKind::ALL.map(EventKind::word),
                }},
                "bindings": exchange(names.events(), "topic"),
            },
            "dead": {
                "address": names.dead_letters(), "messages": carries(&["deadLetter"]),
                "bindings": { "amqp": {
                    "is": "queue", "bindingVersion": "0.3.0",
                    "queue": { "name": names.dead_letters(), "durable": true, "exclusive": false, "autoDelete": false, "vhost": "/" },
                }},
            },
            "pages": {
                "address": KEY_PAGE, "messages": carries(&["page", "marker"]),
                "description": "Internal: doorbells, and the markers among them.",
                "bindings": exchange(names.pages(), "direct"),
            },
            "aborts": {
                "address": "", "messages": carries(&["abort"]),
                "description": "Internal: told to every consumer at once.",
                "bindings": exchange(names.aborts(), "fanout"),
            },
        },
        "operations": {
            "start": receive("start"),
            "cancel": receive("cancel"),
            "tellEvent": send("events", "Each transition at least once, those of a job in their order; progress at most once a second."),
            "keepDeadLetter": send("dead", "What can never be applied, kept for people."),
        },
        "components": {
            "messages": {
                "start": message(Message::Start, json!(KEY_START), "Asks for a sync of a connection."),
                "cancel": message(Message::Cancel, json!(KEY_CANCEL), "Asks for the end of a job."),
                "reply": message(Message::Reply, json!("reply"), "The answer to a command, with its correlation_id or message_id."),
                "event": message(Message::Event, json!("job.{event}"), "What happened to a job."),
                "deadLetter": dead_letter(),
                "page": message(Message::Page, json!("page"), "Internal: there may be work at a slice."),
                "marker": message(Message::Marker, json!("marker"), "Internal: shows which doorbells are lost."),
                "abort": message(Message::Abort, json!("abort"), "Internal: let go of a job's pages."),
            },
            "schemas": schemas,
        },
    })
}

fn receive(channel: &str) -> Value {
    json!({
        "action": "receive",
        "channel": { "$ref": format!("#/channels/{channel}") },
        "reply": {
            "address": { "location": "$message.header#/reply_to", "description": "Where it is set." },
            "channel": { "$ref": "#/channels/reply" },
        },
    })
}

fn send(channel: &str, summary: &str) -> Value {
    json!({ "action": "send", "channel": { "$ref": format!("#/channels/{channel}") }, "summary": summary })
}

fn headers(message: Message) -> Value {
    let mut properties = json!({});
    match message {
        Message::Start | Message::Cancel => {
            properties["traceparent"] = json!({
                "type": "string", "maxLength": 255,
                "description": "The trace that the command belongs to (W3C Trace Context). It is on everything that is published for it.",
            });
        }
        Message::Reply | Message::Event | Message::Page | Message::Abort => {
            properties["traceparent"] =
                json!({ "type": "string", "description": "That of the command, if it had one." });
        }
        Message::Marker => {}
    }
    if message == Message::Reply {
        properties["x-warning"] =
            json!({ "type": "string", "description": "Which fields of the command were ignored." });
    }
    json!({ "type": "object", "properties": properties })
}

fn dead_letter() -> Value {
    let text = |description: &str| json!({ "type": "string", "description": description });
    json!({
        "summary": "A message that can never be applied: its body, properties and headers as they were, and these beside them.",
        "headers": {
            "type": "object",
            "required": header::ALWAYS,
            "properties": {
                "x-letter": text("What `backhaul dlq` calls it. Messages may share an identifier; letters have their own."),
                "x-reason": text("A stable word: not_json, invalid, too_large, wrong_type, unknown_field, unknown_connection, unknown_schema, job_id_taken, not_a_page, refused, unrouted."),
                "x-detail": text("What exactly is wrong, and with which field."),
                "x-first-seen": { "type": "string", "format": "date-time", "description": "When it was refused for the first time." },
                "x-queue": text("The queue that it came from."),
                "x-exchange": text("The exchange that it was published to; empty if directly to the queue."),
                "x-routing-key": text("The routing key that it came with."),
                "x-redelivered": text("true if it had been delivered before."),
                "x-set-aside": { "type": "object", "description": "What the message had and a letter cannot have: expiration, user_id, and headers of these names or that send copies (CC, BCC)." },
                "x-left-out": text("Headers that were left out, since all of them do not fit into a message."),
            },
        },
        "payload": true,
    })
}
