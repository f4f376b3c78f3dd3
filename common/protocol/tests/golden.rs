//! Golden messages: what was once published can always be read. A change that breaks one of these files breaks a service
//! that nobody here can see; add a file for a new form, and never edit an old one.
//!
//! The documents that are generated from the types are held to the same: they describe these files, and are themselves
//! as committed.

use protocol::command::{CancelCommand, OnConflict, Reply, StartCommand, decode};
use protocol::contract::{AbortMessage, EventMessage, MarkerMessage, Message, documents, examples, schema};
use protocol::job::JobMode;
use protocol::slice::Ring;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Why a test could not look, which is a failure too.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/v1")
}

fn read(path: &Path) -> Outcome<Value> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}

/// Every golden file, with the kind of its message: the beginning of its name.
fn files() -> Outcome<Vec<(Message, String, Value)>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(golden())? {
        let path = entry?.path();
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default().to_owned();
        let of = |message: &Message| name.split('_').next() == Some(message.name());
        let message = Message::ALL.into_iter().find(of).ok_or("a golden file's name begins with its kind")?;
        files.push((message, name, read(&path)?));
    }
    files.sort_by(|one, other| one.1.cmp(&other.1));
    Ok(files)
}

/// Reads a message as its receiver does, and writes it as its sender does.
fn read_and_write(message: Message, body: &Value) -> Outcome<Value> {
    let text = body.to_string();
    Ok(match message {
        Message::Start => {
            let decoded = decode::<StartCommand>(text.as_bytes(), Some("sync.start"))?;
            assert!(decoded.unknown.is_empty(), "{:?}", decoded.unknown);
            json!(decoded.command)
        }
        Message::Cancel => {
            let decoded = decode::<CancelCommand>(text.as_bytes(), Some("sync.cancel"))?;
            assert!(decoded.unknown.is_empty(), "{:?}", decoded.unknown);
            json!(decoded.command)
        }
        Message::Reply => json!(serde_json::from_str::<Reply>(&text)?),
        Message::Event => json!(serde_json::from_str::<EventMessage>(&text)?),
        Message::Page => json!(serde_json::from_str::<Ring>(&text)?),
        Message::Marker => json!(serde_json::from_str::<MarkerMessage>(&text)?),
        Message::Abort => json!(serde_json::from_str::<AbortMessage>(&text)?),
    })
}

#[test]
fn what_is_written_today_is_what_was_published() {
    let files = files().unwrap();
    for example in examples() {
        let found = files.iter().find(|(_, name, _)| *name == example.name);
        let (_, _, published) =
            found.unwrap_or_else(|| panic!("{}.json is missing: {}", example.name, example.payload));
        assert_eq!(example.payload, *published, "{} is written in another form", example.name);
    }
}

#[test]
fn what_was_published_can_be_read_and_is_written_the_same() {
    for (message, name, published) in files().unwrap() {
        let again = read_and_write(message, &published).unwrap();
        // A person may leave out defaults, and write times in another zone.
        if !["start_minimal", "start_full"].contains(&name.as_str()) {
            assert_eq!(again, published, "{name}");
        }
        assert_eq!(read_and_write(message, &again).unwrap(), again, "{name}: what we write we can read");
    }
}

