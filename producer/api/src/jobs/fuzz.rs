//! Fuzz tests of bodies, queries and headers of the native contract. See the crate `fuzz`.

use super::request::MAX_LIMIT;
use super::*;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run, text};
use axum::http::Uri;
use engine::Cursor;

/// What a refusal is: the caller's fault, in few words.
fn refused(problem: &Problem) -> Result<(), TestCaseError> {
    let said = format!("{problem:?}");
    // 500 characters of what came, each of up to eight as it is written here.
    prop_assert!(said.len() < 5000, "{} bytes", said.len());
    prop_assert!((400..500).contains(&problem.status.as_u16()), "{}", said);
    Ok(())
}

#[test]
fn cancel_bodies() {
    let valid = [r#"{"reason": "wrong account"}"#, r#"{"reason":null,"colour":{"a":[1]}}"#, " ", "{}"];
    run("bodies of cancels", document(&valid), |body| {
        if let Ok(serde_json::Value::Object(fields)) = serde_json::from_slice(&body) {
            let known = fields.keys().all(|name| name == "reason");
            prop_assert!(known || CancelBody::read(&body).is_err());
            prop_assert_eq!(fields.is_empty(), nothing(&body).is_ok());
        }
        match CancelBody::read(&body) {
            Ok(_) => Ok(()),
            Err(problem) => refused(&problem),
        }
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
        let asked = match Asked::<ListQuery>::of(&uri).and_then(|Asked(query)| query.read()) {
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
