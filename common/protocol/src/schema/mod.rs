//! Schemas: how a job's records are shown as rows. A field is a JSON pointer into the record, and the type that its value must
//! have. Nothing here is stored with the record, so any record can be shown by any schema.
//!
//! What a type accepts is strict: a value is shown as it is, or not at all.
//!
//! | type | accepts | shown as |
//! |---|---|---|
//! | `string` | a string | the string |
//! | `integer` | a number without a fraction (`3`, `3.0`, `3e2`) between −2^63 and 2^63 − 1 | a whole number |
//! | `number` | a number that a double can hold | the number as the record has it |
//! | `boolean` | `true`, `false` | the same |
//! | `timestamp` | a string in RFC 3339, with an offset | RFC 3339 in UTC, to the microsecond |
//! | `json` | anything | the same |
//!
//! `null` and what is not there are `null` for every type. Whatever else a record has in a field's place is `null` too, with
//! an error that says so, and the row is partial; so is a row that lacks a required value.

mod convert;
mod pointer;
mod row;

pub use pointer::Pointer;
pub use row::{Row, RowError};

use serde::{Deserialize, Serialize};
use std::collections::HashSet;

/// The most fields of a schema.
pub const MAX_FIELDS: usize = 100;
/// The longest name of a field, in characters.
pub const MAX_FIELD_NAME_CHARS: usize = 100;

/// The type of a field's values. What each accepts is said [above](self).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the table above says what they are")]
pub enum FieldType {
    String,
    Integer,
    Number,
    Boolean,
    Timestamp,
    Json,
}

impl FieldType {
    /// The published spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Integer => "integer",
            Self::Number => "number",
            Self::Boolean => "boolean",
            Self::Timestamp => "timestamp",
            Self::Json => "json",
        }
    }
}

/// One field of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field {
    /// Its name in the row.
    pub name: String,
    /// Where its value is in the record.
    pub pointer: Pointer,
    /// What its value must be.
    #[serde(rename = "type")]
    pub kind: FieldType,
    /// Whether a row without it is only partial.
    #[serde(default)]
    pub required: bool,
}

/// The fields of a schema, in the order of the columns.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Fields(Vec<Field>);

impl Fields {
    /// Checks what the types cannot say: how many there are, and their names.
    ///
    /// # Errors
    /// A sentence about the field at fault.
    pub fn new(fields: Vec<Field>) -> Result<Self, String> {
        if fields.is_empty() || fields.len() > MAX_FIELDS {
            return Err(format!(
                "fields: there are {}, and must be between 1 and {MAX_FIELDS}",
                fields.len()
            ));
        }
        let mut names = HashSet::new();
        for (index, field) in fields.iter().enumerate() {
            let name = &field.name;
            if name.is_empty() || name.chars().count() > MAX_FIELD_NAME_CHARS || name.contains('\0') {
                return Err(format!(
                    "fields[{index}].name: must have between 1 and {MAX_FIELD_NAME_CHARS} characters, and no NUL"
                ));
            }
            if !names.insert(name.as_str()) {
                return Err(format!("fields[{index}].name: {name:?} is a duplicate"));
            }
        }
        Ok(Self(fields))
    }

    /// The fields.
    #[must_use]
    pub fn as_slice(&self) -> &[Field] {
        &self.0
    }
}

#[cfg(test)]
mod tests;
