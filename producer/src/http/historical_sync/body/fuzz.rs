//! Fuzz tests of the bodies of this contract. See the crate `fuzz`.

use super::*;
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run};
use axum::response::IntoResponse;

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
