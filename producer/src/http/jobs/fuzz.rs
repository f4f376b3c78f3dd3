//! Fuzz tests of bodies, queries and headers of the native contract. See the crate `fuzz`.

use super::*;
use crate::http::X_WARNING;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run, text};
use axum::http::Uri;

/// What a refusal is: the caller's fault, in few words.
fn refused(problem: &Problem) -> Result<(), TestCaseError> {
    let said = format!("{problem:?}");
    // 500 characters of what came, each of up to eight as it is written here.
    prop_assert!(said.len() < 5000, "{} bytes", said.len());
    prop_assert!((400..500).contains(&problem.status()), "{}", said);
    Ok(())
}

#[test]
fn cancel_bodies() {
    let valid = [r#"{"reason": "wrong account"}"#, r#"{"reason":null,"colour":{"a":[1]}}"#, " "];
    run("bodies of cancels", document(&valid), |body| {
        match CancelBody::read(&body) {
            Ok(cancel) => {
                let names: Vec<String> = cancel.unknown.into_keys().collect();
                let mut response = StatusCode::OK.into_response();
                warn(&mut response, &names);
                prop_assert_eq!(response.headers().contains_key(X_WARNING), !names.is_empty());
            }
            Err(problem) => refused(&problem)?,
        }
        Ok(())
    });
}

#[test]
fn queries_of_lists() {
    let cursor = "00064a0b1c2d3e4f018f0000000070008000000000000001";
    let valid = [
        "limit=20&status=running",
        &format!("cursor={cursor}&limit=1"),
        "connection_id=018f0000-0000-7000-8000-000000000001&limit=100&status=cancelled",
        "",
    ];
    run("queries of lists", text(&valid), |query| {
        let query = String::from_utf8_lossy(&query).into_owned();
        let Ok(uri) = format!("/api/v1/jobs?{query}").parse::<Uri>() else { return Ok(()) };
        let asked = match ListQuery::read(Query::try_from_uri(&uri)) {
            Ok(asked) => asked,
            Err(problem) => return refused(&problem),
        };
        prop_assert!((1..=MAX_LIMIT).contains(&asked.limit), "{}", asked.limit);
        if let Some(cursor) = asked.after {
            // A cursor is one that was given out: written again it is the same.
            let written = cursor.to_string();
            prop_assert!(query.to_ascii_lowercase().contains(&written), "{} {}", query, written);
            prop_assert_eq!(written.parse(), Ok(cursor));
        }
        Ok(())
    });
}

#[test]
fn cursors() {
    let valid = [
        "00064a0b1c2d3e4f018f0000000070008000000000000001",
        "0000000000000000ffffffffffffffffffffffffffffffff",
    ];
    run("cursors of lists", text(&valid), |text| {
        let Ok(text) = String::from_utf8(text.0) else { return Ok(()) };
        if let Ok(cursor) = text.parse::<Cursor>() {
            prop_assert_eq!(cursor.to_string(), text.to_ascii_lowercase());
        }
        Ok(())
    });
}

#[test]
fn tags() {
    let valid = [r#"W/"abc""#, r#""x", W/"abc""#, "*"];
    run("If-None-Match", text(&valid), |value| {
        let Ok(value) = HeaderValue::from_bytes(&value) else { return Ok(()) };
        let named = value.to_str().is_ok_and(|value| value.contains("\"abc\"") || value.contains('*'));
        let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, value)]);
        prop_assert!(named || !etag::matches(&headers, "W/\"abc\""));
        Ok(())
    });
}
