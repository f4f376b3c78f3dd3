//! Records that are fetched by their ids, each with a request of its own.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};
use protocol::slice::Span;
use reqwest::header::{HeaderName, HeaderValue};
use tokio::time::Instant;
use url::Url;

use super::pointer::Pointer;
use super::record::{Judge, RecordShape};
use super::request::check_base;
use super::scan::scan;
use super::settings::{Gone, Item, Records, pointer};
use super::time::Zone;
use crate::error::quote;
use crate::fetch::{Allowance, Answered, Body, Get, RestRules};
use crate::{Content, FetchError, FetchedPage, Fetcher, ItemsRequest, ParsedRecord, SourceError};

/// Why a job over documents cannot be done.
pub const NO_ITEM: &str = "the connection's settings do not say how a record is fetched by its id: set item, \
    for instance {\"path\": \"/api/calls/{id}\"}";

/// An id belongs to the records of any time.
const ALWAYS: Span = Span { from: None, to: DateTime::<Utc>::MAX_UTC };

/// What upstreams answer for an id that they take for none.
const NO_SUCH: [u16; 4] = [400, 404, 410, 422];

/// How records are fetched by their ids.
#[derive(Debug)]
pub(super) struct Items {
    base: Url,
    /// The path, before and behind the id.
    path: (String, String),
    /// Where the record is in the answer, and then where it may say that the record is gone.
    pointers: Vec<Pointer>,
    gone: Gone,
    record: RecordShape,
    per_page: usize,
    at_once: usize,
}

/// What all requests of a page share.
#[derive(Clone, Copy)]
struct Asking<'a> {
    auth: Option<&'a (HeaderName, HeaderValue)>,
    rest: &'a RestRules,
    deadline: Instant,
    http: &'a Fetcher,
    allowance: &'a Allowance,
}

/// What the upstream answered about one id.
struct ItemAnswer {
    record: ParsedRecord,
    bytes: usize,
    /// For an HTML page: it is about this id alone only if others of the same page were answered otherwise.
    outage: Option<FetchError>,
}

impl ItemAnswer {
    const fn of(record: ParsedRecord) -> Self {
        Self { record, bytes: 0, outage: None }
    }
}

impl Items {
    pub(super) fn new(
        base_url: &Url,
        item: &Item,
        records: &Records,
        zone: &Zone,
    ) -> Result<Self, SourceError> {
        check_base(base_url)?;
        let path = format!("{}{}", base_url.path().trim_end_matches('/'), item.path);
        let (before, behind) = path.split_once("{id}").unwrap_or((&path, ""));
        let size = |number: u32| usize::try_from(number).unwrap_or(1);
        let mut pointers = vec![pointer("item.pointer", &item.pointer)?];
        pointers
            .extend(item.gone.pointer.as_ref().map(|gone| pointer("item.gone.pointer", gone)).transpose()?);
        Ok(Self {
            base: base_url.clone(),
            path: (before.to_owned(), behind.to_owned()),
            pointers,
            gone: item.gone.clone(),
            record: RecordShape::new(records, zone)?,
            per_page: size(item.page_size),
            at_once: size(item.at_once),
        })
    }

    pub(super) const fn per_page(&self) -> usize {
        self.per_page
    }

    /// One record for each id, in their order. Whatever is about one id alone is a failed record, or one that is gone.
    pub(super) async fn fetch(
        &self,
        request: ItemsRequest<'_>,
        auth: Option<&(HeaderName, HeaderValue)>,
        rest: &RestRules,
        http: &Fetcher,
    ) -> Result<FetchedPage, FetchError> {
        let allowance = http.allowance(request.budget);
        let deadline = Instant::now() + request.budget;
        let asking = Asking { auth, rest, deadline, http, allowance: &allowance };
        let at_once = if request.one_at_a_time { 1 } else { self.at_once };
        let asked: Vec<_> = request.ids.iter().map(|id| self.one(id, asking)).collect();
        let answers: Vec<ItemAnswer> = stream::iter(asked).buffered(at_once).try_collect().await?;
        if answers.iter().all(|answer| answer.outage.is_some())
            && let Some(outage) = answers.iter().find_map(|answer| answer.outage.clone())
        {
            return Err(outage);
        }
        let bytes = answers.iter().map(|answer| answer.bytes).sum();
        let records = answers.into_iter().map(|answer| answer.record).collect();
        let reservation = allowance.into_reservation();
        Ok(FetchedPage { records, bytes, reservation, ..FetchedPage::default() })
    }

