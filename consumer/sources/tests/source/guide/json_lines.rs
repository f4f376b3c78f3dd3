//! Events of an upstream that answers in JSON lines: `GET {base}/events?limit=…&after={id}` gives the next events, oldest
//! first, one object per line, and nothing at the end.

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;
use sources::fetch::Get;
use sources::{
    Content, Endpoint, FetchError, FetchedPage, Fetcher, Kind, Outside, PageRequest, ParsedRecord, Planning,
    Scope, Source, SourceError,
};
use url::Url;

/// The registry's line.
pub(crate) const JSON_LINES: Kind = Kind {
    name: "json_lines",
    about: "Events in JSON lines; settings {\"limit\": …}",
    open: |endpoint| Ok(Box::new(JsonLines::open(endpoint)?)),
    // This upstream cannot be asked for a span, so a job is one slice.
    planning: |settings| Settings::read(settings).map(|_usable| Planning::default()),
    // However many events a page has, they are the same ones.
    scope: |base_url, settings| Settings::read(settings).map(|_usable| Scope::of(base_url, &Value::Null)),
    // It is no preset of another source.
    paged: None,
};

/// The connection's settings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Settings {
    limit: u32,
}

impl Settings {
    fn read(settings: &Value) -> Result<Self, SourceError> {
        Self::deserialize(settings).map_err(|error| SourceError::settings(error.to_string()))
    }
}

/// What is needed of an event. The rest is stored too, but not looked at.
#[derive(Debug, Deserialize)]
struct Event {
    id: String,
    at: DateTime<Utc>,
}

/// The opened source of one connection. It keeps nothing between two pages.
#[derive(Debug)]
struct JsonLines {
    events: Url,
}

impl JsonLines {
    fn open(endpoint: &Endpoint) -> Result<Self, SourceError> {
        let settings = Settings::read(&endpoint.settings)?;
        let mut events = endpoint
            .base_url
            .join("/events")
            .map_err(|error| SourceError::BaseUrl { reason: error.to_string() })?;
        events.query_pairs_mut().append_pair("limit", &settings.limit.to_string());
        Ok(Self { events })
    }
}

#[async_trait]
impl Source for JsonLines {
    async fn fetch(&self, request: PageRequest<'_>, http: &Fetcher) -> Result<FetchedPage, FetchError> {
        let mut url = self.events.clone();
        if let Some(last) = request.cursor {
            url.query_pairs_mut().append_pair("after", last);
        }
        let allowance = http.allowance(request.budget);
        let body = http.get(Get::new(url, request.budget), &allowance).await?;
        let text = std::str::from_utf8(&body.bytes)
            .map_err(|error| FetchError::unreadable(&body.content_type, error, &body.bytes))?;
        let mut page = FetchedPage { bytes: body.bytes.len(), ..FetchedPage::default() };
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let event = serde_json::from_str::<Event>(line);
            if let Ok(event) = &event {
                page.next = Some(event.id.clone());
            }
            match event {
                // Another slice's, or nobody's.
                Ok(event) if !request.span.contains(event.at) => {
                    // They were all asked for.
                    page.drop_outside(Outside { id: event.id, time: Some(event.at) }, true);
                }
                Ok(event) => {
                    let content = Content::of_json(line);
                    let time = Some(event.at);
                    page.records.push(ParsedRecord { key: event.id, time, version: None, content });
                }
                // One bad record costs itself, not the page.
                Err(error) => {
                    let content = Content::Failed { reason: error.to_string() };
                    page.records.push(ParsedRecord {
                        key: String::new(),
                        time: None,
                        version: None,
                        content,
                    });
                }
            }
        }
        // The page's share of the byte budget is given back with the page.
        page.reservation = allowance.into_reservation();
        // What the walk has shown; the same events again are a loop.
        page.onward(&request)
    }
}
