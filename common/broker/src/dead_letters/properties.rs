//! A message's properties and headers: kept in the letter that it becomes, and put back as they were.
//!
//! A letter has all that the message came with, and our headers that say why it is one. What cannot stand in a letter is set
//! aside in one of them: a life time, which would end the letter; a user's name, which the broker compares with whoever
//! publishes; headers that would send copies of the letter elsewhere; and headers of the message's that have our names.

use super::shown;
use chrono::DateTime;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use protocol::contract::header;

/// Headers that the broker obeys: it sends copies of the message to what they name.
const OF_COPIES: [&str; 2] = ["CC", "BCC"];
/// Counted by the broker with each delivery (the second one by 4.3); not part of the message.
const COUNTS: [&str; 2] = ["x-delivery-count", "x-acquired-count"];
/// What is set aside, by these names.
const USER_ID: &str = "user_id";
const EXPIRATION: &str = "expiration";
const HEADERS: &str = "headers";

/// Whether the broker has delivered it before: some versions tell it only so. To a `get` they count from 0.
pub(super) fn was_delivered(came: &BasicProperties) -> bool {
    let counts = came.headers().iter().flat_map(|table| table.inner());
    let counts = counts.filter(|(name, _)| COUNTS.contains(&name.as_str()));
    counts.into_iter().any(|(_, count)| matches!(shown::value_of(count).as_i64(), Some(1..)))
}

/// Sets one property.
type With = fn(BasicProperties, ShortString) -> BasicProperties;

/// Why a message becomes a letter: our headers, but for [`header::FIRST_SEEN`].
pub(super) type Said<'a> = [(&'static str, &'a str)];

/// The properties of the letter that a message becomes. `now` is when it was first refused, unless it says otherwise: one
/// that was sent back, and is refused again, is as old as it is.
pub(super) fn of_letter(came: &BasicProperties, said: &Said<'_>, now: &str) -> BasicProperties {
    // A letter that somebody moved by hand is still the message that it was.
    let moved = is_letter(came).then(|| as_it_was(came, None));
    let came = moved.as_ref().unwrap_or(came);
    let mut headers = FieldTable::default();
    let (mut aside, mut shadowed) = (FieldTable::default(), FieldTable::default());
    let first_seen = came
        .headers()
        .as_ref()
        .and_then(|table| text(table, header::FIRST_SEEN))
        .filter(|time| is_time(time));
    for (name, value) in came.headers().iter().flat_map(|table| table.inner()) {
        match name.as_str() {
            count if COUNTS.contains(&count) => {}
            header::FIRST_SEEN if first_seen.is_some() => {}
            ours if header::ALL.contains(&ours) || OF_COPIES.contains(&ours) => {
                shadowed.insert(name.clone(), value.clone());
            }
            _ => {
                headers.insert(name.clone(), value.clone());
            }
        }
    }
    for (name, property) in [(USER_ID, came.user_id()), (EXPIRATION, came.expiration())] {
        if let Some(property) = property {
            aside.insert(name.into(), long(property.as_str()));
        }
    }
    if !shadowed.inner().is_empty() {
        aside.insert(HEADERS.into(), AMQPValue::FieldTable(shadowed));
    }
    if !aside.inner().is_empty() {
        headers.insert(header::SET_ASIDE.into(), AMQPValue::FieldTable(aside));
    }
    headers.insert(header::FIRST_SEEN.into(), long(first_seen.as_deref().unwrap_or(now)));
    for (name, value) in said {
        headers.insert((*name).into(), long(value));
    }
    without_headers(came).with_headers(headers)
}

/// The properties that a letter's message had, and [`header::FIRST_SEEN`]. Two are left out: a user's name that is not
/// `user`, as whom it is published, and the headers that would send copies to whom they have been sent.
pub(super) fn as_it_was(letter: &BasicProperties, user: Option<&str>) -> BasicProperties {
    let empty = FieldTable::default();
    let table = letter.headers().as_ref().unwrap_or(&empty);
    let by_us = text(table, header::REASON).is_some();
    let mut headers = FieldTable::default();
    for (name, value) in table.inner() {
        let ours = header::ALL.contains(&name.as_str()) && name.as_str() != header::FIRST_SEEN;
        let brokers = COUNTS.contains(&name.as_str()) || (!by_us && is_of_the_brokers_letter(name.as_str()));
        if !ours && !brokers {
            headers.insert(name.clone(), value.clone());
        }
    }
    let aside = table.inner().get(header::SET_ASIDE).and_then(AMQPValue::as_field_table).unwrap_or(&empty);
    let shadowed = aside.inner().get(HEADERS).and_then(AMQPValue::as_field_table).unwrap_or(&empty);
    for (name, value) in shadowed.inner().iter().filter(|(name, _)| !OF_COPIES.contains(&name.as_str())) {
        headers.insert(name.clone(), value.clone());
    }
    let came_without = letter.headers().is_none() || (by_us && headers.inner().is_empty());
    let mut it = without_headers(letter);
    if !came_without {
        it = it.with_headers(headers);
    }
    if let Some(expiration) = text(aside, EXPIRATION) {
        it = it.with_expiration(short(&expiration));
    }
    match text(aside, USER_ID) {
        Some(name) if user == Some(name.as_str()) => it.with_user_id(short(&name)),
        _ => it,
    }
}

