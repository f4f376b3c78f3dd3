//! The message contract: start and cancel commands as upstream services, and people in the RabbitMQ console, write them.
//!
//! Decoding is strict about what it needs. Of what it does not know it refuses what is near something that it does, since
//! that was meant; other fields are ignored, and named, so that the receiver can say so.

mod foreign;
mod names;

pub use names::UnknownName;

use crate::ids::{ConnectionId, JobId, SchemaId};
use crate::job::{JobMode, JobStatus};
use crate::json;
use crate::short::short;
use chrono::{DateTime, Datelike, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::HashSet;
use std::fmt;
use std::ops::RangeInclusive;

/// The largest body of a command, in bytes.
pub const MAX_COMMAND_BYTES: usize = 256 * 1024;

/// The longest text field of a command, in characters.
pub const MAX_TEXT_CHARS: usize = 200;

/// The years that a date may be in. Postgres keeps these and some more, and RFC 3339 can write no others.
pub const YEARS: RangeInclusive<i32> = 0..=9999;

/// The most documents that one job is over.
pub const MAX_DOCUMENTS: usize = 2000;

/// The longest id of a document, in bytes.
pub const MAX_DOCUMENT_ID_BYTES: usize = 512;

/// What becomes of a start while another job of the connection is pending or running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum OnConflict {
    /// It is refused.
    #[default]
    Reject,
    /// It is accepted, and answered with that job; no other is made.
    UseExisting,
    /// That job is cancelled, and a new one made, in one step.
    Supersede,
}

impl OnConflict {
    fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// Asks for a sync of a connection. Routing key `sync.start`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "schemars", schemars(extend("propertyNames" = {"not": {"enum": ["from", "to", "since", "until"]}})))]
pub struct StartCommand {
    /// The connection to sync.
    pub connection_id: ConnectionId,
    /// The job's identifier, if the sender wants to choose it. Not over HTTP.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "utoipa", schema(ignore))]
    pub job_id: Option<JobId>,
    /// The identity of the command: a repeat is applied once. The AMQP `message_id` serves if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    #[cfg_attr(feature = "utoipa", schema(max_length = 200))]
    pub command_id: Option<String>,
    /// Start of the span (RFC 3339); no lower bound if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_from: Option<DateTime<Utc>>,
    /// End of the span (RFC 3339), not part of it; the time of the start if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub date_to: Option<DateTime<Utc>>,
    /// What to pull.
    #[serde(default)]
    pub mode: JobMode,
    /// A name for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    #[cfg_attr(feature = "utoipa", schema(max_length = 200))]
    pub name: Option<String>,
    /// The schema by which the job's results are shown as rows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema_id: Option<SchemaId>,
    /// The ids of the records to fetch, each by itself, instead of a span. Such a job is in no other's way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(
        length(min = 1, max = MAX_DOCUMENTS),
        inner(length(min = 1, max = MAX_DOCUMENT_ID_BYTES)),
        extend("uniqueItems" = true)
    ))]
    #[cfg_attr(feature = "utoipa", schema(min_items = 1, max_items = 2000))]
    pub document_ids: Option<Vec<String>>,
    /// What to do while another job of the connection is pending or running. Without effect on a job over documents.
    #[serde(default, skip_serializing_if = "OnConflict::is_default")]
    pub on_conflict: OnConflict,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    #[cfg_attr(feature = "utoipa", schema(max_length = 200))]
    pub requested_by: Option<String>,
}

/// Asks for the end of a job. Routing key `sync.cancel`. Names either a job or a connection, whose active job is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "schemars", schemars(extend("propertyNames" = {"not": {"enum": ["from", "to", "since", "until"]}})))]
#[cfg_attr(feature = "schemars", schemars(extend("oneOf" = [
    {"required": ["job_id"], "properties": {"job_id": {"type": "string"}}},
    {"required": ["connection_id"], "properties": {"connection_id": {"type": "string"}}},
])))]
pub struct CancelCommand {
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The connection whose active job is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// Why; stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    pub reason: Option<String>,
    /// The identity of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    pub command_id: Option<String>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schemars", schemars(length(max = MAX_TEXT_CHARS)))]
    pub requested_by: Option<String>,
}

/// The answer to a command whose `reply_to` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct Reply {
    /// Whether the command was applied.
    pub accepted: bool,
    /// The job that it is about, if there is one.
    pub job_id: Option<JobId>,
    /// The job's state after the command, in the words of the status endpoint.
    pub status: Option<JobStatus>,
    /// Why it was not applied, or to what effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl Reply {
    /// The answer to a command that can never be applied.
    #[must_use]
    pub fn refusal(why: &Rejection) -> Self {
        Self { accepted: false, job_id: None, status: None, reason: Some(why.to_string()) }
    }
}

