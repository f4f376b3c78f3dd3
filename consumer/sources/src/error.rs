//! What can go wrong with a source: its configuration ([`SourceError`]), and one fetch ([`FetchError`]).

use protocol::short::short;
use std::fmt::Display;
use std::time::Duration;

/// A connection that its source cannot work with. Raised before anything is fetched; trying again changes nothing.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// No source has this name.
    #[error("unknown source {kind:?}: use {}", super::KINDS.map(|known| known.name).join(" or "))]
    UnknownKind {
        /// The name that the connection gives.
        kind: String,
    },
    /// The settings are not what the source expects.
    #[error("settings of the connection: {reason}")]
    Settings {
        /// Which setting, and what it should be.
        reason: String,
    },
    /// The base URL cannot be used.
    #[error("base URL of the connection: {reason}")]
    BaseUrl {
        /// What is wrong with it.
        reason: String,
    },
    /// A credential is missing or cannot be sent. The message never holds the secret itself.
    #[error("credentials of the connection: {reason}")]
    Credentials {
        /// Which credential, and what is wrong with it.
        reason: String,
    },
}

impl SourceError {
    /// The part of the connection that is at fault, by its column.
    #[must_use]
    pub const fn field(&self) -> &'static str {
        match self {
            Self::UnknownKind { .. } => "source",
            Self::Settings { .. } => "settings",
            Self::BaseUrl { .. } => "base_url",
            Self::Credentials { .. } => "credentials",
        }
    }

    /// A setting that is not what the source expects.
    pub fn settings(reason: impl Into<String>) -> Self {
        Self::Settings { reason: short(reason.into()) }
    }
}

/// Why a page could not be fetched, sorted by what should happen next.
///
/// `body` is the first KiB of the upstream's answer as text, if there was one, fit to be stored: NULs are replaced.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchError {
    /// Trying the page again later may help: 408, 425, 5xx, no connection, a reset, a time-out, a cut body.
    #[error("{cause}")]
    Transient {
        /// What happened, in words.
        cause: String,
        /// The beginning of the answer.
        body: Option<String>,
    },
    /// The process had no room for the page, since other pages took it. It is no attempt: neither the page nor its upstream
    /// is at fault.
    #[error("{cause}")]
    NoRoom {
        /// What took the room, in words.
        cause: String,
    },
    /// The upstream wants less traffic: 429, 503 with `Retry-After`, 403 with a sign that it is about a limit. Concerns the
    /// whole connection.
    #[error("the upstream asked to be left alone for a while")]
    RateLimited {
        /// How long the upstream wants to be left alone, from 1 s to the settings' `limits.longest_rest`; `None` if it did not
        /// say so readably.
        retry_after: Option<Duration>,
        /// Whether it answered 403, which may yet turn out to be about the credentials.
        forbidden: bool,
        /// The beginning of the answer.
        body: Option<String>,
    },
    /// Trying again changes nothing, and other pages would fare no better: 401, 403, 404 and the like, a next page that
    /// leads astray.
    #[error("{cause}")]
    Permanent {
        /// What happened, in words.
        cause: String,
        /// The beginning of the answer.
        body: Option<String>,
    },
    /// The upstream refuses the cursor that the walk has stored, but may take a new walk: 400, 404, 409, 410 or 422 in answer
    /// to it. Never at a walk's first page, and never where pages are counted.
    #[error("{cause}")]
    Expired {
        /// What happened, in words.
        cause: String,
        /// The beginning of the answer.
        body: Option<String>,
    },
    /// Trying again changes nothing, and it is this page's own matter: an answer that arrived and cannot be read, or is
    /// too large.
    #[error("{cause}")]
    Unreadable {
        /// What happened, in words.
        cause: String,
        /// The beginning of the answer.
        body: Option<String>,
    },
}

impl FetchError {
    /// The beginning of the upstream's answer, if there was one.
    #[must_use]
    pub fn body(&self) -> Option<&str> {
        match self {
            Self::Transient { body, .. }
            | Self::RateLimited { body, .. }
            | Self::Permanent { body, .. }
            | Self::Expired { body, .. }
            | Self::Unreadable { body, .. } => body.as_deref(),
            Self::NoRoom { .. } => None,
        }
    }

