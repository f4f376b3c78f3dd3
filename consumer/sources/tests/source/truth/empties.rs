//! How the end of a list and an empty list look.

use axum::body::Body;
use axum::http::Response;
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use sources::FetchError;

use super::{ids, number, query, read, rows, settings};
use crate::upstream::Upstream;

fn answer(status: u16, body: impl Into<Body>) -> Response<Body> {
    Response::builder().status(status).body(body.into()).unwrap()
}

const STYLES: [&str; 5] = ["page_number", "offset", "last_id", "cursor", "next_url"];

/// A style whose end is said by something else: three pages of ten.
fn style(name: &str, ends: &Value) -> Value {
    let mut next = match name {
        "cursor" => json!({"style": name, "pointer": "/next", "parameter": "p"}),
        "next_url" => json!({"style": name, "pointer": "/url"}),
        _ => json!({"style": name, "parameter": "p"}),
    };
    next.as_object_mut().unwrap().extend(ends.as_object().unwrap().clone());
    let mut settings = settings(next);
    settings.as_object_mut().unwrap().remove("total");
    settings
}

/// Where the page begins that a style asks for.
fn begin(name: &str, asked: Option<usize>) -> usize {
    match (name, asked) {
        ("page_number", Some(page)) => (page - 1) * 10,
        ("last_id", Some(last)) => last + 1,
        (_, asked) => asked.unwrap_or(0),
    }
}

async fn thirty(name: &'static str, beyond: fn() -> Response<Body>) -> Upstream {
    Upstream::start(move |parts| {
        let from = begin(name, number(parts, "p"));
        if from >= 30 {
            return beyond();
        }
        let to = from + 10;
        let body = json!({
            "data": rows(from..to.min(30)), "next": to, "url": format!("/list?p={to}"),
            "has_more": to < 30, "end_of_list": to >= 30, "last": if to >= 30 { "1" } else { "0" },
        });
        answer(200, body.to_string())
    })
    .await
}

#[tokio::test]
async fn a_flag_of_either_polarity_ends_every_style() {
    for name in STYLES {
        for ends in [
            json!({"more": "/has_more"}),
            json!({"done": "/end_of_list"}),
            json!({"done": "/last"}),
            json!({"more": "/has_more", "done": "/none"}),
        ] {
            let upstream = thirty(name, || answer(500, "asked beyond the end")).await;
            let walked = read(&upstream, style(name, &ends)).await.ended();
            assert_eq!((walked.keys(), walked.doubt()), (ids(0..30), None), "{name} {ends}");
            // One record of each page is read again by offsets.
            assert_eq!(walked.pages.len(), if name == "offset" { 4 } else { 3 }, "{name} {ends}");
        }
    }
}

/// Some upstreams name the last page itself as the one that follows it.
#[tokio::test]
async fn a_last_page_that_leads_to_itself_beside_a_flag_ends() {
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "p").unwrap_or(1);
        let next = (page + 1).min(3);
        json!({"data": rows(page * 10..page * 10 + 10), "next": next, "url": format!("/list?p={next}"), "has_more": page < 3})
            .to_string()
    })
    .await;
    for name in ["cursor", "next_url"] {
        let walked = read(&upstream, style(name, &json!({"more": "/has_more"}))).await.ended();
        assert_eq!((walked.keys(), walked.doubt()), (ids(10..40), None), "{name}");
        assert!(read(&upstream, style(name, &json!({}))).await.failed().starts_with("cursor loop"), "{name}");
    }
}

#[tokio::test]
async fn a_status_may_end_the_list_after_the_first_page() {
    for name in STYLES {
        for (status, ends) in [
            (404, json!({"end_status": [404]})),
            (400, json!({"end_status": 400})),
            (204, json!({"end_status": [204, 404]})),
        ] {
            let beyond = match status {
                404 => || answer(404, "no such page"),
                400 => || answer(400, "out of range"),
                _ => || answer(204, Body::empty()),
            };
            let walked = read(&thirty(name, beyond).await, style(name, &ends)).await.ended();
            assert_eq!((walked.keys(), walked.doubt()), (ids(0..30), None), "{name} {ends}");
        }
        // Without the setting it is an error that names it.
        let error = read(&thirty(name, || answer(404, "no such page")).await, style(name, &json!({})))
            .await
            .error
            .unwrap();
        assert!(error.to_string().contains("next.end_status"), "{name}: {error}");
    }
    // A first page that is refused is no empty list.
    let upstream = Upstream::start(|_| answer(404, "nothing here")).await;
    let error = read(&upstream, style("page_number", &json!({"end_status": [404]}))).await.failed();
    assert_eq!(error, "the upstream answered 404 Not Found");
}

