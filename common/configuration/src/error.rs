//! What can be wrong with a configuration, in words that say where to change it.

use super::reference::REFERENCE;
use super::secret::mask_url;
use config::{ConfigError as Cause, Value, ValueKind};
use std::collections::HashMap;

/// A configuration that cannot be used. No message shows a secret.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file or the environment cannot be read at all.
    #[error("the configuration cannot be read: {reason}")]
    Unreadable {
        /// What is wrong, with its place if it is in the file; never what stands there.
        reason: String,
    },
    /// A section that no process reads.
    #[error("{origin} sets `{section}`, and there is no such section; the sections are {accepted}")]
    UnknownSection {
        /// As written.
        section: String,
        /// File or variable.
        origin: String,
        /// The sections that exist.
        accepted: String,
    },
    /// A value of the wrong kind, or a key that does not exist.
    #[error("`{key}` is {value} in {origin}: {reason}")]
    Invalid {
        /// `section.key`.
        key: String,
        /// As given; masked if it may be a secret.
        value: String,
        /// File or variable.
        origin: String,
        /// What is accepted instead.
        reason: String,
    },
    /// A needed key that has no default.
    #[error("`{key}` is not set: {hint}")]
    Missing {
        /// `section.key`.
        key: String,
        /// Where it can be set.
        hint: String,
    },
    /// Values that are fine alone and wrong together.
    #[error("the configuration contradicts itself: {}", problems.join("; "))]
    Contradiction {
        /// One sentence each.
        problems: Vec<String>,
    },
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the library's kinds only some matter, and it may add others"
)]
impl ConfigError {
    /// The error for a needed key that is absent.
    pub(super) fn missing(key: &str) -> Self {
        let fallback = super::FALLBACKS.iter().find(|(_, stands_for)| *stands_for == key);
        let also = fallback.map(|(name, _)| format!(", or {name}")).unwrap_or_default();
        let (section, name) = key.split_once('.').unwrap_or((key, ""));
        let hint =
            format!("set {}{also}, or `{name}` under [{section}] in the configuration file", variable(key));
        Self::Missing { key: key.to_owned(), hint }
    }

    /// A failure of reading that has no better name.
    #[expect(clippy::needless_pass_by_value, reason = "a map_err function takes what it maps")]
    pub(super) fn unreadable(cause: Cause) -> Self {
        Self::Unreadable { reason: cause.to_string() }
    }

    /// A failure while `section` (whose merged value is `table`) was read as its type.
    /// `path` is where in it; `tables` are the places of the file's tables.
    pub(super) fn of_section(
        section: &str,
        table: &Value,
        path: &str,
        cause: Cause,
        tables: &HashMap<String, String>,
    ) -> Self {
        let path = if path == "." { String::new() } else { path.to_owned() };
        let reason = match cause {
            Cause::NotFound(key) => {
                let path = if path.is_empty() { key } else { format!("{path}.{key}") };
                return Self::missing(&format!("{section}.{path}"));
            }
            Cause::Type { expected, .. } => format!("expected {expected}"),
            Cause::At { error, .. } => error.to_string(),
            other => other.to_string(),
        };
        let key = if path.is_empty() { section.to_owned() } else { format!("{section}.{path}") };
        let found = lookup(table, &path).unwrap_or(table);
        let value = shown(&key, found);
        let reason = if is_open(&key) { reason } else { without(reason, found) };
        Self::Invalid { origin: origin(found, &key, tables), key, value, reason }
    }
}

/// Where a value was set, in words.
pub(super) fn origin(value: &Value, key: &str, tables: &HashMap<String, String>) -> String {
    match value.origin() {
        Some("the environment") => format!("the environment variable {}", variable(key)),
        Some(elsewhere) => elsewhere.to_owned(),
        // Several sources may fill a table.
        None => tables.get(key).cloned().unwrap_or_else(|| "the configuration".to_owned()),
    }
}

fn variable(key: &str) -> String {
    format!("BACKHAUL__{}", key.to_uppercase().replace('.', "__"))
}

/// The value at `retry.max_ms` or `old_keys[1]` of a table.
pub(super) fn lookup<'a>(table: &'a Value, path: &str) -> Option<&'a Value> {
    path.split(['.', '[']).filter(|part| !part.is_empty()).try_fold(table, |at, part| {
        if let ValueKind::Array(items) = &at.kind {
            return items.get(part.strip_suffix(']')?.parse::<usize>().ok()?);
        }
        let ValueKind::Table(fields) = &at.kind else { return None };
        fields.get(part)
    })
}

/// Whether the value may be shown: that of a key which exists, and is no secret's. Of a misspelt key nobody knows whose value
/// it was meant to be.
fn is_open(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    let is_secret = ["url", "password", "secret", "token", "key"].iter().any(|word| name.contains(word));
    !is_secret && REFERENCE.iter().any(|entry| entry.key == key)
}

/// A complaint without the value that a parser may have quoted in it.
fn without(reason: String, value: &Value) -> String {
    if matches!(value.kind, ValueKind::Table(_) | ValueKind::Array(_) | ValueKind::Nil) {
        return reason;
    }
    let raw = value.to_string();
    if raw.is_empty() {
        return reason;
    }
    reason.replace(&raw, "***").replace(&raw.escape_debug().to_string(), "***")
}

fn text(value: &Value) -> Option<&str> {
    let ValueKind::String(raw) = &value.kind else { return None };
    Some(raw)
}

fn shown(key: &str, value: &Value) -> String {
    match text(value) {
        None if matches!(value.kind, ValueKind::Table(_)) => "a table".to_owned(),
        None if matches!(value.kind, ValueKind::Array(_)) => "a list".to_owned(),
        Some(raw) if key.ends_with("url") => mask_url(raw),
        _ if !is_open(key) => "(hidden)".to_owned(),
        Some(raw) => format!("{raw:?}"),
        None => value.to_string(),
    }
}
