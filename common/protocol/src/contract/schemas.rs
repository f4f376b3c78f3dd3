//! JSON Schemas, generated from the types that encode and decode the messages.

use super::examples::examples;
use super::{AbortMessage, EventMessage, MarkerMessage, Message};
use crate::command::{CancelCommand, Reply, StartCommand};
use crate::slice::Ring;
use schemars::Schema;
use schemars::generate::{SchemaGenerator, SchemaSettings};
use serde_json::{Map, Value, json};

/// The schema of a message (JSON Schema 2020-12), with examples. It allows what it does not name: a receiver ignores
/// unknown fields (but for names that are near a known one, of which the schema has the usual ones).
#[must_use]
pub fn schema(message: Message) -> Value {
    let settings = SchemaSettings::draft2020_12();
    let settings = if is_ours(message) { settings.for_serialize() } else { settings };
    let generator = settings.into_generator();
    let mut schema = match message {
        Message::Start => generator.into_root_schema_for::<StartCommand>(),
        Message::Cancel => generator.into_root_schema_for::<CancelCommand>(),
        Message::Reply => generator.into_root_schema_for::<Reply>(),
        Message::Event => generator.into_root_schema_for::<EventMessage>(),
        Message::Page => generator.into_root_schema_for::<Ring>(),
        Message::Marker => generator.into_root_schema_for::<MarkerMessage>(),
        Message::Abort => generator.into_root_schema_for::<AbortMessage>(),
    };
    schema.insert("title".to_owned(), json!(format!("Backhaul: {}", message.name())));
    let examples = examples().into_iter().filter(|example| example.message == message);
    schema.insert("examples".to_owned(), examples.map(|example| example.payload).collect());
    schema.to_value()
}

/// The schemas that the AsyncAPI document refers to, and what each message refers to.
pub(super) fn components() -> (Map<String, Value>, impl Fn(Message) -> Value) {
    // Its schema language is a superset of draft 7.
    let settings = SchemaSettings::draft07().with(|it| it.definitions_path = "/components/schemas".into());
    let mut theirs = settings.clone().into_generator();
    let mut ours = settings.for_serialize().into_generator();
    let references = Message::ALL.map(|message| {
        let generator = if is_ours(message) { &mut ours } else { &mut theirs };
        reference(generator, message)
    });
    let mut schemas = theirs.take_definitions(true);
    schemas.extend(ours.take_definitions(true));
    let of = move |message: Message| {
        let place = Message::ALL.into_iter().position(|it| it == message);
        place.and_then(|place| references.get(place)).map(|it| it.clone().to_value()).unwrap_or_default()
    };
    (schemas, of)
}

fn reference(generator: &mut SchemaGenerator, message: Message) -> Schema {
    match message {
        Message::Start => generator.subschema_for::<StartCommand>(),
        Message::Cancel => generator.subschema_for::<CancelCommand>(),
        Message::Reply => generator.subschema_for::<Reply>(),
        Message::Event => generator.subschema_for::<EventMessage>(),
        Message::Page => generator.subschema_for::<Ring>(),
        Message::Marker => generator.subschema_for::<MarkerMessage>(),
        Message::Abort => generator.subschema_for::<AbortMessage>(),
    }
}

/// Whether the schema says what we write, where every field is there; else what we read, where defaults may be left out.
const fn is_ours(message: Message) -> bool {
    match message {
        Message::Start | Message::Cancel => false,
        Message::Reply | Message::Event | Message::Page | Message::Marker | Message::Abort => true,
    }
}
