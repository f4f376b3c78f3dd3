//! Slices: the parts of a job that are walked serially. Their states, and how a job's span is cut into them.

use crate::ids::JobId;
use chrono::{DateTime, TimeDelta, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The state of a slice. *Leased* is not a state: a slice is leased while it carries a lease token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "slice_status", rename_all = "snake_case")]
pub enum SliceStatus {
    /// Wants a page, has no doorbell: its tenant's turn has not come, or a pause keeps it.
    Queued,
    /// Its doorbell has been rung; leased or about to be.
    Ready,
    /// Backs off until `not_before`.
    Waiting,
    /// Every page is settled.
    Done,
    /// Closed by a cancel.
    Cancelled,
    /// Closed because its job failed.
    Failed,
}

/// What can happen to a slice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SliceEvent {
    /// Refill picked it: the doorbell is rung.
    Rung,
    /// A pause of the job or of the connection was met.
    Paused,
    /// The page failed for now.
    BackedOff,
    /// A page was settled, and there is a next one.
    Settled,
    /// The last page was settled.
    Ended,
    /// The job was cancelled.
    JobCancelled,
    /// The job failed.
    JobFailed,
}

impl SliceStatus {
    /// Every state, in the order of the life of a slice.
    pub const ALL: [Self; 6] =
        [Self::Queued, Self::Ready, Self::Waiting, Self::Done, Self::Cancelled, Self::Failed];

    /// Whether pages of the slice may still be settled.
    #[must_use]
    pub const fn is_open(self) -> bool {
        match self {
            Self::Queued | Self::Ready | Self::Waiting => true,
            Self::Done | Self::Cancelled | Self::Failed => false,
        }
    }

    /// The state after an event, or `None` where the event changes nothing: closed slices stay closed, and only a
    /// ready one can be settled.
    #[must_use]
    pub const fn next(self, event: SliceEvent) -> Option<Self> {
        match (self, event) {
            (Self::Queued | Self::Waiting, SliceEvent::Rung) => Some(Self::Ready),
            // Ringing a ready slice again gives it a new ring number, and no new state.
            (Self::Ready, SliceEvent::Rung) => None,
            (Self::Ready, SliceEvent::Paused) => Some(Self::Queued),
            (Self::Queued | Self::Waiting, SliceEvent::Paused) => None,
            (Self::Ready, SliceEvent::BackedOff) => Some(Self::Waiting),
            (Self::Queued | Self::Waiting, SliceEvent::BackedOff) => None,
            (Self::Ready, SliceEvent::Settled) => Some(Self::Ready),
            (Self::Queued | Self::Waiting, SliceEvent::Settled) => None,
            (Self::Ready, SliceEvent::Ended) => Some(Self::Done),
            (Self::Queued | Self::Waiting, SliceEvent::Ended) => None,
            (Self::Queued | Self::Ready | Self::Waiting, SliceEvent::JobCancelled) => Some(Self::Cancelled),
            (Self::Queued | Self::Ready | Self::Waiting, SliceEvent::JobFailed) => Some(Self::Failed),
            (
                Self::Done | Self::Cancelled | Self::Failed,
                SliceEvent::Rung
                | SliceEvent::Paused
                | SliceEvent::BackedOff
                | SliceEvent::Settled
                | SliceEvent::Ended
                | SliceEvent::JobCancelled
                | SliceEvent::JobFailed,
            ) => None,
        }
    }
}

/// A doorbell: the body of a page message. It carries ids only; everything else is read from Postgres.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Ring {
    /// The job.
    #[serde(rename = "job_id")]
    pub job: JobId,
    /// The slice within the job.
    pub slice: i32,
    /// The page that the slice was at when it was rung.
    pub page: i32,
    /// The number of the ring.
    pub ring: i32,
}

/// A half-open span of time: `from` belongs to it, `to` does not. No `from` means "from the beginning".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Span {
    /// The first moment of the span; `None` is unbounded.
    pub from: Option<DateTime<Utc>>,
    /// The first moment after the span.
    pub to: DateTime<Utc>,
}

impl Span {
    /// Whether a moment lies in the span.
    #[must_use]
    pub fn contains(&self, moment: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= moment) && moment < self.to
    }
}

/// How the span of a job is cut into slices. Comes from the settings of the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slicing {
    /// The length of a slice in days.
    pub days: u32,
    /// No more slices than this; with a longer span, slices grow instead.
    pub max_slices: u32,
}

/// The hard limit on the slices of one job.
pub const MAX_SLICES: u32 = 10_000;