/// A decoded command, and the fields in it that nobody here knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded<T> {
    /// The command.
    pub command: T,
    /// Names of ignored fields.
    pub unknown: Vec<String>,
}

/// Why a command can never be applied. `reason` is a stable word, `detail` a sentence for the operator.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}: {detail}")]
pub struct Rejection {
    /// A stable word: too_large, not_json, invalid, wrong_type, unknown_field, unknown_connection, …
    pub reason: &'static str,
    /// What exactly is wrong, and what is expected.
    pub detail: String,
}

/// The most of unknown fields' names that a warning repeats, in characters.
const WARNING_CHARS: usize = 200;

/// The header `x-warning` of an answer: which fields were ignored. In printable ASCII, as HTTP headers must be.
#[must_use]
pub fn warning(unknown: &[String]) -> Option<String> {
    let word = match unknown {
        [] => return None,
        [_] => "field",
        [_, ..] => "fields",
    };
    let names: Vec<_> = unknown.iter().map(|name| format!("\"{}\"", name.escape_default())).collect();
    let names: String = names.join(", ").chars().take(WARNING_CHARS).collect();
    Some(format!("unknown {word} {names}"))
}

impl From<&UnknownName> for Rejection {
    fn from(unknown: &UnknownName) -> Self {
        Self::new("unknown_field", format_args!("the field {unknown}"))
    }
}

impl Rejection {
    fn new(reason: &'static str, detail: impl fmt::Display) -> Self {
        Self { reason, detail: short(detail) }
    }
}

/// A kind of command.
pub trait Command: DeserializeOwned {
    /// The routing key, and the value of the `type` property where one is set.
    const KEY: &'static str;
    /// The fields that are understood.
    const FIELDS: &'static [&'static str];

    /// What the types cannot say.
    ///
    /// # Errors
    /// A sentence about the field at fault.
    fn check(&self) -> Result<(), String>;
}

/// A hash of what a command asks for: of what is understood, not of how it was written, and without who asks.
#[must_use]
pub fn request_hash(command: &impl Serialize) -> [u8; 32] {
    let mut asked = serde_json::to_value(command).unwrap_or_default();
    if let Some(fields) = asked.as_object_mut() {
        fields.remove("command_id");
        fields.remove("requested_by");
    }
    blake3::hash(asked.to_string().as_bytes()).into()
}

impl Command for StartCommand {
    const KEY: &'static str = "sync.start";
    const FIELDS: &'static [&'static str] = &[
        "connection_id",
        "job_id",
        "command_id",
        "date_from",
        "date_to",
        "mode",
        "name",
        "schema_id",
        "document_ids",
        "on_conflict",
        "requested_by",
    ];

    fn check(&self) -> Result<(), String> {
        check_year("date_from", self.date_from)?;
        check_year("date_to", self.date_to)?;
        if let (Some(from), Some(to)) = (self.date_from, self.date_to)
            && from >= to
        {
            return Err(format!("date_from ({from}) must be before date_to ({to})"));
        }
        match self.mode {
            JobMode::Range | JobMode::Full => {}
            JobMode::Incremental if self.date_from.is_none() && self.date_to.is_none() => {}
            JobMode::Incremental => {
                return Err(
                    "mode incremental goes from what is known to now; leave out date_from and date_to, or use mode range"
                        .to_owned(),
                );
            }
        }
        if let Some(ids) = &self.document_ids {
            if self.mode != JobMode::Range || self.date_from.is_some() || self.date_to.is_some() {
                return Err(
                    "document_ids says what to fetch; leave out mode, date_from and date_to".to_owned()
                );
            }
            check_documents(ids)?;
        }
        check_text("command_id", self.command_id.as_deref())?;
        check_text("name", self.name.as_deref())?;
        check_text("requested_by", self.requested_by.as_deref())
    }
}

impl Command for CancelCommand {
    const KEY: &'static str = "sync.cancel";
    const FIELDS: &'static [&'static str] =
        &["job_id", "connection_id", "reason", "command_id", "requested_by"];

    fn check(&self) -> Result<(), String> {
        if self.job_id.is_some() == self.connection_id.is_some() {
            return Err("exactly one of job_id and connection_id is needed".to_owned());
        }
        check_text("command_id", self.command_id.as_deref())?;
        check_text("reason", self.reason.as_deref())?;
        check_text("requested_by", self.requested_by.as_deref())
    }
}

