//! Dead letters in words and as JSON.

use crate::output::{Table, Text as Lines, json_text};
use broker::{DeadLetter, Origin, Text};
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

pub(super) fn table_of(letters: &[DeadLetter]) -> Table<6> {
    let mut table = Table::new(["DEAD LETTER", "TYPE", "REASON", "FIRST SEEN", "BYTES", "BODY"]);
    for letter in letters {
        table.row([
            called(letter, letters),
            letter.kind.as_deref().unwrap_or_default(),
            letter.reason.as_deref().unwrap_or_default(),
            letter.first_seen.as_deref().unwrap_or_default(),
            &letter.body.len().to_string(),
            &letter.beginning(BEGINNING),
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
pub(super) fn text_in_full(letter: &DeadLetter) -> Lines {
    let Text { text, base64 } = letter.text();
    let mut lines = Lines::from(format!("dead letter {}", letter.id));
    lines.push(letter.origin.as_ref().map_or_else(
        || "came from: its headers do not say".to_owned(),
        |origin| format!("came from: {}", place(origin)),
    ));
    lines.push("properties:");
    lines.extend(letter.properties().into_iter().map(|(name, value)| format!("  {name}: {value}")));
    lines.push("headers:");
    lines.extend(letter.headers().iter().map(|(name, value)| {
        let text = value.as_str().map(ToOwned::to_owned);
        format!("  {name}: {}", text.or_else(|| json_text(value).ok()).unwrap_or_default())
    }));
    lines.push(format!("body ({} bytes{}):", letter.body.len(), if base64 { ", in base64" } else { "" }));
    lines.append(Lines::of_lines(&text, "  "));
    lines
}

/// Where something is published, in words.
pub(super) fn place(origin: &Origin) -> String {
    match origin.exchange.as_str() {
        "" => format!("the queue {}", origin.routing_key),
        exchange => format!("exchange {exchange}, key {}", origin.routing_key),
    }
}