    async fn one(&self, id: &str, asking: Asking<'_>) -> Result<ItemAnswer, FetchError> {
        let Asking { auth, rest, deadline, http, allowance } = asking;
        let Some(url) = self.url(id) else {
            return Ok(ItemAnswer::of(failed(id, "the id cannot be part of a path")));
        };
        let budget = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match http.ask(Get { auth, rest, ..Get::new(url, budget) }, allowance).await? {
            Answered::Body(body) => {
                let bytes = body.bytes.len();
                let outage = FetchError::html_page(&body.content_type, &body.bytes);
                Ok(ItemAnswer { record: self.read(id, body), bytes, outage })
            }
            Answered::Refused { status, error } => match error {
                // A limit or a fault says nothing about the record.
                FetchError::Permanent { cause, .. } if self.gone.status.contains(&status.as_u16()) => {
                    Ok(ItemAnswer::of(gone(id, cause)))
                }
                FetchError::Permanent { cause, .. } if NO_SUCH.contains(&status.as_u16()) => {
                    Ok(ItemAnswer::of(failed(id, cause)))
                }
                FetchError::Transient { .. }
                | FetchError::NoRoom { .. }
                | FetchError::RateLimited { .. }
                | FetchError::Permanent { .. }
                | FetchError::Expired { .. }
                | FetchError::Unreadable { .. } => Err(error),
            },
        }
    }

    /// `None` where the id would lead elsewhere: a path cannot hold `..`, in whatever spelling.
    fn url(&self, id: &str) -> Option<Url> {
        let mut path = self.path.0.clone();
        for byte in id.bytes() {
            if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
                path.push(char::from(byte));
            } else {
                path.push_str(&format!("%{byte:02X}"));
            }
        }
        path.push_str(&self.path.1);
        let mut url = self.base.clone();
        url.set_path(&path);
        // An id of dots, however it is written, would be taken for a step up.
        let dots = id.chars().all(|char| char == '.');
        (!dots && url.path().split('/').count() == path.split('/').count()).then_some(url)
    }

    fn read(&self, id: &str, body: Body) -> ParsedRecord {
        let unreadable = |why: String| {
            failed(id, format!("the answer cannot be read (content type {}): {why}", body.content_type))
        };
        let text = match String::from_utf8(body.bytes) {
            Ok(text) => Arc::new(text),
            Err(error) => return unreadable(error.utf8_error().to_string()),
        };
        let mut found = [None; 2];
        let places = found.get_mut(..self.pointers.len()).unwrap_or_default();
        if let Err(error) = scan(&text, &self.pointers, places) {
            return unreadable(error.explain(&text));
        }
        let [record, sign] = found;
        if self.gone.is_said_by(sign) {
            return gone(
                id,
                format!("the upstream says that the record is gone: {}", quote(sign.unwrap_or_default())),
            );
        }
        let Some(record) = record else {
            let pointer = self.pointers.first().map(ToString::to_string).unwrap_or_default();
            return failed(id, format!("the answer has no record at {pointer:?}"));
        };
        let Ok(record) = Judge::new(&self.record, ALWAYS, &text).alone(record) else {
            return failed(id, "the record's time is beyond the calendar");
        };
        match record.content {
            // What kept it from being read may be its very id.
            Content::Failed { reason } | Content::Gone { reason } => failed(id, reason),
            Content::Stored { .. } | Content::Deferred if record.key != id => {
                failed(id, format!("the upstream answered with another record, {}", quote(&record.key)))
            }
            Content::Stored { .. } | Content::Deferred => record,
        }
    }
}

fn gone(id: &str, reason: impl Into<String>) -> ParsedRecord {
    let content = Content::Gone { reason: reason.into() };
    ParsedRecord { key: id.to_owned(), time: None, version: None, content }
}

