//! The message contract: start and cancel commands as upstream services, and people in the RabbitMQ console, write them.
//!
//! Decoding is strict about what it needs and lenient about what it does not know: unknown fields are ignored, and named,
//! so that the receiver can say so.

use crate::ids::{ConnectionId, JobId};
use crate::job::{JobMode, JobStatus};
use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::fmt;

/// The largest body of a command, in bytes.
pub const MAX_COMMAND_BYTES: usize = 256 * 1024;

/// The longest text field of a command, in characters.
pub const MAX_TEXT_CHARS: usize = 200;

/// What becomes of a start while another job of the connection is pending or running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StartCommand {
    /// The connection to sync.
    pub connection_id: ConnectionId,
    /// The job's identifier, if the sender wants to choose it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The identity of the command: a repeat is applied once. The AMQP `message_id` serves if it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT_CHARS))]
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
    #[schemars(length(max = MAX_TEXT_CHARS))]
    pub name: Option<String>,
    /// What if a job of the connection is pending or running.
    #[serde(default, skip_serializing_if = "OnConflict::is_default")]
    pub on_conflict: OnConflict,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT_CHARS))]
    pub requested_by: Option<String>,
}

/// Asks for the end of a job. Routing key `sync.cancel`. Names either a job or a connection, whose active job is meant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(extend("oneOf" = [
    {"required": ["job_id"], "properties": {"job_id": {"type": "string"}}},
    {"required": ["connection_id"], "properties": {"connection_id": {"type": "string"}}},
]))]
pub struct CancelCommand {
    /// The job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job_id: Option<JobId>,
    /// The connection whose active job is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connection_id: Option<ConnectionId>,
    /// Why; stored and shown.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT_CHARS))]
    pub reason: Option<String>,
    /// The identity of the command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT_CHARS))]
    pub command_id: Option<String>,
    /// Who asks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = MAX_TEXT_CHARS))]
    pub requested_by: Option<String>,
}

