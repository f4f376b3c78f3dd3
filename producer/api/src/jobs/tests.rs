use super::*;
use chrono::{DateTime, Utc};
use engine::SliceCounts;
use protocol::ids::TenantId;
use protocol::job::{Counters, JobMode};
use serde_json::json;

pub(crate) fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_770_000_000 + seconds, 0).unwrap()
}

/// A job on its way, as every contract shows one.
pub(crate) fn running() -> JobView {
    JobView {
        id: "018f0000-0000-7000-8000-000000000001".parse().unwrap(),
        tenant: TenantId::random(),
        connection: "018f0000-0000-7000-8000-000000000002".parse().unwrap(),
        name: None,
        status: JobStatus::Running,
        paused: false,
        mode: JobMode::Range,
        date_from: None,
        date_to: at(0),
        counters: Counters { inserted: 200, updated: 40, unchanged: 5, deferred: 2, failed: 3, deleted: 0 },
        total: Some(1000),
        pages_settled: 3,
        pages_skipped: 0,
        resumed_from: None,
        carried: 0,
        slices: SliceCounts { total: 4, queued: 1, ready: 2, leased: 1, waiting: 0, done: 1 },
        error: None,
        created_at: at(0),
        started_at: Some(at(1)),
        cancel_requested_at: None,
        cancel_reason: None,
        cancel_requested_by: None,
        finished_at: None,
        deletion_left_out: None,
        last_activity_at: at(10),
        read_at: at(11),
        schema: None,
        documents: None,
        filled: 0,
        upstream_total: None,
        whole: None,
        warnings: Vec::new(),
        notes: Vec::new(),
    }
}

#[test]
fn a_job_has_exactly_the_fields_of_the_contract() {
    let body = serde_json::to_value(JobBody::from(&running())).unwrap();
    let expected = json!({
        "id": "018f0000-0000-7000-8000-000000000001",
        "connection_id": "018f0000-0000-7000-8000-000000000002",
        "status": "running",
        "paused": false,
        "mode": "range",
        "date_from": null,
        "date_to": "2026-02-02T02:40:00Z",
        "counters": {
            "inserted": 200, "updated": 40, "unchanged": 5, "deferred": 2, "failed": 3, "deleted": 0,
            "imported": 240, "skipped": 7, "processed": 250, "total": 1000
        },
        "percent": 25,
        "rate_per_second": 25.0,
        "estimated_seconds_remaining": 30,
        "pages_settled": 3,
        "pages_skipped": 0,
        "slices": {"total": 4, "queued": 1, "ready": 2, "leased": 1, "waiting": 0, "done": 1},
        "error": null,
        "created_at": "2026-02-02T02:40:00Z",
        "started_at": "2026-02-02T02:40:01Z",
        "cancel_requested_at": null,
        "cancel_reason": null,
        "finished_at": null,
        "last_activity_at": "2026-02-02T02:40:10Z",
        "resumed_from": null,
        "upstream_total": null,
        "warnings": [],
        "notes": [],
    });
    assert_eq!(body, expected);
}

#[test]
fn the_tag_stays_while_only_the_clock_moves() {
    let tag = |job: &JobView| etag::of(&JobBody::from(job));
    let before = running();
    let later = JobView { read_at: at(60), ..running() };
    assert_ne!(JobBody::from(&before), JobBody::from(&later));
    assert_eq!(tag(&before), tag(&later));
    assert_ne!(tag(&before), tag(&JobView { pages_settled: 4, ..running() }));
    assert_ne!(tag(&before), tag(&JobView { status: JobStatus::Cancelling, ..running() }));
}

#[test]
fn what_was_carried_counts_but_not_as_speed() {
    let first = "018f0000-0000-7000-8000-000000000009".parse().unwrap();
    let body = JobBody::from(&JobView { resumed_from: Some(first), carried: 150, ..running() });
    assert_eq!((body.resumed_from, body.percent, body.counters.processed), (Some(first), Some(25), 250));
    assert_eq!((body.rate_per_second, body.estimated_seconds_remaining), (Some(10.0), Some(75)));
}

#[test]
fn if_none_match_takes_lists_weak_tags_and_a_star() {
    let asked = |value: &'static str| {
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, HeaderValue::from_static(value));
        etag::matches(&headers, "W/\"abc\"")
    };
    assert!(asked("W/\"abc\"") && asked("\"abc\"") && asked("\"x\", W/\"abc\"") && asked("*"));
    assert!(!asked("\"ab\"") && !asked("") && !asked("abc"));
    assert!(!etag::matches(&HeaderMap::new(), "W/\"abc\""));
}

#[test]
fn a_conflict_carries_the_active_job() {
    let (active, connection) = (running().id, running().connection);
    let problem = Problem::from(engine::EngineError::JobActive { active, connection });
    let body = serde_json::to_value(&problem.body).unwrap();
    assert_eq!((&body["code"], &body["job_id"]), (&json!("job_active"), &json!(active)));
    assert_eq!(body.get("job_status"), None);
}
