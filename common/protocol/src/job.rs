//! Jobs: their states, the one function that decides every transition, and their counters.

use serde::{Deserialize, Serialize};
use std::fmt;

/// The state of a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "job_status", rename_all = "snake_case"))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum JobStatus {
    /// Accepted, not planned yet.
    Pending,
    /// Planned: its slices are being walked.
    Running,
    /// Fenced: nothing more of it is settled, and pages in flight are being given up.
    Cancelling,
    /// Every slice was walked to its end.
    Completed,
    /// Given up, with an error that says why.
    Failed,
    /// Stopped on request.
    Cancelled,
}

/// What can happen to a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobEvent {
    /// Its slices were made.
    Planned,
    /// All its slices are done.
    AllDone {
        /// Whether another slice follows: its check, or what a full sync does after it. Without, that was the end.
        slice_due: bool,
    },
    /// A cancel came while `leased` of its slices are (or are not) leased.
    CancelRequested {
        /// Whether any slice is leased.
        leased: bool,
    },
    /// Its last lease was released or expired.
    LastLeaseEnded,
    /// The deadline of a cancel has passed.
    CancelOverdue,
    /// A page failed for good.
    Failed,
}

impl JobStatus {
    /// Every state.
    pub const ALL: [Self; 6] =
        [Self::Pending, Self::Running, Self::Cancelling, Self::Completed, Self::Failed, Self::Cancelled];

    /// The published spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Running => "running",
            Self::Cancelling => "cancelling",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether the job is over. Over stays over.
    #[must_use]
    pub const fn is_terminal(self) -> bool {
        match self {
            Self::Pending | Self::Running | Self::Cancelling => false,
            Self::Completed | Self::Failed | Self::Cancelled => true,
        }
    }

    /// Whether the job counts as its connection's one active job. A cancelling job does not: its fence holds.
    #[must_use]
    pub const fn is_active(self) -> bool {
        match self {
            Self::Pending | Self::Running => true,
            Self::Cancelling | Self::Completed | Self::Failed | Self::Cancelled => false,
        }
    }

    /// The state after an event, or `None` where the event changes nothing.
    ///
    /// The guards of the store's SQL state the same rule; `tests` walks every state and event against both.
    #[must_use]
    pub const fn next(self, event: JobEvent) -> Option<Self> {
        match (self, event) {
            (Self::Pending, JobEvent::Planned) => Some(Self::Running),
            (Self::Running | Self::Cancelling, JobEvent::Planned) => None,
            (Self::Running, JobEvent::AllDone { slice_due: false }) => Some(Self::Completed),
            (Self::Running, JobEvent::AllDone { slice_due: true }) => Some(Self::Running),
            (Self::Pending | Self::Cancelling, JobEvent::AllDone { slice_due: true | false }) => None,
            (Self::Pending | Self::Running, JobEvent::CancelRequested { leased: true }) => {
                Some(Self::Cancelling)
            }
            (Self::Pending | Self::Running, JobEvent::CancelRequested { leased: false }) => {
                Some(Self::Cancelled)
            }
            (Self::Cancelling, JobEvent::CancelRequested { leased: true | false }) => None,
            (Self::Cancelling, JobEvent::LastLeaseEnded | JobEvent::CancelOverdue) => Some(Self::Cancelled),
            (Self::Pending | Self::Running, JobEvent::LastLeaseEnded | JobEvent::CancelOverdue) => None,
            (Self::Pending | Self::Running, JobEvent::Failed) => Some(Self::Failed),
            (Self::Cancelling, JobEvent::Failed) => None,
            (
                Self::Completed | Self::Failed | Self::Cancelled,
                JobEvent::Planned
                | JobEvent::AllDone { slice_due: true | false }
                | JobEvent::CancelRequested { leased: true | false }
                | JobEvent::LastLeaseEnded
                | JobEvent::CancelOverdue
                | JobEvent::Failed,
            ) => None,
        }
    }
}

