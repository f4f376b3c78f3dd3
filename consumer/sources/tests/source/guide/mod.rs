//! The example of `docs/sources/writing-a-source.md`, compiled and run.

mod json_lines;

use std::collections::HashMap;
use std::time::Duration;

use axum::http::request::Parts;
use protocol::slice::Span;
use serde_json::json;
use sources::{Content, Endpoint, PageRequest};
use url::form_urlencoded;

use crate::upstream::{Upstream, fetcher};
use json_lines::JSON_LINES;

#[test]
fn the_guide_shows_the_code_that_is_run_here() {
    let guide = include_str!("../../../../../docs/sources/writing-a-source.md");
    let code = include_str!("json_lines.rs");
    assert!(
        guide.contains(&format!("```rust\n{code}```\n")),
        "copy json_lines.rs into docs/sources/writing-a-source.md"
    );
}

/// Seven events, of which one is no event, and one lies outside the span.
fn events(parts: &Parts) -> String {
    let query = parts.uri.query().unwrap_or_default();
    let query: HashMap<_, _> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
    let limit: usize = query["limit"].parse().unwrap();
    let skip =
        query.get("after").map_or(0, |last| last.strip_prefix('e').unwrap().parse::<usize>().unwrap() + 1);
    let line = |index: usize| match index {
        2 => json!({"id": "e2"}).to_string(),
        5 => json!({"id": "e5", "at": "2031-01-01T00:00:00Z"}).to_string(),
        _ => json!({"id": format!("e{index}"), "at": "2026-01-02T03:04:05Z", "more": [1, 2]}).to_string(),
    };
    (0..7).skip(skip).take(limit).map(|index| line(index) + "\n").collect()
}

#[tokio::test]
async fn the_source_of_the_guide_reads_every_event_once() {
    let upstream = Upstream::start(events).await;
    let endpoint = Endpoint {
        kind: JSON_LINES.name.to_owned(),
        base_url: upstream.url.clone(),
        credentials: json!({}),
        settings: json!({"limit": 2}),
    };
    let source = (JSON_LINES.open)(&endpoint).unwrap();
    let span = Span { from: None, to: "2026-02-01T00:00:00Z".parse().unwrap() };
    let (mut cursor, mut stored, mut failed, mut dropped) = (None, Vec::new(), 0, 0);
    loop {
        let request =
            PageRequest { cursor: cursor.as_deref(), ..PageRequest::first(&span, Duration::from_secs(20)) };
        let page = source.fetch(request, &fetcher()).await.unwrap();
        dropped += page.dropped();
        for record in page.records {
            match record.content {
                Content::Stored { .. } => stored.push(record.key),
                Content::Failed { .. } => failed += 1,
                Content::Gone { .. } | Content::Deferred => {
                    panic!("nothing is deferred, or asked for by its id")
                }
            }
        }
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(stored, ["e0", "e1", "e3", "e4", "e6"]);
    assert_eq!((failed, dropped), (1, 1));
}

#[test]
fn its_settings_are_checked() {
    assert!((JSON_LINES.planning)(&json!({"limit": 2})).is_ok());
    let refused = (JSON_LINES.planning)(&json!({"limits": 2})).unwrap_err().to_string();
    assert!(refused.contains("unknown field `limits`"), "{refused}");
}