impl Slicing {
    /// Cuts a span into slices that cover it exactly, without gap or overlap, in order of time.
    ///
    /// Cuts fall on midnights (UTC), since some upstreams know only whole days. A span without a lower bound, and a
    /// missing slicing, give one slice.
    #[must_use]
    pub fn cut(slicing: Option<Self>, span: Span) -> Vec<Span> {
        let (Some(slicing), Some(from)) = (slicing, span.from) else { return vec![span] };
        let midnight = from.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        let most = i64::from(slicing.max_slices.clamp(1, MAX_SLICES));
        let whole = span.to - midnight;
        let days = whole.num_days() + i64::from(whole > TimeDelta::days(whole.num_days()));
        let step = i64::from(slicing.days.max(1)).max((days + most - 1) / most);
        let mut slices = Vec::new();
        let mut start = from;
        let mut edge = midnight;
        while start < span.to {
            edge =
                TimeDelta::try_days(step).and_then(|step| edge.checked_add_signed(step)).unwrap_or(span.to);
            let end = edge.min(span.to);
            slices.push(Span { from: Some(start), to: end });
            start = end;
        }
        slices
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_span_of_whole_days_is_cut_into_as_many() {
        let from = at("2026-01-01T00:00:00Z");
        let cut = |to: DateTime<Utc>, most| {
            Slicing::cut(Some(Slicing { days: 1, max_slices: most }), Span { from: Some(from), to }).len()
        };
        assert_eq!(cut(from + TimeDelta::days(100), 100), 100);
        assert_eq!(cut(from + TimeDelta::days(100) + TimeDelta::microseconds(1), 100), 51);
        assert_eq!(cut(from + TimeDelta::microseconds(1), 1), 1);
    }

    #[test]
    fn closed_slices_stay_closed_and_only_ready_ones_settle() {
        let events = [
            SliceEvent::Rung,
            SliceEvent::Paused,
            SliceEvent::BackedOff,
            SliceEvent::Settled,
            SliceEvent::Ended,
            SliceEvent::JobCancelled,
            SliceEvent::JobFailed,
        ];
        for state in SliceStatus::ALL {
            for event in events {
                let next = state.next(event);
                if !state.is_open() {
                    assert_eq!(next, None, "{state:?} {event:?}");
                }
                if matches!(event, SliceEvent::Settled | SliceEvent::Ended) && next.is_some() {
                    assert_eq!(state, SliceStatus::Ready);
                }
                if matches!(event, SliceEvent::JobCancelled | SliceEvent::JobFailed) {
                    assert_eq!(next.is_some(), state.is_open());
                    assert!(next.is_none_or(|next| !next.is_open()));
                }
            }
        }
        assert_eq!(SliceStatus::Queued.next(SliceEvent::Rung), Some(SliceStatus::Ready));
        assert_eq!(SliceStatus::Waiting.next(SliceEvent::Rung), Some(SliceStatus::Ready));
        assert_eq!(SliceStatus::Ready.next(SliceEvent::Paused), Some(SliceStatus::Queued));
        assert_eq!(SliceStatus::Ready.next(SliceEvent::BackedOff), Some(SliceStatus::Waiting));
    }

    #[test]
    fn a_span_without_lower_bound_is_one_slice() {
        let span = Span { from: None, to: at("2026-01-01T00:00:00Z") };
        assert_eq!(Slicing::cut(Some(Slicing { days: 1, max_slices: 10 }), span), vec![span]);
    }

    #[test]
    fn a_job_has_no_more_slices_than_the_hard_limit() {
        let from = at("2000-01-01T00:00:00Z");
        let cut = |days: i64| {
            let slicing = Slicing { days: 1, max_slices: u32::MAX };
            Slicing::cut(Some(slicing), Span { from: Some(from), to: from + TimeDelta::days(days) }).len()
        };
        let most = i64::from(MAX_SLICES);
        assert_eq!(cut(most - 1), MAX_SLICES as usize - 1);
        assert!((1..=MAX_SLICES as usize).contains(&cut(most)) && cut(most) > 1);
        assert!((1..=MAX_SLICES as usize).contains(&cut(most + 1)) && cut(10 * most) <= MAX_SLICES as usize);
    }

    #[test]
    fn slices_meet_at_midnight() {
        let span = Span { from: Some(at("2026-01-01T15:30:00Z")), to: at("2026-01-03T09:00:00Z") };
        let slices = Slicing::cut(Some(Slicing { days: 1, max_slices: 100 }), span);
        let edges: Vec<_> = slices.iter().map(|slice| slice.to.to_rfc3339()).collect();
        assert_eq!(
            edges,
            ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-03T09:00:00+00:00"]
        );
    }

    proptest! {
        #[test]
        fn slices_cover_the_span_exactly(
            start in 0_i64..2_000_000_000, length in 1_i64..400_000_000, days in 0_u32..400, most in 1_u32..500,
        ) {
            let from = DateTime::from_timestamp(start, 0).unwrap();
            let span = Span { from: Some(from), to: from + TimeDelta::seconds(length) };
            let slices = Slicing::cut(Some(Slicing { days, max_slices: most }), span);
            prop_assert_eq!(slices[0].from, span.from);
            prop_assert_eq!(slices[slices.len() - 1].to, span.to);
            prop_assert!(slices.windows(2).all(|pair| Some(pair[0].to) == pair[1].from));
            prop_assert!(slices.iter().all(|slice| slice.from < Some(slice.to)));
            prop_assert!(slices.len() <= most as usize, "{} > {most}", slices.len());
        }
    }
}