#[test]
fn what_a_person_typed() {
    let decoded = decode::<StartCommand>(include_bytes!("golden/v1/start_minimal.json"), None).unwrap();
    assert_eq!(decoded.command.connection_id.to_string(), "018f0000-0000-7000-8000-000000000001");
    assert_eq!(decoded.command.job_id, None);
    assert_eq!((decoded.command.mode, decoded.command.on_conflict), (JobMode::Range, OnConflict::Reject));

    let body = include_bytes!("golden/v1/start_full.json");
    let command = decode::<StartCommand>(body, Some("sync.start")).unwrap().command;
    assert_eq!(command.job_id.unwrap().to_string(), "018f0000-0000-7000-8000-000000000002");
    assert_eq!(command.command_id.as_deref(), Some("crm-4711"));
    assert_eq!(command.date_from.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert_eq!(command.date_to.unwrap().to_rfc3339(), "2026-01-31T23:00:00+00:00");
    assert_eq!((command.name.as_deref(), command.requested_by.as_deref()), (Some("January"), Some("crm")));

    let by_connection =
        decode::<CancelCommand>(include_bytes!("golden/v1/cancel_connection.json"), None).unwrap();
    assert!(by_connection.command.connection_id.is_some() && by_connection.command.job_id.is_none());
}

/// Doorbells are in queues while versions change: they are the same to the byte.
#[test]
fn a_doorbell_to_the_byte() {
    let page = include_str!("golden/v1/page.json").trim();
    let ring: Ring = serde_json::from_str(page).unwrap();
    assert_eq!((ring.slice, ring.page, ring.ring), (3, 17, 5));
    assert_eq!(serde_json::to_string(&ring).unwrap(), page);
}

#[test]
fn the_schemas_describe_what_was_published() {
    for message in Message::ALL {
        let schema = schema(message);
        let validator =
            jsonschema::draft202012::options().should_validate_formats(true).build(&schema).unwrap();
        for (_, name, published) in files().unwrap().into_iter().filter(|(kind, _, _)| *kind == message) {
            let faults: Vec<_> = validator.iter_errors(&published).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{name}: {faults:?}");
        }
        assert!(!validator.is_valid(&json!({"job_id": "no UUID"})), "{}", message.name());
    }
    let cancel = jsonschema::validator_for(&schema(Message::Cancel)).unwrap();
    let id = "018f0000-0000-7000-8000-000000000001";
    assert!(!cancel.is_valid(&json!({})) && !cancel.is_valid(&json!({"job_id": id, "connection_id": id})));
    let start = jsonschema::validator_for(&schema(Message::Start)).unwrap();
    assert!(start.is_valid(&json!({"connection_id": id, "colour": 1})));
    assert!(!start.is_valid(&json!({"connection_id": id, "from": "2026-01-01T00:00:00Z"})));
    assert!(!start.is_valid(&json!({"connection_id": id, "on_conflict": "fight"})));
}

#[test]
fn the_committed_documents_are_the_generated_ones() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../contract");
    let again = "renew them: cargo run -p cli --bin backhaul -- contract --write common/contract";
    for (name, document) in documents() {
        let path = folder.join(&name);
        assert!(path.is_file() && read(&path).unwrap() == document, "{name} is not as generated; {again}");
    }
    let generated: BTreeSet<_> = documents().into_iter().map(|(name, _)| name).collect();
    for entry in std::fs::read_dir(folder).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        assert!(generated.contains(&name), "{name} describes no message");
    }
}

/// Every example in the documents is read by the code that reads the message, and every reference leads somewhere.
#[test]
fn the_documents_keep_their_word() {
    for message in Message::ALL {
        let schema = schema(message);
        let examples = schema["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{}", message.name());
        for example in examples {
            assert_eq!(read_and_write(message, example).unwrap(), *example);
        }
    }
    let document = protocol::contract::asyncapi();
    let messages = document["components"]["messages"].as_object().unwrap();
    for message in Message::ALL {
        for example in messages[message.name()]["examples"].as_array().unwrap() {
            assert_eq!(read_and_write(message, &example["payload"]).unwrap(), example["payload"]);
        }
    }
    let mut references = 0;
    each_reference(&document, &mut |reference| {
        references += 1;
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    });
    assert!(references > 20, "{references}");
}

fn each_reference(value: &Value, look: &mut impl FnMut(&str)) {
    if let Some(fields) = value.as_object() {
        if let Some(reference) = fields.get("$ref").and_then(Value::as_str) {
            look(reference);
        }
        fields.values().for_each(|value| each_reference(value, look));
    } else if let Some(items) = value.as_array() {
        items.iter().for_each(|value| each_reference(value, look));
    }
}
