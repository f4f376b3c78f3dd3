//! Answers with status 200 that are odd, wrong, or no JSON at all.

use axum::http::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sources::{Content, FetchError, FetchedPage};

use crate::upstream::{Upstream, answer, permanent, record};

async fn read(body: impl Into<String>) -> FetchedPage {
    Upstream::text(body).await.fetch().await.unwrap()
}

async fn refused(body: impl Into<String>) -> String {
    permanent(Upstream::text(body).await.fetch().await)
}

fn keys(page: &FetchedPage) -> Vec<&str> {
    page.records.iter().map(|record| record.key.as_str()).collect()
}

#[tokio::test]
async fn html_with_status_200_may_pass() {
    let upstream = Upstream::start(|_| ([(CONTENT_TYPE, "text/html")], "<html>Just a moment…")).await;
    let Err(FetchError::Transient { cause, body }) = upstream.fetch().await else { panic!() };
    assert!(cause.contains("an HTML page (content type text/html) where JSON was expected"), "{cause}");
    assert_eq!(body.as_deref(), Some("<html>Just a moment…"));
}

#[tokio::test]
async fn what_is_not_the_expected_json_is_unreadable() {
    for (body, words) in [
        (
            r#"{"items":[{"id":"a"},{"id":"b"#,
            "record 2 of the page: EOF while parsing a string at line 1 column",
        ),
        (r#"{"items":[]} extra"#, "trailing characters at line 1 column 14"),
        (r#"{"items":{"id":"a"}}"#, "expected the array of records"),
        (r#"{"error":"maintenance"}"#, "no array of records at \"/items\", and an error: \"maintenance\""),
        (r#"{"items":null,"errors":[1]}"#, "and an error: [1]"),
        (r#"{"message":"maintenance"}"#, "no array of records at \"/items\"; if an answer without it"),
        (r#"["items"]"#, "no array of records"),
        ("7", "no array of records"),
        ("{\"items\":[\"\n\"]}", "control character"),
    ] {
        let cause = refused(body).await;
        assert!(cause.starts_with("unreadable body (content type text/plain"), "{cause}");
        assert!(cause.contains(words), "{body}: {cause}");
    }
    let upstream = Upstream::start(|_| b"{\"items\":[\"\xff\"]}".to_vec()).await;
    assert!(permanent(upstream.fetch().await).contains("invalid utf-8 sequence"));
}

#[tokio::test]
async fn next_leads_on_or_ends_the_list() {
    let next = async |next: Value| read(json!({"items": [], "next": next}).to_string()).await.next;
    assert_eq!(next(json!(null)).await, None);
    assert_eq!(next(json!("")).await, None);
    assert_eq!(read(r#"{"items":[]}"#).await.next, None);
    assert_eq!(next(json!("/list?cursor=a%2Fb")).await.as_deref(), Some("/list?cursor=a%2Fb"));
    assert_eq!(next(json!("?cursor=2")).await.as_deref(), Some("/list?cursor=2"));
}

#[tokio::test]
async fn next_is_followed_on_the_connections_own_host_only() {
    for elsewhere in [
        "http://example.org/list?c=2",
        "//example.org/list",
        "http://localhost/list",
        "ftp://x/",
        "mailto:a@127.0.0.1",
    ] {
        let cause = refused(json!({"items": [], "next": elsewhere}).to_string()).await;
        assert!(cause.contains("on another host"), "{cause}");
    }
    let upstream = Upstream::start(|parts| {
        let host = parts.headers["host"].to_str().unwrap();
        let query = parts.uri.query().unwrap_or_default();
        let next = if query.is_empty() { format!("http://{host}/list?c=2") } else { String::new() };
        json!({"items": [record("a")], "next": next}).to_string()
    })
    .await;
    let next = upstream.fetch().await.unwrap().next.unwrap();
    assert_eq!(upstream.fetch_at(&next).await.unwrap().next, None);
    assert_eq!(upstream.seen(), ["/list", "/list?c=2"]);
    // A path that looks like a host stays a path.
    upstream.fetch_at("//example.org/x?y").await.unwrap();
    assert_eq!(upstream.seen()[2], "//example.org/x?y");
}

#[tokio::test]
async fn a_next_page_that_is_itself_is_a_cursor_loop() {
    let itself = |next: &str| json!({"items": [record("a")], "next": next}).to_string();
    assert!(refused(itself("/list")).await.contains("cursor loop"));
    let upstream = Upstream::text(itself("/list?c=2")).await;
    assert!(permanent(upstream.fetch_at("/list?c=2").await).contains("cursor loop"));
    // Without records it is an upstream's way to say that there is nothing more.
    assert_eq!(read(r#"{"items":[],"next":"/list"}"#).await.next, None);
    for unreadable in [json!(true), json!({}), json!("http://["), json!("x".repeat(20_000))] {
        let cause = refused(json!({"items": [], "next": unreadable}).to_string()).await;
        assert!(cause.starts_with("next page "), "{cause}");
    }
}

#[tokio::test]
async fn a_total_that_cannot_be_is_ignored() {
    let total =
        async |total: Value| read(json!({"items": [record("a")], "total": total}).to_string()).await.total;
    assert_eq!(total(json!(70)).await, Some(70));
    assert_eq!((total(json!("70")).await, total(json!(70.0)).await), (Some(70), Some(70)));
    for nonsense in [json!(0), json!(-1), json!(1.5), json!("many"), json!(null), json!(1e300)] {
        assert_eq!(total(nonsense).await, None);
    }
    assert_eq!(read(answer(&[])).await.total, None);
    assert_eq!(read(r#"{"items":[],"total":0}"#).await.total, Some(0));
}

#[tokio::test]
async fn records_keep_their_order_and_their_repeats() {
    let page = read(answer(&[record("b"), record("a"), record("b")])).await;
    assert_eq!(keys(&page), ["b", "a", "b"]);
    assert_eq!((page.dropped(), page.next), (0, None));
}

#[tokio::test]
async fn a_short_page_is_not_the_last_one() {
    let page = read(json!({"items": [record("a")], "next": "/list?c=2", "total": 500}).to_string()).await;
    assert_eq!(page.next.as_deref(), Some("/list?c=2"));
    let page = read(r#"{"items":[],"next":"/list?c=3"}"#).await;
    assert_eq!((page.records.len(), page.next.as_deref()), (0, Some("/list?c=3")));
}

#[tokio::test]
async fn each_record_is_judged_by_itself() {
    let at = r#""at":"2026-01-02T03:04:05.123456Z","end":"x""#;
    let page = read(format!(
        r#"{{"items":[{{"id":"ok","status":"NEVER_HEARD_OF",{at}}}, {{"id":12,{at}}},
            {{{at}}}, "no object", {{"id":"nul","x":"\u0000",{at}}}, {{"id":"half","x":"\ud800",{at}}},
            {{"id":"huge","x":1e400000,{at}}}, {{"id":"late","at":"soon","end":"x"}},
            {{"id":"running","at":"2026-01-02T03:04:05Z","end":null}},
            {{"id":"early","at":"2025-12-31T23:59:59.999999Z"}}, {{"id":"after","at":"2026-01-11T00:00:00Z"}},
            {{"id":"first","at":"2026-01-01T00:00:00Z","end":"x"}}]}}"#
    ))
    .await;
    let kinds: Vec<_> = page
        .records
        .iter()
        .map(|record| {
            (
                record.key.as_str(),
                match &record.content {
                    Content::Stored { .. } => "stored",
                    Content::Deferred => "deferred",
                    Content::Gone { .. } | Content::Failed { .. } => "failed",
                },
            )
        })
        .collect();
    assert_eq!(
        kinds,
        [
            ("ok", "stored"),
            ("12", "stored"),
            ("", "failed"),
            ("", "failed"),
            ("nul", "failed"),
            ("half", "failed"),
            ("huge", "failed"),
            ("late", "failed"),
            ("running", "deferred"),
            ("first", "stored"),
        ]
    );
    assert_eq!(page.dropped(), 2);
}

#[tokio::test]
async fn a_payload_is_the_records_own_bytes() {
    let own = r#"{ "id": "a",  "at":"2026-01-02T03:04:05Z", "end":"x", "n": 1.0e0, "s": "\u00e9é" }"#;
    let page = read(format!(r#"{{"items":[{own}]}}"#)).await;
    let Content::Stored { hash, payload } = &page.records[0].content else { panic!() };
    assert_eq!(&**payload, own);
    assert_eq!(*hash, *blake3::hash(own.as_bytes()).as_bytes());
}
