//! A record as a row of a schema.

use super::convert::convert;
use super::{Field, Fields};
use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;

/// The values of a row have no more bytes than this, or than the record that it shows.
const LARGEST_ROW: usize = 1 << 20;

/// What is wrong with a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RowError {
    /// The field that has no value because of it; none if it is about the whole record.
    pub field: Option<String>,
    /// What is wrong, in words.
    pub message: String,
}

/// The values of a row, as many as the schema has fields.
#[derive(Clone, Debug)]
pub struct Row<'s> {
    fields: &'s Fields,
    values: Vec<Option<Box<RawValue>>>,
    /// Why the row is only partial; empty if it is complete.
    pub errors: Vec<RowError>,
}

impl Fields {
    /// Shows a record as a row.
    #[must_use]
    pub fn row(&self, record: &RawValue) -> Row<'_> {
        let mut row = Row { fields: self, values: Vec::with_capacity(self.0.len()), errors: Vec::new() };
        // Fields may show the same part of a record again and again.
        let most = record.get().len().max(LARGEST_ROW);
        let mut size = 0;
        for field in &self.0 {
            let value = value(field, record).unwrap_or_else(|message| {
                row.errors.push(RowError { field: Some(field.name.clone()), message });
                None
            });
            let value = value.filter(|value| {
                let fits = size + value.get().len() <= most;
                if fits {
                    size += value.get().len();
                } else {
                    let message = format!("the row would have more than {most} bytes");
                    row.errors.push(RowError { field: Some(field.name.clone()), message });
                }
                fits
            });
            row.values.push(value);
        }
        row
    }

    /// A row without a value, of a record of which there is nothing to show.
    #[must_use]
    pub fn empty_row(&self) -> Row<'_> {
        Row { fields: self, values: vec![None; self.0.len()], errors: Vec::new() }
    }

    /// How many values the row of a record has that are not null. What is no JSON has none.
    #[must_use]
    pub fn filled(&self, record: &str) -> i64 {
        let Ok(record) = serde_json::from_str::<&RawValue>(record) else { return 0 };
        let filled = self.0.iter().filter(|field| matches!(value(field, record), Ok(Some(_)))).count();
        i64::try_from(filled).unwrap_or(i64::MAX)
    }
}

fn value(field: &Field, record: &RawValue) -> Result<Option<Box<RawValue>>, String> {
    match field.pointer.find(record).filter(|raw| raw.get() != "null") {
        Some(raw) => convert(raw, field.kind).map(Some),
        None if field.required => Err(format!("the record has no value at {:?}", field.pointer.to_string())),
        None => Ok(None),
    }
}

/// An object with every field of the schema, in its order.
impl Serialize for Row<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.values.len()))?;
        for (field, value) in self.fields.as_slice().iter().zip(&self.values) {
            map.serialize_entry(&field.name, value)?;
        }
        map.end()
    }
}
