//! Golden messages: what was once published can always be read. A change that breaks one of these files breaks a service
//! that nobody here can see; add a file for a new form, and never edit an old one.

use common::command::{CancelCommand, Reply, StartCommand, decode};
use common::job::JobMode;
use common::slice::Ring;
use serde_json::Value;

#[test]
fn a_minimal_start() {
    let decoded = decode::<StartCommand>(include_bytes!("golden/start_minimal.json"), None).unwrap();
    assert_eq!(decoded.command.connection_id.to_string(), "018f0000-0000-7000-8000-000000000001");
    assert_eq!(decoded.command.job_id, None);
    assert_eq!(decoded.command.mode, JobMode::Range);
    assert!(decoded.unknown.is_empty());
}

#[test]
fn a_full_start() {
    let body = include_bytes!("golden/start_full.json");
    let decoded = decode::<StartCommand>(body, Some("sync.start")).unwrap();
    let command = &decoded.command;
    assert_eq!(command.job_id.unwrap().to_string(), "018f0000-0000-7000-8000-000000000002");
    assert_eq!(command.command_id.as_deref(), Some("crm-4711"));
    assert_eq!(command.date_from.unwrap().to_rfc3339(), "2026-01-01T00:00:00+00:00");
    assert_eq!(command.date_to.unwrap().to_rfc3339(), "2026-01-31T23:00:00+00:00");
    assert_eq!((command.name.as_deref(), command.requested_by.as_deref()), (Some("January"), Some("crm")));
    assert!(decoded.unknown.is_empty());
    let again = serde_json::to_vec(command).unwrap();
    assert_eq!(decode::<StartCommand>(&again, None).unwrap().command, *command, "what we write we can read");
}

#[test]
fn cancels() {
    let by_job =
        decode::<CancelCommand>(include_bytes!("golden/cancel_job.json"), Some("sync.cancel")).unwrap();
    assert_eq!(by_job.command.reason.as_deref(), Some("customer asked"));
    assert!(by_job.command.job_id.is_some() && by_job.command.connection_id.is_none());
    let by_connection =
        decode::<CancelCommand>(include_bytes!("golden/cancel_connection.json"), None).unwrap();
    assert!(by_connection.command.connection_id.is_some() && by_connection.command.job_id.is_none());
}

/// These are written by Backhaul itself: they are the same to the byte.
#[test]
fn what_backhaul_writes() {
    let page = include_str!("golden/page.json").trim();
    let ring: Ring = serde_json::from_str(page).unwrap();
    assert_eq!((ring.slice, ring.page, ring.ring), (3, 17, 5));
    assert_eq!(serde_json::to_string(&ring).unwrap(), page);

    let text = include_str!("golden/reply.json").trim();
    let reply: Reply = serde_json::from_str(text).unwrap();
    assert_eq!(serde_json::to_value(&reply).unwrap(), serde_json::from_str::<Value>(text).unwrap());
}
