//! Fuzz tests of the bodies of this contract. See the crate `fuzz`.

use super::*;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run, text};
use axum::response::IntoResponse;
use chrono::Datelike;
use protocol::command::YEARS;

const VALID: &[&str] = &[
    r#"{"date_from": "2025-01-01T00:00:00Z", "date_to": "2026-01-01T00:00:00.5+01:00"}"#,
    r#"{"job_id": "018f0000-0000-7000-8000-000000000001"}"#,
    "",
];

fn refused(refusal: Refusal) -> Result<(), TestCaseError> {
    let said = format!("{refusal:?}");
    prop_assert!(said.len() < 4000, "{} bytes", said.len());
    prop_assert_eq!(refusal.into_response().status(), StatusCode::BAD_REQUEST);
    Ok(())
}

const MOMENTS: &[&str] = &[
    "2026-01-31T10:15:00Z",
    "2026-01-31T10:15:00.123456+01:00",
    "20260131T101500,5-0130",
    "2026-W05-6t24z",
    "2026-031 10:15",
    "2026W05",
    "2026-01",
];

#[test]
fn moments() {
    run("dates of the historical sync", text(MOMENTS), |text| {
        let Ok(text) = std::str::from_utf8(&text) else { return Ok(()) };
        let read = moment::read(text);
        // Whatever RFC 3339 has is the same here, but for leap seconds, which are the next second's first moment.
        let digits = text.as_bytes().first().is_some_and(u8::is_ascii_digit);
        if let Ok(same) = DateTime::parse_from_rfc3339(text)
            && digits
            && same.timestamp_subsec_nanos() < 1_000_000_000
        {
            prop_assert_eq!(read, Some(same.to_utc()), "{}", text);
        }
        if let Some(moment) = read.filter(|moment| YEARS.contains(&moment.year())) {
            prop_assert_eq!(moment::read(&moment.to_rfc3339()), Some(moment), "{}", text);
            prop_assert!(text.len() >= 7 && text.is_char_boundary(4), "{}", text);
        }
        Ok(())
    });
}

#[test]
fn bodies() {
    run("bodies of the historical sync", document(VALID), |body| {
        match StartBody::read(&body) {
            Ok(_) => {}
            Err(refusal) => refused(refusal)?,
        }
        match CancelBody::read(&body) {
            Ok(cancel) => {
                let id = cancel.job_id.0.simple().to_string();
                let text = String::from_utf8_lossy(&body).to_ascii_lowercase().replace('-', "");
                // Unless its digits are written as escapes.
                prop_assert!(text.contains(&id) || text.contains('\\'), "{} in {}", id, text);
            }
            Err(refusal) => refused(refusal)?,
        }
        Ok(())
    });
}