/// Those of a message that waits where nothing took it: it is not a letter yet.
pub(super) fn of_unrouted(message: &BasicProperties, user: Option<&str>) -> BasicProperties {
    let mut it = without_headers(message);
    if let Some(table) = message.headers() {
        let mut headers = FieldTable::default();
        let kept = |name: &str| !COUNTS.contains(&name) && !OF_COPIES.contains(&name);
        for (name, value) in table.inner().iter().filter(|(name, _)| kept(name.as_str())) {
            headers.insert(name.clone(), value.clone());
        }
        it = it.with_headers(headers);
    }
    if let Some(expiration) = message.expiration() {
        it = it.with_expiration(expiration.clone());
    }
    match message.user_id() {
        Some(name) if user == Some(name.as_str()) => it.with_user_id(name.clone()),
        _ => it,
    }
}

/// Whether all of our headers are there, as we write them.
fn is_letter(came: &BasicProperties) -> bool {
    let all = |table: &FieldTable| {
        header::ALWAYS.iter().all(|name| text(table, name).is_some())
            && text(table, header::FIRST_SEEN).is_some_and(|time| is_time(&time))
    };
    came.headers().as_ref().is_some_and(all)
}

/// What a letter has that the broker made (by a policy).
fn is_of_the_brokers_letter(name: &str) -> bool {
    name == "x-death" || name.starts_with("x-first-death-") || name.starts_with("x-last-death-")
}

/// Everything but headers, the life time and the user's name.
fn without_headers(of: &BasicProperties) -> BasicProperties {
    let texts: [(&Option<ShortString>, With); 8] = [
        (of.content_type(), BasicProperties::with_content_type),
        (of.content_encoding(), BasicProperties::with_content_encoding),
        (of.correlation_id(), BasicProperties::with_correlation_id),
        (of.reply_to(), BasicProperties::with_reply_to),
        (of.message_id(), BasicProperties::with_message_id),
        (of.kind(), BasicProperties::with_type),
        (of.app_id(), BasicProperties::with_app_id),
        (of.cluster_id(), BasicProperties::with_cluster_id),
    ];
    let mut it = BasicProperties::default();
    for (text, with) in texts {
        if let Some(text) = text {
            it = with(it, text.clone());
        }
    }
    if let Some(timestamp) = of.timestamp() {
        it = it.with_timestamp(*timestamp);
    }
    if let Some(priority) = of.priority() {
        it = it.with_priority(*priority);
    }
    if let Some(mode) = of.delivery_mode() {
        it = it.with_delivery_mode(*mode);
    }
    it
}

/// The value of a header, if it is text.
pub(super) fn text(table: &FieldTable, name: &str) -> Option<String> {
    let value = table.inner().get(name)?;
    let long = value.as_long_string().map(|text| String::from_utf8_lossy(text.as_bytes()).into_owned());
    long.or_else(|| value.as_short_string().map(ToString::to_string))
}

fn is_time(text: &str) -> bool {
    DateTime::parse_from_rfc3339(text).is_ok()
}

fn long(text: &str) -> AMQPValue {
    AMQPValue::LongString(LongString::from(text))
}