fn check_year(field: &str, date: Option<DateTime<Utc>>) -> Result<(), String> {
    match date.map(|date| date.year()) {
        Some(year) if !YEARS.contains(&year) => {
            let (first, last) = (YEARS.start(), YEARS.end());
            Err(format!("{field} is in the year {year}; it must be in one of the years {first} to {last}"))
        }
        _ => Ok(()),
    }
}

fn check_documents(ids: &[String]) -> Result<(), String> {
    if ids.is_empty() || ids.len() > MAX_DOCUMENTS {
        return Err(format!(
            "document_ids has {} ids; it must have between 1 and {MAX_DOCUMENTS}",
            ids.len()
        ));
    }
    let mut seen = HashSet::with_capacity(ids.len());
    for (place, id) in ids.iter().enumerate() {
        if id.is_empty() || id.len() > MAX_DOCUMENT_ID_BYTES || id.contains('\0') {
            return Err(format!(
                "document_ids[{place}] must have between 1 and {MAX_DOCUMENT_ID_BYTES} bytes, and no NUL character"
            ));
        }
        if !seen.insert(id) {
            return Err(format!("document_ids[{place}] is a duplicate: {id:?}"));
        }
    }
    Ok(())
}

fn check_text(field: &str, text: Option<&str>) -> Result<(), String> {
    let Some(text) = text else { return Ok(()) };
    if text.contains('\0') {
        return Err(format!("{field} contains a NUL character"));
    }
    if text.chars().count() > MAX_TEXT_CHARS {
        return Err(format!("{field} is longer than {MAX_TEXT_CHARS} characters"));
    }
    Ok(())
}

/// Decodes the body of a command as a message. `kind` is the message's `type` property, if set.
///
/// # Errors
/// When the command can never be applied, however often it is delivered.
pub fn decode<T: Command>(body: &[u8], kind: Option<&str>) -> Result<Decoded<T>, Rejection> {
    if let Some(kind) = foreign::kind(kind).filter(|kind| *kind != T::KEY) {
        let detail = format!("the type property says {kind:?}, but the routing key is {:?}", T::KEY);
        return Err(Rejection::new("wrong_type", detail));
    }
    let fields = fields(body)?;
    let unknown: Vec<_> = fields.keys().filter_map(|name| UnknownName::of(name, T::FIELDS)).collect();
    if let Some(mistaken) = unknown.iter().find(|unknown| unknown.is_near) {
        return Err(mistaken.into());
    }
    Ok(Decoded {
        command: command(fields)?,
        unknown: unknown.into_iter().map(|unknown| unknown.name).collect(),
    })
}

/// The same where every field must be known.
///
/// # Errors
/// When the command can never be applied.
pub fn decode_exactly<T: Command>(body: &[u8]) -> Result<T, Rejection> {
    let fields = fields(body)?;
    match fields.keys().find_map(|name| UnknownName::of(name, T::FIELDS)) {
        Some(unknown) => Err((&unknown).into()),
        None => command(fields),
    }
}

/// The fields of a body.
///
/// # Errors
/// When it is too large, or no JSON object.
pub fn fields(body: &[u8]) -> Result<Map<String, Value>, Rejection> {
    if body.len() > MAX_COMMAND_BYTES {
        let detail = format!("the body has {} bytes, at most {MAX_COMMAND_BYTES} are accepted", body.len());
        return Err(Rejection::new("too_large", detail));
    }
    let body = foreign::unwrapped(body)?;
    if let Some(why) = foreign::compression(body) {
        return Err(Rejection::new("not_json", why));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Rejection::new("not_json", format!("the body is not UTF-8: {error}")))?;
    match json::read(text.as_bytes()) {
        Ok(value) if let Some(why) = foreign::framework(&value) => Err(Rejection::new("invalid", why)),
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Rejection::new("invalid", "the body must be a JSON object")),
        Err(error) if json::is_duplicate(&error) => Err(Rejection::new("invalid", error)),
        Err(error) => Err(Rejection::new("not_json", format!("the body is not JSON: {error}"))),
    }
}

fn command<T: Command>(mut fields: Map<String, Value>) -> Result<T, Rejection> {
    // Many encoders write what is not set as null.
    fields.retain(|_, value| !value.is_null());
    let given = fields.clone();
    let command: T = serde_path_to_error::deserialize(Value::Object(fields)).map_err(|error| {
        let path = error.path().to_string();
        match foreign::about_times(&path, given.get(&path)) {
            Some(hint) => Rejection::new("invalid", format_args!("{error}; {hint}")),
            None => Rejection::new("invalid", error),
        }
    })?;
    command.check().map_err(|detail| Rejection::new("invalid", detail))?;
    Ok(command)
}

#[cfg(test)]
mod tests;
