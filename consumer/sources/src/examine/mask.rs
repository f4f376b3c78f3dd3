//! Takes a connection's secrets out of whatever is shown.

use sealing::Redactor;
use serde_json::{Map, Value};
use url::form_urlencoded;

use super::finding::Finding;
use super::seen::{ErrorKind, ErrorSeen, Fate, PageSeen, Reason, RecordSeen};
use crate::{Content, FetchError, FetchedPage, Outside, ParsedRecord};

/// How many reasons are shown.
const MOST_REASONS: usize = 3;

/// Takes out what must not be shown.
#[derive(Debug)]
pub(super) struct Mask(pub(super) Redactor);

impl Mask {
    pub(super) fn text(&self, text: &str) -> String {
        self.0.redact(text).into_owned()
    }

    /// A URL, or a path and query. Parameters that are secrets by their names are masked too: some upstreams write their
    /// own into the next page's URL.
    pub(super) fn url(&self, url: &str) -> String {
        let Some((path, query)) = url.split_once('?') else { return self.text(url) };
        let secret = |name: &str| {
            let name = name.to_ascii_lowercase();
            let words = ["key", "token", "secret", "password", "signature", "credential"];
            words.iter().any(|word| name.contains(word)) && !name.contains("page")
        };
        if !form_urlencoded::parse(query.as_bytes()).any(|(name, _)| secret(&name)) {
            return self.text(url);
        }
        let mut masked = form_urlencoded::Serializer::new(String::new());
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            masked.append_pair(&name, if secret(&name) { "***" } else { &value });
        }
        self.text(&format!("{path}?{}", masked.finish()))
    }

    pub(super) fn page(&self, page: &FetchedPage, show: usize) -> PageSeen {
        let count =
            |fate: Fate| page.records.iter().filter(|record| Fate::of(&record.content) == fate).count();
        PageSeen {
            stored: count(Fate::Stored),
            deferred: count(Fate::Deferred),
            failed: count(Fate::Failed),
            dropped: page.dropped(),
            records: page.records.iter().take(show).map(|record| self.record(record)).collect(),
            outside: page.outside.iter().take(show).map(|record| self.outside(record)).collect(),
            reasons: self.reasons(page),
            next: page.next.as_deref().map(|next| self.url(next)),
            total: page.total,
            bytes: page.bytes,
        }
    }

    fn record(&self, record: &ParsedRecord) -> RecordSeen {
        RecordSeen {
            id: self.text(&record.key),
            time: record.time,
            would_be: Fate::of(&record.content),
            reason: reason(&record.content).map(|reason| self.text(reason)),
        }
    }

    fn outside(&self, record: &Outside) -> Outside {
        Outside { id: self.text(&record.id), time: record.time }
    }

    /// The first few reasons why records failed.
    fn reasons(&self, page: &FetchedPage) -> Vec<Reason> {
        let mut reasons: Vec<Reason> = Vec::new();
        for text in page.records.iter().filter_map(|record| reason(&record.content)) {
            let text = self.text(text);
            let known = reasons.iter().position(|known| known.reason == text);
            if let Some(known) = known.and_then(|place| reasons.get_mut(place)) {
                known.count += 1;
            } else if reasons.len() < MOST_REASONS {
                reasons.push(Reason { reason: text, count: 1 });
            }
        }
        reasons
    }

    pub(super) fn finding(&self, finding: Finding) -> Finding {
        Finding {
            asked: self.text(&finding.asked),
            seen: self.text(&finding.seen),
            means: self.text(&finding.means),
            settings: finding.settings.map(|settings| self.value(&settings)),
            kind: finding.kind,
        }
    }

    /// Settings, or a part of them.
    pub(super) fn value(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.value(item)).collect(),
            Value::Object(members) => {
                let masked = members.iter().map(|(name, value)| (name.clone(), self.value(value)));
                Value::Object(masked.collect::<Map<_, _>>())
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
        }
    }

    pub(super) fn error(&self, error: &FetchError) -> ErrorSeen {
        let (kind, cause) = match error {
            FetchError::Transient { cause, .. } | FetchError::NoRoom { cause } => {
                (ErrorKind::Transient, cause.clone())
            }
            FetchError::RateLimited { .. } => (ErrorKind::RateLimited, error.to_string()),
            FetchError::Permanent { cause, .. }
            | FetchError::Expired { cause, .. }
            | FetchError::Unreadable { cause, .. } => (ErrorKind::Permanent, cause.clone()),
        };
        ErrorSeen { kind, cause: self.text(&cause), body: error.body().map(|body| self.text(body)) }
    }
}

fn reason(content: &Content) -> Option<&str> {
    match content {
        Content::Gone { reason } | Content::Failed { reason } => Some(reason),
        Content::Stored { .. } | Content::Deferred => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use url::Url;

    #[test]
    fn secrets_are_masked_by_value_and_by_name() {
        let mask = Mask(Redactor::of(&serde_json::json!({"api_key": "s3cret-value"})));
        let url = Url::parse("https://x.org/list?a=b+c&page=2&page_token=abc").unwrap();
        assert_eq!(mask.url(url.as_str()), url.as_str());
        assert_eq!(mask.url("/list?q=s3cret-value"), "/list?q=[redacted]");
        assert_eq!(mask.url("/list?a=1&Access_Token=zzz"), "/list?a=1&Access_Token=***");
    }
}
