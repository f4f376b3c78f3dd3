//! A message's properties and headers, for people.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, ShortString};
use serde_json::{Map, Value, json};

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

pub(super) fn value_of(value: &AMQPValue) -> Value {
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
