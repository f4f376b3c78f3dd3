//! One message of every kind. The documents show them, and the golden files hold them to what was once published.

use super::{AbortMessage, EventData, EventKind, EventMessage, JobCounters, MarkerMessage, Message};
use crate::command::{CancelCommand, OnConflict, Reply, StartCommand};
use crate::ids::{ConnectionId, JobId, SchemaId, TenantId};
use crate::job::{Counters, JobMode, JobStatus};
use crate::slice::Ring;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

/// A message as it goes over the wire.
#[derive(Clone, Debug)]
pub struct Example {
    /// Its kind.
    pub message: Message,
    /// What it shows; also the name of its golden file.
    pub name: String,
    /// Its body.
    pub payload: Value,
}

const CONNECTION: ConnectionId = ConnectionId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0001));
const JOB: JobId = JobId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0002));
const OTHER: JobId = JobId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0003));
const SCHEMA: SchemaId = SchemaId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0005));
const TENANT: TenantId = TenantId(Uuid::from_u128(0x018f_0000_0000_7000_8000_0000_0000_0004));

/// One message of every kind, and one event of every kind.
#[must_use]
pub fn examples() -> Vec<Example> {
    let example = |message, name: &str, payload| Example { message, name: name.to_owned(), payload };
    let mut examples = vec![
        example(Message::Start, "start", json!(start())),
        example(Message::Start, "start_documents", json!(start_documents())),
        example(Message::Cancel, "cancel", json!(cancel())),
        example(Message::Reply, "reply_accepted", json!(accepted())),
        example(Message::Reply, "reply_refused", json!(refused())),
        example(Message::Page, "page", json!(Ring { job: JOB, slice: 3, page: 17, ring: 5 })),
        example(Message::Marker, "marker", json!(MarkerMessage { marker: 42 })),
        example(Message::Abort, "abort", json!(AbortMessage { job_id: JOB })),
    ];
    examples.extend(EventKind::ALL.into_iter().map(|kind| {
        let name = format!("event_{}", kind.word());
        Example { message: Message::Event, name, payload: json!(event(kind)) }
    }));
    examples
}

fn start() -> StartCommand {
    StartCommand {
        connection_id: CONNECTION,
        job_id: Some(JOB),
        command_id: Some("crm-4711".to_owned()),
        date_from: DateTime::from_timestamp(1_767_225_600, 0),
        date_to: DateTime::from_timestamp(1_769_904_000, 0),
        mode: JobMode::Range,
        name: Some("January".to_owned()),
        schema_id: None,
        document_ids: None,
        on_conflict: OnConflict::Supersede,
        requested_by: Some("crm".to_owned()),
    }
}

fn start_documents() -> StartCommand {
    StartCommand {
        date_from: None,
        date_to: None,
        name: Some("two calls".to_owned()),
        schema_id: Some(SCHEMA),
        document_ids: Some(vec!["call-1".to_owned(), "call-2".to_owned()]),
        on_conflict: OnConflict::Reject,
        ..start()
    }
}

fn cancel() -> CancelCommand {
    CancelCommand {
        job_id: Some(JOB),
        connection_id: None,
        reason: Some("customer asked".to_owned()),
        command_id: Some("crm-4712".to_owned()),
        requested_by: Some("crm".to_owned()),
    }
}

const fn accepted() -> Reply {
    Reply { accepted: true, job_id: Some(JOB), status: Some(JobStatus::Running), reason: None }
}

fn refused() -> Reply {
    let reason = Some(format!("job {OTHER} of this connection is pending or running"));
    Reply { accepted: false, job_id: Some(OTHER), status: Some(JobStatus::Running), reason }
}

fn event(kind: EventKind) -> EventMessage {
    let by = Some("crm".to_owned());
    let (reason, data) = match kind {
        EventKind::Accepted => {
            (None, EventData { requested_by: by, supersedes: Some(OTHER), ..EventData::default() })
        }
        EventKind::Rejected => (
            refused().reason,
            EventData { requested_by: by, active_job_id: Some(OTHER), ..EventData::default() },
        ),
        EventKind::Started => (None, EventData { slices: Some(31), ..EventData::default() }),
        EventKind::Progressed | EventKind::Completed => (None, EventData::default()),
        EventKind::Paused | EventKind::Unpaused => {
            (None, EventData { requested_by: by, ..EventData::default() })
        }
        EventKind::Cancelling => (cancel().reason, EventData { requested_by: by, ..EventData::default() }),
        EventKind::Failed => {
            let body = Some(r#"{"detail": "invalid API key"}"#.to_owned());
            let data = EventData { slice: Some(3), page: Some(17), body, ..EventData::default() };
            (Some("the upstream answered 401".to_owned()), data)
        }
        EventKind::Cancelled => {
            (cancel().reason, EventData { requested_by: by, forced: Some(false), ..EventData::default() })
        }
    };
    let refused = kind == EventKind::Rejected;
    EventMessage {
        job_id: JOB,
        tenant_id: Some(TENANT),
        connection_id: Some(CONNECTION),
        event: kind,
        status: (!refused).then(|| kind.status().unwrap_or(JobStatus::Running)),
        counters: (!refused).then(|| counters(kind)),
        at: DateTime::<Utc>::from_timestamp(1_770_000_000, 123_456_000).unwrap_or_default(),
        reason,
        data,
    }
}

const fn counters(kind: EventKind) -> JobCounters {
    let counters = match kind {
        EventKind::Accepted | EventKind::Rejected | EventKind::Started => {
            return JobCounters::new(&NONE, None);
        }
        EventKind::Progressed
        | EventKind::Paused
        | EventKind::Unpaused
        | EventKind::Cancelling
        | EventKind::Failed
        | EventKind::Cancelled => {
            Counters { inserted: 200, updated: 40, unchanged: 5, deferred: 2, failed: 3, deleted: 0 }
        }
        EventKind::Completed => {
            Counters { inserted: 940, updated: 40, unchanged: 15, deferred: 2, failed: 3, deleted: 0 }
        }
    };
    JobCounters::new(&counters, Some(1000))
}

const NONE: Counters = Counters { inserted: 0, updated: 0, unchanged: 0, deferred: 0, failed: 0, deleted: 0 };