    /// An error that may pass, without an answer.
    pub fn transient(cause: impl Into<String>) -> Self {
        Self::Transient { cause: cause.into(), body: None }
    }

    /// An error that does not pass, without an answer.
    pub fn permanent(cause: impl Into<String>) -> Self {
        Self::Permanent { cause: cause.into(), body: None }
    }

    /// An answer that arrived whole and cannot be read. Keeps its beginning, so that a person can see what it was. An HTML page
    /// is what a service shows while it is down, or a proxy in front of it, whatever the status: that may pass.
    pub fn unreadable(content_type: &str, why: impl Display, body: &[u8]) -> Self {
        Self::html_page(content_type, body).unwrap_or_else(|| Self::Unreadable {
            cause: short(format_args!("unreadable body (content type {content_type}): {why}")),
            body: Some(excerpt(body)),
        })
    }

    /// The error of an answer that is an HTML page, if it is one.
    pub fn html_page(content_type: &str, body: &[u8]) -> Option<Self> {
        let cause = format_args!(
            "the upstream answered with an HTML page (content type {content_type}) where JSON was expected: is it in \
             maintenance, or does it want a login?"
        );
        is_html(body).then(|| Self::Transient { cause: short(cause), body: Some(excerpt(body)) })
    }
}

/// How much of an upstream's answer an error keeps.
pub(super) const EXCERPT_BYTES: usize = 1024;

/// Whether an answer that is not JSON is an HTML page, whatever its content type says.
fn is_html(body: &[u8]) -> bool {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body).trim_ascii_start();
    let tag = body.strip_prefix(b"<").unwrap_or_default();
    // A page may begin with a comment, or with the tags that browsers do without.
    ["!doctype html", "html", "head", "title", "meta", "body", "!--"]
        .iter()
        .any(|start| tag.get(..start.len()).is_some_and(|tag| tag.eq_ignore_ascii_case(start.as_bytes())))
}

/// The beginning of an answer as text that Postgres can store: not UTF-8 and NUL become U+FFFD.
pub(super) fn excerpt(bytes: &[u8]) -> String {
    let bytes = bytes.get(..EXCERPT_BYTES).unwrap_or(bytes);
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}")
}

/// A value that came from outside, cut to a length that fits into a sentence.
pub(super) fn quote(value: &str) -> String {
    const LONGEST: usize = 60;
    let mut quoted: String =
        value.chars().take(LONGEST).map(|c| if c == '\0' { '\u{fffd}' } else { c }).collect();
    if value.chars().nth(LONGEST).is_some() {
        quoted.push('…');
    }
    quoted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_excerpt_can_be_stored() {
        assert_eq!(excerpt(b"a\0b\xffc"), "a\u{fffd}b\u{fffd}c");
        assert_eq!(excerpt(&[b'x'; 5000]).len(), EXCERPT_BYTES);
    }

    #[test]
    fn an_html_page_may_pass_and_other_garbage_does_not() {
        for page in
            ["<!doctype html><title>Maintenance", "\u{feff}\r\n <HTML lang=de>", "<!-- 503 --><p>", "<head>"]
        {
            let error = FetchError::unreadable("application/json", "not JSON", page.as_bytes());
            let FetchError::Transient { cause, body } = error else { panic!("{page}") };
            assert!(cause.contains("HTML page (content type application/json)"), "{cause}");
            assert_eq!(body.as_deref(), Some(page));
        }
        for other in ["", "<", "<?xml version='1.0'?>", "{\"a\": \"<html>\"", "<br />Warning"] {
            let error = FetchError::unreadable("text/html", "not JSON", other.as_bytes());
            assert!(matches!(error, FetchError::Unreadable { .. }), "{other}");
        }
    }

    #[test]
    fn a_quote_is_short() {
        assert_eq!(quote("short"), "short");
        assert_eq!(quote(&"é".repeat(100)).chars().count(), 61);
    }
}