/// The answer to a command whose `reply_to` is set.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
    pub fn refusal(why: &Undecodable) -> Self {
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
pub struct Undecodable {
    /// A stable word: too_large, not_json, invalid, wrong_type, unsupported, unknown_connection, …
    pub reason: &'static str,
    /// What exactly is wrong, and what is expected.
    pub detail: String,
}

/// The most of unknown fields' names that a warning repeats, in characters.
const WARNING_CHARS: usize = 200;

/// The header `x-warning` of an answer: which fields were ignored. In printable ASCII, as HTTP headers must be.
///
/// A misspelt `date_from` would otherwise pull everything without a word.
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

impl Undecodable {
    fn new(reason: &'static str, detail: impl fmt::Display) -> Self {
        Self { reason, detail: detail.to_string() }
    }
}

/// A kind of command.
pub trait Command: DeserializeOwned {
    /// The routing key, and the value of the `type` property where one is set.
    const KEY: &'static str;
    /// The fields that are understood.
    const FIELDS: &'static [&'static str];
    /// Fields of the contract that this version refuses instead of ignoring: doing less than asked would be a lie.
    const UNSUPPORTED: &'static [&'static str];

    /// What the types cannot say.
    ///
    /// # Errors
    /// A sentence about the field at fault.
    fn check(&self) -> Result<(), String>;
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
        "on_conflict",
        "requested_by",
    ];
    const UNSUPPORTED: &'static [&'static str] = &["schema_id", "document_ids"];

    fn check(&self) -> Result<(), String> {
        if let (Some(from), Some(to)) = (self.date_from, self.date_to)
            && from >= to
        {
            return Err(format!("date_from ({from}) must be before date_to ({to})"));
        }
        match self.mode {
            JobMode::Range => {}
            JobMode::Incremental if self.date_from.is_none() && self.date_to.is_none() => {}
            JobMode::Incremental => {
                return Err(
                    "mode incremental goes from what is known to now; leave out date_from and date_to, or use mode range"
                        .to_owned(),
                );
            }
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
    const UNSUPPORTED: &'static [&'static str] = &[];

    fn check(&self) -> Result<(), String> {
        if self.job_id.is_some() == self.connection_id.is_some() {
            return Err("exactly one of job_id and connection_id is needed".to_owned());
        }
        check_text("command_id", self.command_id.as_deref())?;
        check_text("reason", self.reason.as_deref())?;
        check_text("requested_by", self.requested_by.as_deref())
    }
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

/// Decodes the body of a command. `kind` is the message's `type` property, if set.
///
/// # Errors
/// When the command can never be applied, however often it is delivered.
pub fn decode<T: Command>(body: &[u8], kind: Option<&str>) -> Result<Decoded<T>, Undecodable> {
    if body.len() > MAX_COMMAND_BYTES {
        let detail = format!("the body has {} bytes, at most {MAX_COMMAND_BYTES} are accepted", body.len());
        return Err(Undecodable::new("too_large", detail));
    }
    if let Some(kind) = kind.filter(|kind| *kind != T::KEY) {
        let detail = format!("the type property says {kind:?}, but the routing key is {:?}", T::KEY);
        return Err(Undecodable::new("wrong_type", detail));
    }
    let text = std::str::from_utf8(body)
        .map_err(|error| Undecodable::new("not_json", format!("the body is not UTF-8: {error}")))?;
    let value: Value = serde_json::from_str(text)
        .map_err(|error| Undecodable::new("not_json", format!("the body is not JSON: {error}")))?;
    let Value::Object(fields) = &value else {
        return Err(Undecodable::new("invalid", "the body must be a JSON object"));
    };
    let given = |name: &&&str| fields.get(**name).is_some_and(|value| !value.is_null());
    if let Some(name) = T::UNSUPPORTED.iter().find(given) {
        return Err(Undecodable::new("unsupported", format!("{name} is not supported by this version")));
    }
    let unknown =
        fields.keys().filter(|name| !T::FIELDS.contains(&name.as_str())).cloned().collect::<Vec<_>>();
    let unknown = unknown.into_iter().filter(|name| !T::UNSUPPORTED.contains(&name.as_str())).collect();
    let command: T =
        serde_path_to_error::deserialize(value).map_err(|error| Undecodable::new("invalid", error))?;
    command.check().map_err(|detail| Undecodable::new("invalid", detail))?;
    Ok(Decoded { command, unknown })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CONNECTION: &str = "018f0000-0000-7000-8000-000000000001";

    fn start(body: &str) -> Result<Decoded<StartCommand>, Undecodable> {
        decode(body.as_bytes(), None)
    }

    #[test]
    fn a_person_can_type_a_start() {
        let decoded = start(&format!(r#"{{"connection_id": "{CONNECTION}", "colour": 1}}"#)).unwrap();
        assert_eq!(decoded.command.connection_id.to_string(), CONNECTION);
        assert_eq!(decoded.command.mode, JobMode::Range);
        assert_eq!(decoded.unknown, ["colour"]);
    }

    #[test]
    fn refusals_name_the_fault() {
        let cases = [
            ("", "not_json"),
            ("[]", "invalid"),
            ("{}", "invalid"),
            (r#"{"connection_id": "x"}"#, "invalid"),
            (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "mode": "sideways"}"#, "invalid"),
            (r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "name": "a\u0000b"}"#, "invalid"),
            (
                r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "document_ids": ["a"]}"#,
                "unsupported",
            ),
            (
                r#"{"connection_id": "018f0000-0000-7000-8000-000000000001",
                    "date_from": "2026-01-02T00:00:00Z", "date_to": "2026-01-01T00:00:00Z"}"#,
                "invalid",
            ),
            (
                r#"{"connection_id": "018f0000-0000-7000-8000-000000000001", "mode": "incremental",
                    "date_from": "2026-01-02T00:00:00Z"}"#,
                "invalid",
            ),
        ];
        for (body, reason) in cases {
            assert_eq!(start(body).unwrap_err().reason, reason, "{body}");
        }
        let deep = "[".repeat(100_000);
        assert_eq!(start(&deep).unwrap_err().reason, "not_json");
        assert_eq!(start(&" ".repeat(MAX_COMMAND_BYTES + 1)).unwrap_err().reason, "too_large");
        assert_eq!(decode::<StartCommand>(b"\xff", None).unwrap_err().reason, "not_json");
        let wrong = decode::<StartCommand>(b"{}", Some("sync.cancel")).unwrap_err();
        assert_eq!(wrong.reason, "wrong_type");
    }

    #[test]
    fn a_cancel_names_a_job_or_a_connection() {
        for body in ["{}", &format!(r#"{{"job_id": "{CONNECTION}", "connection_id": "{CONNECTION}"}}"#)] {
            assert_eq!(
                decode::<CancelCommand>(body.as_bytes(), None).unwrap_err().reason,
                "invalid",
                "{body}"
            );
        }
        let one = format!(r#"{{"job_id": "{CONNECTION}", "reason": "enough"}}"#);
        let decoded = decode::<CancelCommand>(one.as_bytes(), Some("sync.cancel")).unwrap();
        assert_eq!(decoded.command.reason.as_deref(), Some("enough"));
    }

    #[test]
    fn a_refusal_names_the_field() {
        let detail = |body: &str| start(body).unwrap_err().detail;
        assert_eq!(detail("{}"), "missing field `connection_id`");
        assert!(
            detail(r#"{"connection_id": "x"}"#).starts_with("connection_id: UUID parsing failed"),
            "{}",
            detail(r#"{"connection_id": "x"}"#)
        );
        let conflict = format!(r#"{{"connection_id": "{CONNECTION}", "on_conflict": "fight"}}"#);
        assert!(
            detail(&conflict).starts_with("on_conflict: unknown variant `fight`"),
            "{}",
            detail(&conflict)
        );
    }

    #[test]
    fn ignored_fields_are_named_without_breaking_a_header() {
        assert_eq!(warning(&[]), None);
        assert_eq!(warning(&["colour".to_owned()]).unwrap(), r#"unknown field "colour""#);
        let names = ["colour".to_owned(), "a\"b\r\nö".to_owned(), "x".repeat(300)];
        let text = warning(&names).unwrap();
        assert!(text.starts_with(r#"unknown fields "colour", "a\"b\r\n\u{f6}", "xxx"#), "{text}");
        assert!(text.len() < 250 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte)));
    }

    proptest! {
        #[test]
        fn no_body_panics(body in proptest::collection::vec(any::<u8>(), 0..512)) {
            drop(decode::<StartCommand>(&body, None));
            drop(decode::<CancelCommand>(&body, None));
        }
    }
}
