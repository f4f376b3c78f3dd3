use super::*;
use crate::jobs::{self, tests::at};
use axum::response::IntoResponse;
use engine::SliceCounts;
use protocol::job::JobError;
use serde_json::json;

fn running() -> JobView {
    JobView {
        paused: true,
        date_from: Some(at(-60)),
        slices: SliceCounts::default(),
        ..jobs::tests::running()
    }
}

fn shown(job: Option<&JobView>) -> Value {
    serde_json::to_value(SyncStatus::of(job)).unwrap()
}

#[test]
fn an_active_job_has_exactly_the_fields_of_the_contract() {
    let expected = json!({
        "active": true,
        "job": {
            "id": "018f0000-0000-7000-8000-000000000001",
            "status": "in_progress",
            "date_from": "2026-02-02T02:39:00Z",
            "date_to": "2026-02-02T02:40:00Z",
            "total_calls": 1000,
            "processed_calls": 250,
            "imported_calls": 240,
            "skipped_calls": 7,
            "failed_calls": 3,
            "warnings": [],
            "progress_percent": 25,
            "started_at": "2026-02-02T02:40:01Z",
            "last_activity_at": "2026-02-02T02:40:10Z",
        }
    });
    assert_eq!(shown(Some(&running())), expected, "paused or not");
    let pending = JobView { status: JobStatus::Pending, started_at: None, total: None, ..running() };
    let pending = shown(Some(&pending));
    assert_eq!(
        (&pending["job"]["status"], &pending["job"]["progress_percent"], &pending["job"]["total_calls"]),
        (&json!("pending"), &Value::Null, &Value::Null)
    );
}

#[test]
fn a_job_that_is_over_has_the_fields_of_the_contract_and_two_more() {
    let failed = JobView {
        status: JobStatus::Failed,
        finished_at: Some(at(20)),
        error: Some(JobError { page: Some(3), ..JobError::of_job("the upstream answered 401") }),
        ..running()
    };
    let expected = json!({
        "active": false,
        "recent_job": {
            "id": "018f0000-0000-7000-8000-000000000001",
            "status": "failed",
            "date_from": "2026-02-02T02:39:00Z",
            "date_to": "2026-02-02T02:40:00Z",
            "total_calls": 1000,
            "processed_calls": 250,
            "imported_calls": 240,
            "skipped_calls": 7,
            "failed_calls": 3,
            "warnings": [],
            "created_at": "2026-02-02T02:40:00Z",
            "completed_at": "2026-02-02T02:40:20Z",
            "error_message": "the upstream answered 401",
        }
    });
    assert_eq!(shown(Some(&failed)), expected);
    assert_eq!(shown(None), json!({ "active": false, "recent_job": null }));
}

#[test]
fn a_cancel_is_over_once_it_is_accepted() {
    let cancelling =
        JobView { status: JobStatus::Cancelling, cancel_requested_at: Some(at(15)), ..running() };
    let cancelled = JobView { status: JobStatus::Cancelled, finished_at: Some(at(18)), ..cancelling.clone() };
    assert_eq!(shown(Some(&cancelling)), shown(Some(&cancelled)));
    assert_eq!(shown(Some(&cancelling))["recent_job"]["status"], "cancelled");
    assert_eq!(shown(Some(&cancelling))["recent_job"]["completed_at"], "2026-02-02T02:40:15Z");
}

#[test]
fn a_start_takes_nothing_or_dates() {
    let read = |body: &str| StartBody::read(body.as_bytes()).ok();
    for nothing in ["", " \n", "{}", r#"{"date_from": null, "colour": "blue"}"#] {
        assert_eq!(read(nothing), Some(StartBody::default()), "{nothing}");
    }
    let dates = read(r#"{"date_from": "2026-02-02T03:40:00+01:00", "date_to": "2026-02-02T02:40:20Z"}"#);
    assert_eq!(dates, Some(StartBody { date_from: Some(at(0)), date_to: Some(at(20)) }));
    let day = read(r#"{"date_from": "2026-02-02"}"#);
    assert_eq!(day, Some(StartBody { date_from: Some(at(-9600)), date_to: None }));
    for wrong in [
        "{",
        "null",
        "[]",
        r#"["2026-02-02T02:40:20Z"]"#,
        r#"{"date_from": ""}"#,
        r#"{"date_from": 1770000000}"#,
        r#"{"date_to": "2026-02"-02}"#,
        r#"{"date_to": ["2026-02-02"]}"#,
        r#"{"date_to": "2026-02-30T00:00:00Z"}"#,
        r#"{"date_to": "2026-02-02", "date_to": "2026-02-03"}"#,
        "\u{feff}{}",
    ] {
        let refused = StartBody::read(wrong.as_bytes()).expect_err(wrong).into_response();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{wrong}");
    }
}

#[test]
fn a_cancel_needs_a_job() {
    let read = |body: &str| CancelBody::read(body.as_bytes()).ok();
    let job = running().id;
    assert_eq!(read(&format!(r#"{{"job_id": "{job}"}}"#)), Some(CancelBody { job_id: job }));
    for wrong in ["", "{}", r#"{"job_id": null}"#, r#"{"job_id": 7}"#, r#"{"job_id": "seven"}"#, "[]"] {
        assert_eq!(read(wrong), None, "{wrong}");
    }
}
