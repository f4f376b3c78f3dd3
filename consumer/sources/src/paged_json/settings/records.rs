//! The `records` setting: where the records of an answer are, and what is known of them.

use serde::Deserialize;

use crate::paged_json::pointer::Pointer;
use crate::paged_json::time::TimeFormat;
use crate::{SourceError, TimeIs};

/// The records of an answer. `pointer` is within the answer, the others within a record.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// The array of records; `""` when the whole answer is the array. Null stands for an empty one.
    pub pointer: String,
    /// What identifies a record: a text or a number. Several are joined by `|`.
    pub id: OneOrMany,
    /// When the record happened. Records outside the slice's span are dropped by it, which is what makes inclusive,
    /// exclusive or whole-day bounds of an upstream harmless.
    #[serde(default)]
    pub time: Option<String>,
    /// How that is written: `rfc3339` (default) and what is like it (`+0000`, a blank for the `T`, no offset), `unix`,
    /// `unix_ms`, `unix_us`, `unix_ns`, `rfc2822`, or a pattern of `strftime`.
    #[serde(default)]
    pub time_format: Option<String>,
    /// What it is: when the record was `created` (default), or last `updated`.
    #[serde(default)]
    pub time_is: TimeIs,
    /// What tells which of two contents of a record is newer: a number, or a time, that grows.
    #[serde(default)]
    pub version: Option<String>,
    /// A record in which this is null or missing is not importable yet.
    #[serde(default)]
    pub deferred_when_null: Option<String>,
    /// What an answer is in which `pointer` leads to nothing.
    #[serde(default)]
    pub absent: Absent,
}

/// What an answer is that has no array of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Absent {
    /// An error; but an empty page if the answer's own total is 0, if it names a next page, or if an earlier page of the
    /// walk had records.
    #[default]
    Error,
    /// An empty page.
    Empty,
}

/// One pointer, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the type says it")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

impl Records {
    pub(super) fn check(&self) -> Result<(), SourceError> {
        let format = self.format()?;
        if self.time.is_none() && (format != TimeFormat::Rfc3339 || self.time_is != TimeIs::Created) {
            return Err(SourceError::settings(
                "records.time: is needed, since settings say what it is or how it is written",
            ));
        }
        Ok(())
    }

    /// How times are written.
    pub(in crate::paged_json) fn format(&self) -> Result<TimeFormat, SourceError> {
        let format = self.time_format.as_deref().map(TimeFormat::parse).transpose();
        format
            .map(Option::unwrap_or_default)
            .map_err(|why| SourceError::settings(format!("records.time_format: {why}")))
    }
}

impl OneOrMany {
    pub(in crate::paged_json) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

/// Reads a pointer of the settings.
pub(in crate::paged_json) fn pointer(setting: &str, text: &str) -> Result<Pointer, SourceError> {
    Pointer::parse(text).map_err(|reason| SourceError::settings(format!("{setting}: {reason}")))
}
