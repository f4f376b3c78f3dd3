//! How large properties are on the wire: all of them go in one frame.

use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString};
use protocol::contract::header;

/// All properties but headers, with the frame around them, at most, in bytes.
const BESIDE: usize = 8 * 256 + 64;
/// What is said about headers that are left out takes no more, in bytes.
const LONGEST_LIST: usize = 1024;

/// The most bytes that properties take.
pub(in super::super) fn of(properties: &BasicProperties) -> usize {
    BESIDE + properties.headers().as_ref().map_or(0, of_table)
}

/// The same properties, without their largest headers if they would not fit into so many bytes. Ours stay, and one of them
/// says which are left out.
pub(in super::super) fn fitted(properties: BasicProperties, most: usize) -> BasicProperties {
    let mut size = of(&properties);
    let Some(table) = properties.headers().clone().filter(|_| size > most) else { return properties };
    let mut largest: Vec<_> = table
        .inner()
        .iter()
        .filter(|(name, _)| !header::ALWAYS.contains(&name.as_str()))
        .map(|(name, value)| (of_entry(name.as_str(), value), name))
        .collect();
    largest.sort_unstable();
    let mut left_out = Vec::new();
    while size + LONGEST_LIST > most
        && let Some((bytes, name)) = largest.pop()
    {
        size -= bytes;
        left_out.push((name, bytes));
    }
    let mut headers = FieldTable::default();
    for (name, value) in
        table.inner().iter().filter(|(name, _)| !left_out.iter().any(|(gone, _)| gone == name))
    {
        headers.insert(name.clone(), value.clone());
    }
    let list: Vec<_> = left_out.iter().map(|(name, bytes)| format!("{name} ({bytes} bytes)")).collect();
    let mut list = list.join(", ");
    list.truncate(list.floor_char_boundary(LONGEST_LIST / 2));
    headers.insert(header::LEFT_OUT.into(), AMQPValue::LongString(LongString::from(list)));
    properties.with_headers(headers)
}

fn of_table(table: &FieldTable) -> usize {
    4 + table.inner().iter().map(|(name, value)| of_entry(name.as_str(), value)).sum::<usize>()
}

fn of_entry(name: &str, value: &AMQPValue) -> usize {
    1 + name.len() + of_value(value)
}

fn of_value(value: &AMQPValue) -> usize {
    1 + match value {
        AMQPValue::LongString(text) => 4 + text.as_bytes().len(),
        AMQPValue::ShortString(text) => 1 + text.as_str().len(),
        AMQPValue::ByteArray(bytes) => 4 + bytes.len(),
        AMQPValue::FieldArray(array) => 4 + array.as_slice().iter().map(of_value).sum::<usize>(),
        AMQPValue::FieldTable(table) => of_table(table),
        AMQPValue::Boolean(_)
        | AMQPValue::ShortShortInt(_)
        | AMQPValue::ShortShortUInt(_)
        | AMQPValue::ShortInt(_)
        | AMQPValue::ShortUInt(_)
        | AMQPValue::LongInt(_)
        | AMQPValue::LongUInt(_)
        | AMQPValue::LongLongInt(_)
        | AMQPValue::Float(_)
        | AMQPValue::Double(_)
        | AMQPValue::DecimalValue(_)
        | AMQPValue::Timestamp(_)
        | AMQPValue::Void => 8,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(headers: &[(&str, usize)]) -> BasicProperties {
        let mut table = FieldTable::default();
        for (name, bytes) in headers {
            table.insert((*name).into(), AMQPValue::LongString("x".repeat(*bytes).into()));
        }
        BasicProperties::default().with_headers(table)
    }

    #[test]
    fn what_fits_is_left_as_it_is() {
        let properties = with(&[("a", 5000), ("x-reason", 10)]);
        let size = of(&properties);
        assert_eq!(fitted(properties.clone(), size), properties);
        assert_ne!(fitted(properties.clone(), size - 1), properties);
    }

    #[test]
    fn the_largest_headers_are_left_out_and_named() {
        let properties = with(&[("small", 10), ("large", 6000), ("larger", 7000), ("x-reason", 3000)]);
        let fits = fitted(properties, 9000);
        assert!(of(&fits) <= 9000, "{}", of(&fits));
        let table = fits.headers().clone().unwrap();
        let names: Vec<_> = table.inner().keys().map(ToString::to_string).collect();
        assert_eq!(names, ["small", "x-left-out", "x-reason"]);
        let said = table.inner()[header::LEFT_OUT].as_long_string().unwrap().to_string();
        assert_eq!(said, "larger (7012 bytes), large (6011 bytes)");
        let thousands: Vec<String> = (0..1000).map(|number| format!("header-{number}")).collect();
        let many: Vec<_> = thousands.iter().map(|name| (name.as_str(), 200)).collect();
        assert!(of(&fitted(with(&many), 4000)) <= 4000);
    }
}
