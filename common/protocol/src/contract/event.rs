//! Events: what is told about a job, and in which words.

use super::counters::JobCounters;
use crate::ids::{ConnectionId, JobId, TenantId};
use crate::job::JobStatus;
use crate::warning::Warning;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// What happened to a job. The routing key is `job.` and this word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// A start was accepted: the job is pending.
    Accepted,
    /// A start was refused, since a job of the connection is active: `data.active_job_id`.
    Rejected,
    /// The job is planned, and runs.
    Started,
    /// More of it is done. At most one a second for each job; not every page is told.
    Progressed,
    /// It is held back on request.
    Paused,
    /// It goes on.
    Unpaused,
    /// A cancel holds: nothing more of it is imported. Pages in flight are being given up.
    Cancelling,
    /// It is done.
    Completed,
    /// It was given up.
    Failed,
    /// Its cancel has ended.
    Cancelled,
}

impl EventKind {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Accepted,
        Self::Rejected,
        Self::Started,
        Self::Progressed,
        Self::Paused,
        Self::Unpaused,
        Self::Cancelling,
        Self::Completed,
        Self::Failed,
        Self::Cancelled,
    ];

    /// The published spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Rejected => "rejected",
            Self::Started => "started",
            Self::Progressed => "progressed",
            Self::Paused => "paused",
            Self::Unpaused => "unpaused",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// The kind of this spelling.
    #[must_use]
    pub fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.word() == word)
    }

    /// The state that the job is in by this event; `None` where the event is in none, or leaves it as it is.
    #[must_use]
    pub const fn status(self) -> Option<JobStatus> {
        match self {
            Self::Accepted => Some(JobStatus::Pending),
            Self::Started => Some(JobStatus::Running),
            Self::Cancelling => Some(JobStatus::Cancelling),
            Self::Completed => Some(JobStatus::Completed),
            Self::Failed => Some(JobStatus::Failed),
            Self::Cancelled => Some(JobStatus::Cancelled),
            Self::Rejected | Self::Progressed | Self::Paused | Self::Unpaused => None,
        }
    }

    /// The routing key, and the `type` property.
    #[must_use]
    pub fn key(self) -> String {
        format!("job.{}", self.word())
    }
}

/// The body of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct EventMessage {
    /// The job; of a refused start the one that it would have been.
    pub job_id: JobId,
    /// Its tenant.
    pub tenant_id: Option<TenantId>,
    /// Its connection.
    pub connection_id: Option<ConnectionId>,
    /// What happened.
    pub event: EventKind,
    /// The job's state when it happened; null for a refused start.
    pub status: Option<JobStatus>,
    /// The job's counters when it happened; null for a refused start.
    pub counters: Option<JobCounters>,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Why: of a cancel, of a failure, of a refusal.
    pub reason: Option<String>,
    /// What else there is to say.
    pub data: EventData,
}

/// What else an event says. Fields are left out where they do not apply, and more may be added.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[serde(default)]
pub struct EventData {
    /// Who asked for the start or the cancel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub requested_by: Option<String>,
    /// rejected: the pending or running job of the connection.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub active_job_id: Option<JobId>,
    /// accepted: the job that was cancelled for this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub supersedes: Option<JobId>,
    /// started: into how many slices the job is cut.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slices: Option<i64>,
    /// cancelled: whether the deadline ended it, since some worker did not answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub forced: Option<bool>,
    /// failed: the slice and the page at which it happened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slice: Option<i32>,
    /// failed: the page.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub page: Option<i32>,
    /// completed, failed: what may differ from the upstream, by kind, with the first example of each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warnings: Option<Vec<Warning>>,
    /// failed: the first KiB of the upstream's answer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
    /// Anything newer than this description.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl EventData {
    /// The reason of an event and the rest, from the object that was stored with it.
    #[must_use]
    pub fn split(stored: Value) -> (Option<String>, Self) {
        let Value::Object(mut fields) = stored else { return (None, Self::default()) };
        let reason = fields.remove("reason").or_else(|| fields.remove("cause"));
        fields.retain(|_, value| !value.is_null());
        let data = serde_json::from_value(Value::Object(fields.clone()))
            .unwrap_or_else(|_of_another_form| Self { more: fields, ..Self::default() });
        (reason.as_ref().and_then(Value::as_str).map(ToOwned::to_owned), data)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn every_kind_has_one_word() {
        for kind in EventKind::ALL {
            assert_eq!(json!(kind), kind.word());
            assert_eq!(EventKind::of(kind.word()), Some(kind));
        }
        assert_eq!(EventKind::of("resumed"), None);
    }

    #[test]
    fn a_reason_comes_out_of_the_data() {
        let (reason, data) =
            EventData::split(json!({"reason": "enough", "requested_by": null, "forced": true}));
        assert_eq!((reason.as_deref(), data.forced), (Some("enough"), Some(true)));
        assert_eq!(json!(data), json!({"forced": true}));
        let (reason, data) = EventData::split(json!({"cause": "401", "page": 3, "later": [1]}));
        assert_eq!((reason.as_deref(), data.page), (Some("401"), Some(3)));
        assert_eq!(json!(data), json!({"page": 3, "later": [1]}));
        let (_, data) = EventData::split(json!({"page": "not a number"}));
        assert_eq!(json!(data), json!({"page": "not a number"}));
    }
}
