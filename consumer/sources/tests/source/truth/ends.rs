//! Every walk ends, and says so if its end is in doubt.

use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::header::LINK;
use protocol::warning::WarningKind;
use serde_json::{Value, json};

use super::{ids, number, query, read, rows, settings};
use crate::upstream::Upstream;

fn by_page() -> Value {
    settings(json!({"style": "page_number", "parameter": "page"}))
}

fn by_cursor() -> Value {
    settings(json!({"style": "cursor", "pointer": "/next", "parameter": "cursor"}))
}

/// As json-server does it: a page beyond the last one is the last one again.
#[tokio::test]
async fn a_last_page_that_is_given_for_ever_is_the_end() {
    for (count, requests) in [(250, 5), (200, 4), (3, 3)] {
        let upstream = Upstream::start(move |parts| {
            let page = number(parts, "page").unwrap().min(usize::div_ceil(count, 100));
            json!({"data": rows((page - 1) * 100..count.min(page * 100))}).to_string()
        })
        .await;
        let walked = read(&upstream, by_page()).await.ended();
        assert_eq!((walked.keys(), walked.doubt()), (ids(0..count), None), "{count}");
        assert_eq!(upstream.seen().len(), requests, "{count}");
        // The repeats were read, and settle nothing.
        let last = &walked.pages.last().unwrap().1;
        assert!(last.records.is_empty() && last.outside_ids.is_empty());
        assert_eq!(walked.walk().fresh, i64::try_from(count).unwrap());
    }
}

#[tokio::test]
async fn the_same_with_offsets_and_with_a_total_that_agrees() {
    let upstream = Upstream::start(|parts| {
        // An offset beyond the last full page gives that page.
        let begin = number(parts, "offset").unwrap().min(150);
        json!({"data": rows(begin..begin + 100), "total": 250}).to_string()
    })
    .await;
    for overlap in [0, 1] {
        let next = json!({"style": "offset", "parameter": "offset", "overlap": overlap});
        let walked = read(&upstream, settings(next)).await.ended();
        let mut keys = walked.keys();
        keys.sort_unstable_by_key(|key| key.parse::<usize>().unwrap());
        keys.dedup();
        assert_eq!((keys, walked.doubt()), (ids(0..250), None), "{overlap}");
        assert_eq!(walked.walk().fresh, 250);
    }
}

/// The parameter's name is wrong: every page is the first one.
#[tokio::test]
async fn one_page_for_ever_is_an_error_where_a_total_contradicts_and_in_doubt_where_nothing_does() {
    for (size, total) in [(100, json!(2500)), (10, json!("2500"))] {
        let upstream =
            Upstream::start(move |_| json!({"data": rows(0..size), "total": total}).to_string()).await;
        for style in ["page_number", "offset"] {
            let failed = read(&upstream, settings(json!({"style": style, "parameter": "p"}))).await.failed();
            // By offsets, the first repeat may be due to its being asked for early.
            let first = if style == "offset" { 1 } else { 0 };
            let pages = format!("pages {first} to {} of the slice have the very same records", first + 2);
            assert!(failed.starts_with(&format!("{pages}, though the total is 2500")), "{failed}");
        }
    }
    let full = Upstream::start(|_| json!({"data": rows(0..100)}).to_string()).await;
    let walked = read(&full, by_page()).await.ended();
    assert_eq!((walked.keys().len(), walked.doubts()), (100, vec![WarningKind::SamePage]));
    assert!(walked.doubt().unwrap().contains("does the upstream know the parameter"), "{:?}", walked.doubt());
    let pages = Upstream::start(|_| json!({"data": rows(0..100), "pages": 7}).to_string()).await;
    let named = settings(json!({"style": "page_number", "parameter": "page", "pages": "/pages"}));
    assert!(read(&pages, named).await.failed().contains("though the last page is 7"));
}

/// A cache that gave an old page once: what was in its place was not read.
#[tokio::test]
async fn a_page_that_is_the_one_before_is_stepped_over_once_and_told() {
    for style in ["page_number", "offset"] {
        let upstream = Upstream::start(move |parts| {
            let begin = number(parts, "p").unwrap();
            let page = if style == "offset" { begin / 99 } else { begin - 1 };
            let page = if page == 2 { 1 } else { page };
            json!({"data": if page < 4 { rows(page * 100..page * 100 + 100) } else { Vec::new() }})
                .to_string()
        })
        .await;
        let next = json!({"style": style, "parameter": "p", "overlap": 0});
        let mut settings = settings(next);
        if style == "page_number" {
            settings["next"].as_object_mut().unwrap().remove("overlap");
        }
        let walked = read(&upstream, settings).await.ended();
        assert_eq!(walked.keys(), [ids(0..200), ids(300..400)].concat(), "{style}");
        assert_eq!(walked.doubts(), [WarningKind::SamePage], "{style}");
        assert!(
            walked.doubt().unwrap().contains("page 2 had the very records of the page before it"),
            "{style}"
        );
    }
}

