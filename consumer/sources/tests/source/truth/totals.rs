//! Totals, and what contradicts them.

use protocol::slice::Span;
use protocol::warning::WarningKind;
use serde_json::{Value, json};

use super::{ever, ids, number, open, read, rows, settings};
use crate::upstream::Upstream;
use crate::walker::walk;

fn by_offset() -> Value {
    settings(json!({"style": "offset", "parameter": "offset"}))
}

fn by_page() -> Value {
    settings(json!({"style": "page_number", "parameter": "page"}))
}

/// 2,500 records, of which an upstream gives the first thousand.
async fn capped() -> Upstream {
    Upstream::start(|parts| {
        let begin = number(parts, "offset").unwrap_or_else(|| (number(parts, "page").unwrap() - 1) * 100);
        json!({"data": rows((0..1000).skip(begin).take(100)), "total": 2500}).to_string()
    })
    .await
}

#[tokio::test]
async fn a_list_that_is_cut_short_is_not_whole() {
    for settings in [by_offset(), by_page()] {
        let upstream = capped().await;
        let walked = read(&upstream, settings).await.ended();
        assert_eq!(walked.keys(), ids(0..1000));
        assert!(walked.doubts().iter().all(|kind| *kind == WarningKind::EmptyPage), "{:?}", walked.doubts());
        let doubt = walked.doubt().unwrap();
        assert!(doubt.contains("though the total is 2500, and 1000 records have been read"), "{doubt}");
        assert_eq!((walked.walk().smallest_total, walked.walk().last_total), (Some(2500), Some(2500)));
        // Fifteen pages are missing, and one more.
        assert!((26..=28).contains(&upstream.seen().len()), "{}", upstream.seen().len());
    }
}

#[tokio::test]
async fn an_estimate_is_not_judged_by_and_a_total_without_filters_only_where_there_are_none() {
    let mut settings = by_offset();
    settings["total_is"] = json!("estimate");
    let walked = read(&capped().await, settings.clone()).await.ended();
    assert_eq!((walked.keys().len(), walked.doubt(), walked.walk().smallest_total), (1000, None, None));
    assert_eq!(walked.walk().last_total, Some(2500));
    settings["total_is"] = json!("unfiltered");
    settings["dates"] = json!({"parameters": [{"name": "since", "value": "{from}"}], "start": null});
    let upstream = capped().await;
    let source = open(&upstream, settings);
    let since = Span { from: Some("2020-01-01T00:00:00Z".parse().unwrap()), ..ever() };
    assert_eq!(walk(&*source, &since).await.ended().doubt(), None);
    assert!(walk(&*source, &ever()).await.ended().doubt().is_some());
}

/// Pages are filtered after they were cut.
#[tokio::test]
async fn an_empty_page_in_the_middle_does_not_end_a_list_that_has_more() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "page").unwrap();
        let data = match page {
            1 => rows(0..100),
            3 => rows(200..300),
            4 => rows(300..400),
            _ => Vec::new(),
        };
        json!({"data": data, "total": 300, "pages": 4, "more": page < 4}).to_string()
    })
    .await;
    let by = |extra: &[(&str, Value)]| {
        let mut settings = by_page();
        settings.as_object_mut().unwrap().remove("total");
        for (name, place) in extra {
            settings["next"][name] = place.clone();
        }
        settings
    };
    for settings in [by_page(), by(&[("pages", json!("/pages"))]), by(&[("more", json!("/more"))])] {
        let walked = read(&upstream, settings.clone()).await.ended();
        assert_eq!(walked.keys(), [ids(0..100), ids(200..400)].concat(), "{settings}");
        assert_eq!(walked.doubts(), [WarningKind::EmptyPage], "{settings}");
        assert!(
            walked.doubt().unwrap().starts_with("page 1 has no new records, though "),
            "{:?}",
            walked.doubt()
        );
    }
    // Nothing says that there is more.
    assert_eq!(read(&upstream, by(&[])).await.ended().keys(), ids(0..100));
}

#[tokio::test]
async fn a_total_that_falls_is_a_doubt_where_records_are_counted() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "page").or(number(parts, "c")).unwrap_or(1);
        let data = if page < 3 { rows((page - 1) * 10..page * 10) } else { Vec::new() };
        json!({"data": data, "total": 21 - page, "next": (page < 3).then_some(page + 1)}).to_string()
    })
    .await;
    let walked = read(&upstream, by_page()).await.ended();
    assert!(walked.doubts().contains(&WarningKind::TotalFell), "{:?}", walked.doubts());
    assert!(walked.doubt().unwrap().contains("fell from 20 to 19 at page 1"), "{:?}", walked.doubt());
    let cursor = json!({"style": "cursor", "pointer": "/next", "parameter": "c"});
    let walked = read(&upstream, settings(cursor)).await.ended();
    assert_eq!((walked.doubts(), walked.doubt(), walked.walk().total_fell), (Vec::new(), None, true));
    assert_eq!(walked.walk().smallest_total, Some(18));
    let mut estimate = by_page();
    estimate["total_is"] = json!("estimate");
    assert_eq!(read(&upstream, estimate).await.ended().doubts(), []);
}

#[tokio::test]
async fn totals_pages_and_cursors_may_stand_in_headers() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "page").unwrap_or(1);
        let next = if page < 3 { (page + 1).to_string() } else { String::new() };
        let headers = [
            ("x-total-count", "25".to_owned()),
            ("content-range", format!("items {}-{}/25", page * 10 - 10, page * 10)),
            ("x-pages", "3".to_owned()),
            ("x-next-page", next),
            ("x-more", (page < 3).to_string()),
        ];
        (headers, json!({"data": rows((page - 1) * 10..25.min(page * 10))}).to_string())
    })
    .await;
    let header = |name: &str| json!({"header": name});
    for (next, total) in [
        (
            json!({"style": "page_number", "parameter": "page", "pages": header("X-Pages")}),
            header("X-Total-Count"),
        ),
        (
            json!({"style": "cursor", "pointer": header("X-Next-Page"), "parameter": "page"}),
            header("Content-Range"),
        ),
        (
            json!({"style": "page_number", "parameter": "page", "more": header("X-More")}),
            header("X-Total-Count"),
        ),
    ] {
        let mut settings = settings(next.clone());
        settings["total"] = total;
        let walked = read(&upstream, settings).await.ended();
        assert_eq!((walked.keys(), walked.doubt()), (ids(0..25), None), "{next}");
        assert_eq!((walked.walk().last_total, walked.pages.len()), (Some(25), 3), "{next}");
    }
}
