//! Dead letters in words and as JSON.

use crate::output::table;
use comfy_table::Table;
use common::amqp::{DeadLetter, Origin, Text};
use serde_json::{Value, json};

/// How much of a body a list shows, in characters.
const BEGINNING: usize = 60;

/// As `list --json` shows it.
pub(super) fn in_short(letter: &DeadLetter) -> Value {
    json!({
        "id": letter.id, "letter": letter.letter, "type": letter.kind, "reason": letter.reason, "detail": letter.detail,
        "first_seen": letter.first_seen, "queue": letter.queue, "bytes": letter.body.len(),
        "beginning": letter.beginning(BEGINNING),
    })
}

/// As `show --json` shows it.
pub(super) fn in_full(letter: &DeadLetter) -> Value {
    let Text { text, base64 } = letter.text();
    let mut shown = in_short(letter);
    shown["origin"] = match &letter.origin {
        Some(origin) => json!({ "exchange": origin.exchange, "routing_key": origin.routing_key }),
        None => Value::Null,
    };
    shown["properties"] =
        letter.properties().into_iter().map(|(name, value)| (name.to_owned(), json!(value))).collect();
    shown["headers"] = Value::Object(letter.headers());
    shown["body"] = json!(text);
    shown["body_encoding"] = json!(if base64 { "base64" } else { "utf-8" });
    shown
}

pub(super) fn table_of(letters: &[DeadLetter]) -> Table {
    let mut table = table(["DEAD LETTER", "TYPE", "REASON", "FIRST SEEN", "BYTES", "BODY"]);
    for letter in letters {
        let text = |text: &Option<String>| text.as_deref().map(harmless).unwrap_or_default();
        table.add_row([
            harmless(called(letter, letters)),
            text(&letter.kind),
            text(&letter.reason),
            text(&letter.first_seen),
            letter.body.len().to_string(),
            letter.beginning(BEGINNING),
        ]);
    }
    table
}

/// The letter's own name where another is called the same.
fn called<'a>(letter: &'a DeadLetter, letters: &[DeadLetter]) -> &'a str {
    let shared = letters.iter().filter(|other| other.id == letter.id).count() > 1;
    letter.letter.as_deref().filter(|_| shared).unwrap_or(&letter.id)
}

/// Everything, for people.
pub(super) fn text_in_full(letter: &DeadLetter) -> String {
    let Text { text, base64 } = letter.text();
    let mut lines = vec![
        format!("dead letter {}", harmless(&letter.id)),
        letter.origin.as_ref().map_or_else(
            || "came from: its headers do not say".to_owned(),
            |origin| format!("came from: {}", place(origin)),
        ),
        "properties:".to_owned(),
    ];
    lines.extend(
        letter.properties().into_iter().map(|(name, value)| format!("  {name}: {}", harmless(&value))),
    );
    lines.push("headers:".to_owned());
    lines.extend(letter.headers().iter().map(|(name, value)| {
        let value = value.as_str().map_or_else(|| value.to_string(), harmless);
        format!("  {}: {value}", harmless(name))
    }));
    lines.push(format!("body ({} bytes{}):", letter.body.len(), if base64 { ", in base64" } else { "" }));
    lines.push(text.lines().map(harmless).collect::<Vec<_>>().join("\n"));
    lines.join("\n")
}

/// Where something is published, in words.
pub(super) fn place(origin: &Origin) -> String {
    match origin.exchange.as_str() {
        "" => format!("the queue {}", harmless(&origin.routing_key)),
        exchange => format!("exchange {}, key {}", harmless(exchange), harmless(&origin.routing_key)),
    }
}

/// A stranger's text, without what a terminal would obey.
fn harmless(text: &str) -> String {
    text.chars().map(|it| if it.is_control() && it != '\t' { '\u{fffd}' } else { it }).collect()
}