/// A text that was a short string before.
fn short(text: &str) -> ShortString {
    ShortString::try_new(text).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::super::shown::{json_of, named};
    use super::*;
    use lapin::types::{DecimalValue, FieldArray};
    use serde_json::json;

    const NOW: &str = "2026-01-31T12:00:00+00:00";
    const SAID: &Said<'static> = &[
        (header::LETTER, "0123456789ab"),
        (header::REASON, "not_json"),
        (header::DETAIL, "no JSON"),
        (header::QUEUE, "starts"),
        (header::EXCHANGE, "ns.commands"),
        (header::ROUTING_KEY, "sync.start"),
        (header::REDELIVERED, "false"),
    ];

    fn table(entries: Vec<(&str, AMQPValue)>) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in entries {
            table.insert(name.into(), value);
        }
        table
    }

    /// A message with everything that AMQP has.
    fn everything() -> BasicProperties {
        let nested = table(vec![("a", AMQPValue::Boolean(true)), ("b", AMQPValue::Void)]);
        let headers = table(vec![
            ("traceparent", long("00-1-2-01")),
            ("text", AMQPValue::ShortString("short".into())),
            ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
            ("number", AMQPValue::LongLongInt(-7)),
            ("small", AMQPValue::ShortShortUInt(7)),
            ("float", AMQPValue::Double(1.5)),
            ("decimal", AMQPValue::DecimalValue(DecimalValue { scale: 2, value: 314 })),
            ("at", AMQPValue::Timestamp(1_770_000_000)),
            ("list", AMQPValue::FieldArray(FieldArray::from(vec![long("x"), AMQPValue::Void]))),
            ("table", AMQPValue::FieldTable(nested)),
            ("x-death", long("of somebody else's queue")),
            ("x-first-death-queue", long("somebody else's")),
            // Names of ours, in a message that never was a letter.
            ("x-reason", long("mine")),
            ("x-set-aside", AMQPValue::LongInt(1)),
            ("x-first-seen", long("yesterday")),
        ]);
        BasicProperties::default()
            .with_headers(headers)
            .with_content_type("text/plain".into())
            .with_content_encoding("utf-8".into())
            .with_delivery_mode(1)
            .with_priority(9)
            .with_correlation_id("about it".into())
            .with_reply_to("inbox".into())
            .with_expiration("60000".into())
            .with_message_id("it".into())
            .with_timestamp(1_700_000_000)
            .with_type("sync.start".into())
            .with_user_id("crm".into())
            .with_app_id("the crm".into())
            .with_cluster_id("one".into())
    }

    #[test]
    fn a_letter_has_all_that_its_message_came_with_and_retry_gives_it_back() {
        let came = everything();
        let letter = of_letter(&came, SAID, NOW);
        let shown = json_of(letter.headers().as_ref().unwrap());
        assert_eq!((&shown["x-reason"], &shown["x-first-seen"]), (&json!("not_json"), &json!(NOW)));
        assert_eq!((&shown["number"], &shown["table"]), (&json!(-7), &json!({"a": true, "b": null})));
        assert_eq!(
            shown["x-set-aside"],
            json!({
                "user_id": "crm", "expiration": "60000",
                "headers": { "x-reason": "mine", "x-set-aside": 1, "x-first-seen": "yesterday" },
            })
        );
        let names: Vec<_> = named(&letter).into_iter().map(|(name, _)| name).collect();
        assert!(names.contains(&"app_id") && names.contains(&"timestamp"), "{names:?}");
        assert!(!names.contains(&"expiration") && !names.contains(&"user_id"), "{names:?}");

        assert_eq!(as_it_was(&letter, Some("crm")), came);
        let without_user = without_headers(&came)
            .with_headers(came.headers().clone().unwrap())
            .with_expiration("60000".into());
        assert_eq!(as_it_was(&letter, Some("guest")), without_user);
    }

    #[test]
    fn what_was_not_there_is_not_there_afterwards() {
        let letter = of_letter(&BasicProperties::default(), SAID, NOW);
        assert_eq!(named(&letter), []);
        let age = table(vec![(header::FIRST_SEEN, long(NOW))]);
        assert_eq!(as_it_was(&letter, None), BasicProperties::default().with_headers(age));
    }

    #[test]
    fn one_that_is_refused_again_or_was_moved_by_hand_is_as_old_as_it_is_and_grows_no_more() {
        let first = of_letter(&BasicProperties::default().with_type("sync.start".into()), SAID, NOW);
        let later = "2026-02-01T12:00:00+00:00";
        let sent_back = as_it_was(&first, None);
        assert_eq!(of_letter(&sent_back, SAID, later), first);
        assert_eq!(of_letter(&first, SAID, later), first, "moved, with our headers on it");
    }

    #[test]
    fn the_brokers_count_is_no_part_of_a_message_nor_are_headers_that_send_copies_sent_back() {
        let headers = table(vec![
            (COUNTS[0], AMQPValue::LongLongInt(3)),
            ("CC", AMQPValue::FieldArray(FieldArray::from(vec![long("elsewhere")]))),
            ("kept", long("v")),
        ]);
        let came = BasicProperties::default().with_headers(headers);
        let letter = of_letter(&came, SAID, NOW);
        let shown = json_of(letter.headers().as_ref().unwrap());
        assert!(!shown.contains_key(COUNTS[0]) && !shown.contains_key("CC"), "{shown:?}");
        assert_eq!(shown["x-set-aside"], json!({ "headers": { "CC": ["elsewhere"] } }));
        let left = |it: &BasicProperties| json_of(it.headers().as_ref().unwrap());
        assert_eq!(json!(left(&as_it_was(&letter, None))), json!({ "kept": "v", "x-first-seen": NOW }));
        assert_eq!(json!(left(&of_unrouted(&came, None))), json!({ "kept": "v" }));
    }

    #[test]
    fn a_letter_that_the_broker_made_goes_back_without_what_made_it_one() {
        let headers = table(vec![
            ("traceparent", long("v")),
            ("x-first-death-queue", long("ns.pages")),
            ("x-last-death-reason", long("rejected")),
            ("x-death", long("v")),
            (COUNTS[0], AMQPValue::LongLongInt(3)),
        ]);
        let letter = BasicProperties::default().with_headers(headers).with_message_id("id".into());
        let it = as_it_was(&letter, None);
        assert_eq!(json!(json_of(it.headers().as_ref().unwrap())), json!({ "traceparent": "v" }));
        assert_eq!(named(&it), [("message_id", "id".to_owned())]);
    }
}