impl std::fmt::Display for JobStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.word())
    }
}

/// What a job pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "job_mode", rename_all = "snake_case"))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
pub enum JobMode {
    /// Exactly the requested span; deletes nothing.
    #[default]
    Range,
    /// From what is known to now: the begin is found when the job is planned. Deletes nothing.
    Incremental,
    /// The requested span, and then what was not seen in it is deleted.
    Full,
}

impl JobMode {
    /// Whether a job that failed or was cancelled can be gone on with from its checkpoints.
    #[must_use]
    pub const fn is_resumable(self) -> bool {
        match self {
            Self::Range | Self::Incremental => true,
            // What the job before had seen may be gone by now.
            Self::Full => false,
        }
    }

    /// The published spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Range => "range",
            Self::Incremental => "incremental",
            Self::Full => "full",
        }
    }
}

/// The counters of a job or of a slice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counters {
    /// Records that were not stored before.
    pub inserted: i64,
    /// Records that were stored with other content.
    pub updated: i64,
    /// Records that were stored with this very content.
    pub unchanged: i64,
    /// Records that cannot be imported yet; a later sync does.
    pub deferred: i64,
    /// Records that could not be read or stored; the page log says why.
    pub failed: i64,
    /// Records that a full sync no longer found.
    pub deleted: i64,
}

impl Counters {
    /// Records written.
    #[must_use]
    pub const fn imported(&self) -> i64 {
        self.inserted + self.updated
    }

    /// Records seen and rightly not written.
    #[must_use]
    pub const fn skipped(&self) -> i64 {
        self.unchanged + self.deferred
    }

    /// Records seen.
    #[must_use]
    pub const fn processed(&self) -> i64 {
        self.imported() + self.skipped() + self.failed
    }

    /// `processed / total` in per cent, never above 100; unknown while the total is. An empty job is at 100 only once it
    /// is done. It is what JavaScript makes of `Math.round((processed / total) * 100)`, so that whoever computes it from
    /// the counters comes to the same: 29 of 200 is 14, since 0.145 * 100 is a little less than 14.5 in doubles.
    #[must_use]
    pub fn percent(&self, total: Option<i64>, done: bool) -> Option<u8> {
        match total? {
            ..=0 => done.then_some(100),
            total => Some(rounded(as_double(self.processed().max(0)) / as_double(total) * 100.0)),
        }
    }
}

/// As JavaScript reads a whole number.
#[expect(
    clippy::cast_precision_loss,
    reason = "a double is what is asked for, and JavaScript loses the same"
)]
const fn as_double(count: i64) -> f64 {
    count as f64
}

/// As `Math.round` does, up to 100. (`f64::round` differs in nothing above zero, but `floor(x + 0.5)` would.)
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is between 0 and 100")]
fn rounded(percent: f64) -> u8 {
    percent.round().clamp(0.0, 100.0) as u8
}

/// Why a job failed; stored and shown. Parts that a row lacks are empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[serde(default)]
pub struct JobError {
    /// What happened, in words.
    pub cause: String,
    /// The slice in which it happened, if in one.
    pub slice: Option<i32>,
    /// The page at which it happened.
    pub page: Option<i32>,
    /// The first KiB of the upstream's answer.
    pub body: Option<String>,
    /// Whether it cannot be resumed: its walks are over, and what they lack can only be found by another job.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub anew: bool,
}

impl fmt::Display for JobError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.cause)?;
        match (self.slice, self.page) {
            (Some(slice), Some(page)) => write!(f, "  (slice {slice}, page {page})"),
            (Some(slice), None) => write!(f, "  (slice {slice})"),
            (None, Some(page)) => write!(f, "  (page {page})"),
            (None, None) => Ok(()),
        }
    }
}