#[test]
fn statuses_that_never_mean_the_end_are_refused() {
    for status in [200, 401, 403, 429, 99, 600] {
        let settings = style("page_number", &json!({"end_status": [status]}));
        let refused = sources::planning("paged_json", &settings).unwrap_err().to_string();
        assert!(refused.contains(&format!("next.end_status: {status} never means the end")), "{refused}");
    }
}

#[tokio::test]
async fn values_of_the_settings_stand_for_no_next_page() {
    for mark in [json!(false), json!("null"), json!(0), json!("-1"), json!("end"), json!({"none": []})] {
        let end = mark.clone();
        let upstream = Upstream::start(move |parts| {
            let is_last = query(parts).contains_key("p");
            let next = if is_last { end.clone() } else { json!("7") };
            let url = if is_last { end.clone() } else { json!("/list?p=7") };
            json!({"data": rows(if is_last { 3..5 } else { 0..3 }), "next": next, "url": url}).to_string()
        })
        .await;
        for name in ["cursor", "next_url"] {
            let walked = read(
                &upstream,
                style(name, &json!({"end_marks": [false, "null", 0, "-1", "end", {"none": []}]})),
            )
            .await
            .ended();
            assert_eq!((walked.keys(), walked.doubt()), (ids(0..5), None), "{name} {mark}");
        }
        if !mark.is_string() && !mark.is_number() {
            let failed = read(&upstream, style("cursor", &json!({}))).await.failed();
            assert!(failed.contains("name it in next.end_marks"), "{failed}");
        }
    }
}

#[tokio::test]
async fn an_empty_list_has_many_forms() {
    for body in [
        r#"{"data":null,"total":0}"#,
        r#"{"total":0}"#,
        r#"{"data":[]}"#,
        r#"{"data":null}"#,
        r#"{"data":null,"errors":[]}"#,
        r#"{"total":"0","error":null}"#,
    ] {
        for name in STYLES {
            let upstream = Upstream::text(body).await;
            let mut settings = style(name, &json!({}));
            settings["total"] = json!("/total");
            let walked = read(&upstream, settings).await.ended();
            assert_eq!(
                (walked.keys().len(), walked.doubt(), walked.pages.len()),
                (0, None, 1),
                "{name} {body}"
            );
        }
    }
    let upstream = Upstream::start(|_| answer(204, Body::empty())).await;
    for name in STYLES {
        let walked = read(&upstream, style(name, &json!({}))).await.ended();
        assert_eq!((walked.keys().len(), walked.doubt()), (0, None), "{name}");
    }
}

#[tokio::test]
async fn an_array_that_is_absent_needs_a_sign_that_the_list_is_empty() {
    let absent =
        async |body: Value, settings: Value| read(&Upstream::text(body.to_string()).await, settings).await;
    for body in [
        json!({"message": "down"}),
        json!({"total": 7}),
        json!({}),
        json!({"data": {}}),
        json!({"errors": ["no"]}),
        json!({"data": null, "error": "no"}),
    ] {
        let error = absent(body.clone(), style("page_number", &json!({}))).await.error.unwrap();
        assert!(matches!(error, FetchError::Unreadable { .. }), "{body}: {error}");
    }
    let named = absent(json!({}), style("page_number", &json!({}))).await.error.unwrap().to_string();
    assert!(named.contains("set records.absent to \"empty\""), "{named}");
    let mut settings = style("page_number", &json!({}));
    settings["records"]["absent"] = json!("empty");
    assert_eq!(absent(json!({}), settings.clone()).await.ended().keys().len(), 0);
    // An error stays one.
    assert!(absent(json!({"errors": ["no"]}), settings).await.error.is_some());
}

/// As Go writes an empty slice that is to be left out.
#[tokio::test]
async fn an_array_that_is_absent_beside_a_next_page_or_after_records_is_empty() {
    let upstream = Upstream::start(|parts| {
        match number(parts, "p") {
            None => json!({"next": "1"}),
            Some(1) => json!({"data": rows(0..2), "next": "2"}),
            Some(_) => json!({}),
        }
        .to_string()
    })
    .await;
    let walked = read(&upstream, style("cursor", &json!({}))).await.ended();
    assert_eq!((walked.keys(), walked.doubt(), walked.pages.len()), (ids(0..2), None, 3));
    let absent: Vec<_> = walked.pages.iter().map(|(_, page)| page.absent.is_some()).collect();
    assert_eq!(absent, [true, false, true]);
    let upstream = Upstream::start(|parts| {
        let page = number(parts, "p").unwrap();
        if page < 3 { json!({"data": rows(page * 10..page * 10 + 10)}) } else { json!({"page": page}) }
            .to_string()
    })
    .await;
    let walked = read(&upstream, style("page_number", &json!({}))).await.ended();
    assert_eq!((walked.keys(), walked.warnings()), (ids(10..30), vec![(WarningKind::MovingList, 1)]));
}
