//! A stored cursor that the upstream takes no more.

use axum::http::StatusCode;
use serde_json::{Value, json};
use sources::FetchError;

use super::{query, read, row, settings};
use crate::upstream::Upstream;

/// An upstream whose second page is answered so.
async fn refusing(status: u16) -> Upstream {
    Upstream::start(move |parts| {
        let first = !query(parts).contains_key("c") && query(parts).get("n").is_none_or(|n| n == "0");
        let status = if first { StatusCode::OK } else { StatusCode::from_u16(status).unwrap() };
        let link = [("link", "</list?c=1>; rel=next")];
        (status, link, json!({"data": [row(0), row(1)], "next": "x", "url": "/list?c=1"}).to_string())
    })
    .await
}

const CURSORS: [(&str, &str); 4] = [
    ("next_url", r#"{"style": "next_url", "pointer": "/url"}"#),
    ("link_header", r#"{"style": "link_header"}"#),
    ("cursor", r#"{"style": "cursor", "pointer": "/next", "parameter": "c"}"#),
    ("last_id", r#"{"style": "last_id", "parameter": "c"}"#),
];

fn by(next: &str) -> Value {
    settings(serde_json::from_str(next).unwrap())
}

#[tokio::test]
async fn a_stored_cursor_may_be_refused_for_good() {
    for (style, next) in CURSORS {
        for status in [400, 404, 409, 410, 422] {
            match read(&refusing(status).await, by(next)).await.error {
                Some(FetchError::Expired { cause, body }) => {
                    assert!(
                        cause.contains(&status.to_string()) && cause.contains("next.end_status"),
                        "{style}: {cause}"
                    );
                    assert!(body.unwrap().contains("data"));
                }
                other => panic!("{style} {status}: {other:?}"),
            }
        }
        for status in [401, 403, 405, 416, 451] {
            let error = read(&refusing(status).await, by(next)).await.error;
            assert!(matches!(error, Some(FetchError::Permanent { .. })), "{style} {status}: {error:?}");
        }
        for status in [429, 500, 503] {
            let error = read(&refusing(status).await, by(next)).await.error;
            assert!(
                !matches!(error, None | Some(FetchError::Permanent { .. } | FetchError::Expired { .. })),
                "{style} {status}: {error:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_first_page_and_a_counted_one_have_no_cursor_that_could_die() {
    for next in [
        "{\"style\": \"page_number\", \"parameter\": \"n\", \"first\": 0}",
        "{\"style\": \"offset\", \"parameter\": \"n\"}",
    ] {
        let failed = read(&refusing(400).await, by(next)).await.failed();
        assert!(
            failed.contains("to a page after the first one") && failed.contains("next.end_status"),
            "{failed}"
        );
    }
    for (style, next) in CURSORS {
        let upstream = Upstream::start(|_| StatusCode::GONE).await;
        assert_eq!(read(&upstream, by(next)).await.failed(), "the upstream answered 410 Gone", "{style}");
    }
}

#[tokio::test]
async fn a_status_that_ends_the_list_is_no_refusal() {
    for (style, next) in CURSORS {
        let mut settings = by(next);
        settings["next"]["end_status"] = json!([410]);
        let walked = read(&refusing(410).await, settings).await.ended();
        assert_eq!((walked.keys().len(), walked.doubt()), (2, None), "{style}");
    }
}