impl JobError {
    /// An error of the job as a whole.
    #[must_use]
    pub fn of_job(cause: impl Into<String>) -> Self {
        Self { cause: cause.into(), ..Self::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EVENTS: [JobEvent; 8] = [
        JobEvent::Planned,
        JobEvent::AllDone { slice_due: false },
        JobEvent::AllDone { slice_due: true },
        JobEvent::CancelRequested { leased: true },
        JobEvent::CancelRequested { leased: false },
        JobEvent::LastLeaseEnded,
        JobEvent::CancelOverdue,
        JobEvent::Failed,
    ];

    #[test]
    fn every_state_meets_every_event() {
        use JobStatus::{Cancelled, Cancelling, Completed, Failed, Pending, Running};
        let table: [(JobStatus, [Option<JobStatus>; 8]); 6] = [
            (
                Pending,
                [Some(Running), None, None, Some(Cancelling), Some(Cancelled), None, None, Some(Failed)],
            ),
            (
                Running,
                [
                    None,
                    Some(Completed),
                    Some(Running),
                    Some(Cancelling),
                    Some(Cancelled),
                    None,
                    None,
                    Some(Failed),
                ],
            ),
            (Cancelling, [None, None, None, None, None, Some(Cancelled), Some(Cancelled), None]),
            (Completed, [None; 8]),
            (Failed, [None; 8]),
            (Cancelled, [None; 8]),
        ];
        for (state, expected) in table {
            for (event, expected) in EVENTS.into_iter().zip(expected) {
                assert_eq!(state.next(event), expected, "{state:?} {event:?}");
            }
        }
    }

    #[test]
    fn every_open_state_leads_to_an_end() {
        for state in JobStatus::ALL {
            let reachable = EVENTS.into_iter().filter_map(|event| state.next(event));
            assert_eq!(reachable.count() == 0, state.is_terminal(), "{state:?}");
            assert!(!(state.is_active() && state.is_terminal()));
        }
    }

    #[test]
    fn percent_rounds_half_up_and_stops_at_a_hundred() {
        let seen = |unchanged| Counters { unchanged, ..Counters::default() };
        assert_eq!(seen(1).percent(Some(200), false), Some(1));
        assert_eq!(seen(1).percent(Some(201), false), Some(0));
        assert_eq!(seen(3).percent(Some(2), false), Some(100));
        assert_eq!(seen(0).percent(None, true), None);
        assert_eq!(seen(0).percent(Some(0), true), Some(100));
        assert_eq!(seen(0).percent(Some(0), false), None);
    }

    /// Each pair as a JavaScript engine rounds it.
    #[test]
    fn percent_is_that_of_javascript() {
        for (processed, total, expected) in [
            (29, 200, 14),
            (57, 200, 28),
            (58, 200, 29),
            (1, 200, 1),
            (3, 200, 2),
            (7, 1000, 1),
            (145, 1000, 14),
            (285, 1000, 28),
            (575, 1000, 57),
            (1, 3, 33),
            (2, 3, 67),
            (199, 200, 100),
            (i64::MAX - 1, i64::MAX, 100),
            (i64::MAX, 1, 100),
        ] {
            let seen = Counters { unchanged: processed, ..Counters::default() };
            assert_eq!(seen.percent(Some(total), false), Some(expected), "{processed} of {total}");
        }
    }

    proptest! {
        #[test]
        fn percent_is_the_nearest_whole_one(unchanged in 0..i64::MAX, total in 1..i64::MAX, done: bool) {
            let percent = Counters { unchanged, ..Counters::default() }.percent(Some(total), done);
            let percent = i128::from(percent.expect("the total is known"));
            // |processed / total - percent / 100| is at most half a per cent, and what doubles lose.
            let off = i128::from(unchanged) * 200 - percent * 2 * i128::from(total);
            let lost = i128::from(total) / (1 << 40) + 1;
            prop_assert!(percent == 100 || off.abs() <= i128::from(total) + lost);
            prop_assert!(off >= -i128::from(total) - lost);
        }
    }
}
