//! A message's properties and headers: shown, and put back as they were.

use super::letter::header;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

/// What a letter has because it is one, or because the broker delivered it; not part of the message.
const OF_A_LETTER: [&str; 7] = [
    header::REASON,
    header::DETAIL,
    header::QUEUE,
    header::EXCHANGE,
    header::ROUTING_KEY,
    header::REDELIVERED,
    "x-delivery-count",
];

/// Sets one property.
type With = fn(BasicProperties, ShortString) -> BasicProperties;

/// Whether a header came with the death, ours or the broker's (`x-death`, `x-first-death-…`, `x-last-death-…`).
fn is_of_a_letter(name: &str) -> bool {
    let by_broker =
        name == "x-death" || name.starts_with("x-first-death-") || name.starts_with("x-last-death-");
    by_broker || OF_A_LETTER.contains(&name)
}

/// The properties that a message had before. Three are left out: a user's name, which the broker compares with whoever
/// publishes; a life time, which is over; and a cluster's name, which AMQP has given up. It is written to disk, whatever
/// it was before.
pub(super) fn as_it_was(letter: &BasicProperties) -> BasicProperties {
    let mut headers = FieldTable::default();
    for (name, value) in letter.headers().iter().flat_map(|table| table.inner()) {
        if !is_of_a_letter(name.as_str()) {
            headers.insert(name.clone(), value.clone());
        }
    }
    let mut it = BasicProperties::default().with_headers(headers).with_delivery_mode(2);
    let texts: [(&Option<ShortString>, With); 7] = [
        (letter.content_type(), BasicProperties::with_content_type),
        (letter.content_encoding(), BasicProperties::with_content_encoding),
        (letter.correlation_id(), BasicProperties::with_correlation_id),
        (letter.reply_to(), BasicProperties::with_reply_to),
        (letter.message_id(), BasicProperties::with_message_id),
        (letter.kind(), BasicProperties::with_type),
        (letter.app_id(), BasicProperties::with_app_id),
    ];
    for (text, with) in texts {
        if let Some(text) = text {
            it = with(it, text.clone());
        }
    }
    if let Some(timestamp) = letter.timestamp() {
        it = it.with_timestamp(*timestamp);
    }
    if let Some(priority) = letter.priority() {
        it = it.with_priority(*priority);
    }
    it
}

/// Every property that is set, headers apart.
pub(super) fn named(letter: &BasicProperties) -> Vec<(&'static str, String)> {
    let text = |text: &Option<ShortString>| text.as_ref().map(ToString::to_string);
    let all = [
        ("message_id", text(letter.message_id())),
        ("type", text(letter.kind())),
        ("correlation_id", text(letter.correlation_id())),
        ("reply_to", text(letter.reply_to())),
        ("content_type", text(letter.content_type())),
        ("content_encoding", text(letter.content_encoding())),
        ("app_id", text(letter.app_id())),
        ("user_id", text(letter.user_id())),
        ("timestamp", letter.timestamp().map(|it| it.to_string())),
        ("expiration", text(letter.expiration())),
        ("priority", letter.priority().map(|it| it.to_string())),
        ("delivery_mode", letter.delivery_mode().map(|it| it.to_string())),
    ];
    all.into_iter().filter_map(|(name, value)| Some((name, value?))).collect()
}

/// A table as JSON.
pub(super) fn json_of(table: &FieldTable) -> Map<String, Value> {
    table.inner().iter().map(|(name, value)| (name.to_string(), value_of(value))).collect()
}

fn value_of(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::Boolean(it) => json!(it),
        AMQPValue::ShortShortInt(it) => json!(it),
        AMQPValue::ShortShortUInt(it) => json!(it),
        AMQPValue::ShortInt(it) => json!(it),
        AMQPValue::ShortUInt(it) => json!(it),
        AMQPValue::LongInt(it) => json!(it),
        AMQPValue::LongUInt(it) => json!(it),
        AMQPValue::LongLongInt(it) => json!(it),
        AMQPValue::Float(it) => json!(it),
        AMQPValue::Double(it) => json!(it),
        AMQPValue::DecimalValue(it) => json!({ "scale": it.scale, "value": it.value }),
        AMQPValue::ShortString(it) => json!(it.as_str()),
        AMQPValue::LongString(it) => json!(String::from_utf8_lossy(it.as_bytes())),
        AMQPValue::FieldArray(it) => it.as_slice().iter().map(value_of).collect(),
        AMQPValue::Timestamp(it) => json!(it),
        AMQPValue::FieldTable(it) => Value::Object(json_of(it)),
        AMQPValue::ByteArray(it) => json!(String::from_utf8_lossy(it.as_slice())),
        AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_back_without_what_made_it_a_letter() {
        let mut headers = FieldTable::default();
        for name in
            ["traceparent", "x-first-seen", "x-reason", "x-exchange", "x-first-death-queue", "x-death"]
        {
            headers.insert(name.into(), AMQPValue::LongString("v".into()));
        }
        headers.insert("x-delivery-count".into(), AMQPValue::LongLongInt(3));
        let letter = BasicProperties::default()
            .with_headers(headers)
            .with_message_id("id".into())
            .with_type("sync.start".into())
            .with_user_id("guest".into())
            .with_expiration("1".into())
            .with_timestamp(7)
            .with_delivery_mode(1);
        let it = as_it_was(&letter);
        let left: Vec<_> = json_of(it.headers().as_ref().unwrap()).keys().cloned().collect();
        assert_eq!(left, ["traceparent", "x-first-seen"]);
        let named: Vec<_> = named(&it).into_iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(named, ["message_id=id", "type=sync.start", "timestamp=7", "delivery_mode=2"]);
    }
}