#[tokio::test]
async fn a_cursor_that_leads_to_the_same_records_is_a_loop() {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::start(move |_| {
        json!({"data": rows(0..3), "next": format!("c{}", count.fetch_add(1, Ordering::Relaxed))}).to_string()
    })
    .await;
    let failed = read(&upstream, by_cursor()).await.failed();
    assert!(
        failed.starts_with("cursor loop: page 1 of the slice has the very records of page 0"),
        "{failed}"
    );
    assert_eq!(upstream.seen().len(), 2);
    // As the last page it ends the walk, and its own records are missing.
    let upstream = Upstream::start(|parts| {
        let next = if query(parts).contains_key("cursor") { None } else { Some("b") };
        json!({"data": rows(0..3), "next": next}).to_string()
    })
    .await;
    let walked = read(&upstream, by_cursor()).await.ended();
    assert_eq!((walked.keys(), walked.doubts()), (ids(0..3), vec![WarningKind::SamePage]));
}

#[tokio::test]
async fn a_circle_of_pages_is_found_whatever_its_length() {
    for length in [2, 3, 7, 40] {
        let upstream = Upstream::start(move |parts| {
            let page = number(parts, "cursor").or(number(parts, "page")).unwrap_or(1) - 1;
            json!({"data": rows([page % length]), "next": page + 2}).to_string()
        })
        .await;
        for settings in [by_page(), by_cursor()] {
            let failed = read(&upstream, settings).await.failed();
            assert!(
                failed.starts_with("cursor loop: page ") && failed.contains("has the very records of page "),
                "{failed}"
            );
        }
        assert!(upstream.seen().len() < 2 * 4 * length + 4, "{length}: {}", upstream.seen().len());
    }
}

#[tokio::test]
async fn empty_pages_in_a_row_have_a_limit() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "cursor").unwrap_or(0);
        let data = if page < 200 && page.is_multiple_of(50) { rows([page]) } else { Vec::new() };
        json!({"data": data, "next": page + 1}).to_string()
    })
    .await;
    let walked = read(&upstream, by_cursor()).await;
    assert_eq!(walked.keys(), ids([0, 50, 100, 150]));
    let failed = walked.failed();
    assert!(
        failed.starts_with("more than 100 pages in a row without a new record, up to page 251"),
        "{failed}"
    );
    let mut fewer = by_cursor();
    fewer["max_empty_pages"] = json!(7);
    assert!(read(&upstream, fewer).await.failed().contains("up to page 8 of the slice"));
}

/// As Sentry does it.
#[tokio::test]
async fn a_link_without_results_is_the_end() {
    let upstream = Upstream::start(|parts| {
        let cursor = number(parts, "cursor").unwrap_or(0);
        let results = cursor < 2;
        let link = format!(
            "</list?cursor={}>; rel=\"previous\"; results=\"true\"; cursor=\"0\", </list?cursor={}>; rel=\"next\"; results=\"{results}\"; cursor=\"1\"",
            cursor.saturating_sub(1),
            cursor + 1
        );
        ([(LINK, link)], json!({"data": if cursor < 3 { rows([cursor]) } else { Vec::new() }}).to_string())
    })
    .await;
    let walked = read(&upstream, settings(json!({"style": "link_header"}))).await.ended();
    assert_eq!((walked.keys(), walked.doubt()), (ids(0..3), None));
}

#[tokio::test]
async fn an_empty_page_with_the_cursor_it_was_asked_with_is_the_end() {
    let page = |cursor: Option<usize>| match cursor {
        None => json!({"data": rows(0..2), "next": "1", "url": "/list?cursor=1"}),
        Some(_) => json!({"data": [], "next": "1", "url": "http://127.0.0.1/list?cursor=1"}),
    };
    let upstream = Upstream::start(move |parts| page(number(parts, "cursor")).to_string()).await;
    for settings in [by_cursor(), settings(json!({"style": "next_url", "pointer": "/url"}))] {
        let walked = read(&upstream, settings).await.ended();
        assert_eq!((walked.keys(), walked.doubt()), (ids(0..2), None));
    }
}

#[tokio::test]
async fn a_page_with_only_the_record_it_was_asked_after_is_the_end() {
    let upstream = Upstream::start(|parts| {
        // `after` is taken as inclusive.
        let begin = number(parts, "after").unwrap_or(0);
        json!({"data": rows(begin..5.min(begin + 3))}).to_string()
    })
    .await;
    let walked = read(&upstream, settings(json!({"style": "last_id", "parameter": "after"}))).await.ended();
    assert_eq!((walked.keys(), walked.doubt()), (ids([0, 1, 2, 2, 3, 4, 4]), None));
}

#[tokio::test]
async fn a_page_of_records_without_ids_is_no_repeat() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "page").unwrap();
        json!({"data": if page < 5 { vec![json!({"x": 1}); 2] } else { Vec::new() }}).to_string()
    })
    .await;
    let walked = read(&upstream, by_page()).await.ended();
    assert_eq!((walked.keys().len(), walked.walk().fresh, walked.doubt()), (8, 8, None));
}