fn failed(id: &str, reason: impl Into<String>) -> ParsedRecord {
    let content = Content::Failed { reason: reason.into() };
    ParsedRecord { key: id.to_owned(), time: None, version: None, content }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reqwest::StatusCode;
    use reqwest::header::HeaderMap;

    fn items(path: &str) -> Items {
        let item = serde_json::json!({"path": path, "pointer": "/data", "gone": {"pointer": "/deleted", "value": true}});
        let records = serde_json::json!({"pointer": "", "id": "/id", "deferred_when_null": "/ended"});
        let (item, records) =
            (serde_json::from_value(item).unwrap(), serde_json::from_value(records).unwrap());
        Items::new(&"https://up.example/base/".parse().unwrap(), &item, &records, &Zone::default()).unwrap()
    }

    #[test]
    fn an_id_is_one_part_of_the_path_and_nothing_else() {
        let url = |path: &str, id: &str| items(path).url(id).map(|url| url.to_string());
        let calls = |id: &str| url("/calls/{id}", id);
        assert_eq!(calls("a-1_b~2.c").as_deref(), Some("https://up.example/base/calls/a-1_b~2.c"));
        assert_eq!(
            calls("a/../b?c#d e%2f").as_deref(),
            Some("https://up.example/base/calls/a%2F..%2Fb%3Fc%23d%20e%252f")
        );
        assert_eq!(calls("é\\").as_deref(), Some("https://up.example/base/calls/%C3%A9%5C"));
        assert_eq!(calls("%2e%2e").as_deref(), Some("https://up.example/base/calls/%252e%252e"));
        assert_eq!((calls("."), calls(".."), calls("...")), (None, None, None));
        assert_eq!(url("/calls/{id}/full", "7").as_deref(), Some("https://up.example/base/calls/7/full"));
    }

    fn read(id: &str, body: &str) -> ParsedRecord {
        let url = "https://up.example/".parse().unwrap();
        let content_type = "text/html".to_owned();
        let bytes = body.as_bytes().to_vec();
        let (status, headers) = (StatusCode::OK, HeaderMap::new());
        let body = Body { status, bytes, is_framed: true, url, content_type, headers };
        items("/calls/{id}").read(id, body)
    }

    #[test]
    fn an_answer_is_the_record_that_was_asked_for_or_a_failed_one() {
        let record = read("7", r#"{"data": {"id": 7, "ended": "x"}}"#);
        let hash = blake3::hash(br#"{"id": 7, "ended": "x"}"#).into();
        let payload = r#"{"id": 7, "ended": "x"}"#.into();
        let content = Content::Stored { hash, payload };
        assert_eq!(record, ParsedRecord { key: "7".to_owned(), time: None, version: None, content });
        assert_eq!(read("7", r#"{"data": {"id": "7"}}"#).content, Content::Deferred);
        for (body, words) in [
            ("<p>We are back soon", "cannot be read (content type text/html)"),
            (r#"{"other": 1}"#, "no record at \"/data\""),
            (r#"{"data": {"id": 8, "ended": 1}}"#, "another record, 8"),
            (r#"{"data": {"ended": 1}}"#, "no id at"),
            (r#"{"data": [7]}"#, "not an object"),
            (r#"{"data": {"id": 7, "ended": "\u0000"}}"#, "NUL"),
        ] {
            let record = read("7", body);
            assert_eq!(record.key, "7");
            let Content::Failed { reason } = record.content else { panic!("{body}") };
            assert!(reason.contains(words), "{body}: {reason}");
        }
    }

    #[test]
    fn a_record_is_gone_where_the_answer_says_so() {
        for gone in [r#"{"deleted": true}"#, r#"{"data": {"id": 7, "ended": "x"}, "deleted": true}"#] {
            let record = read("7", gone);
            assert!(
                matches!(&record.content, Content::Gone { reason } if reason.contains("is gone: true")),
                "{record:?}"
            );
            assert_eq!(record.key, "7");
        }
        for there in [
            r#"{"data": {"id": 7, "ended": "x"}, "deleted": false}"#,
            r#"{"data": {"id": 7, "ended": "x"}, "deleted": "true"}"#,
        ] {
            assert!(matches!(read("7", there).content, Content::Stored { .. }), "{there}");
        }
    }
}
