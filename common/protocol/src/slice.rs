//! Slices: the parts of a job that are walked serially. Their states, and how a job's span is cut into them.

use crate::ids::JobId;
use chrono::{DateTime, TimeDelta, Utc};
use serde::{Deserialize, Serialize};

/// The state of a slice. *Leased* is not a state: a slice is leased while it carries a lease token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "slice_status", rename_all = "snake_case"))]
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

/// What a slice is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "slice_kind", rename_all = "snake_case"))]
pub enum SliceKind {
    /// Reads a list, a span of time of it, or all.
    Walk,
    /// Fetches the documents of a job by their ids.
    Documents,
    /// Fetches by their ids what could not be stored when it was met.
    Stragglers,
    /// Fetches nothing: judges whether the walks of the job are whole.
    Check,
    /// Asks by their ids for the records that a full sync did not meet.
    Confirm,
    /// Fetches nothing: marks what a full sync proved to be gone.
    Deletion,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slicing {
    /// The length of a slice; `None` cuts only as far as `longest` demands.
    pub step: Option<TimeDelta>,
    /// No slice may be longer than this: the upstream answers no longer span.
    pub longest: Option<TimeDelta>,
    /// No more slices than this. A span that needs more is refused.
    pub max_slices: u32,
    /// Where an unbounded span is cut from. Its first slice has no lower bound all the same.
    pub start: Option<DateTime<Utc>>,
}

/// The hard limit on the slices of one job.
pub const MAX_SLICES: u32 = 10_000;

/// A span that would need more slices than allowed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TooManySlices {
    from: DateTime<Utc>,
    to: DateTime<Utc>,
    needed: i64,
    most: u32,
}

impl TooManySlices {
    /// How many slices the span needs.
    #[must_use]
    pub const fn needed(&self) -> i64 {
        self.needed
    }
}

impl std::fmt::Display for TooManySlices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { from, to, needed, most } = self;
        let day = "%Y-%m-%d %H:%M";
        write!(
            f,
            "the span from {} to {} needs {needed} slices, and slicing.max_slices is {most}: ",
            from.format(day),
            to.format(day)
        )?;
        if *needed <= i64::from(MAX_SLICES) {
            write!(f, "set it to {needed}, make slices longer, or ask for a shorter span")
        } else {
            write!(f, "a job has at most {MAX_SLICES}, so make slices longer, or ask for a shorter span")
        }
    }
}

impl std::error::Error for TooManySlices {}

impl Slicing {
    /// Slices of so many days, and no more of them than this.
    #[must_use]
    pub const fn days(days: u32, max_slices: u32) -> Self {
        // 4 billion days are within what the type holds.
        let step = TimeDelta::try_days(days as i64);
        Self { step, longest: None, max_slices, start: None }
    }

    /// The same for a span in which nothing is expected: one slice, unless the upstream answers no such span.
    #[must_use]
    pub const fn idle(self) -> Self {
        Self { step: None, ..self }
    }

    /// Cuts a span into slices that cover it exactly, without gap or overlap, in order of time.
    ///
    /// Cuts fall on whole steps from a midnight (UTC), since some upstreams know only whole days. A span without a lower
    /// bound is cut from `start` on, and is one slice without it; a missing slicing gives one slice.
    ///
    /// # Errors
    /// When the span needs more slices than allowed: slices never grow.
    pub fn cut(slicing: Option<Self>, span: Span) -> Result<Vec<Span>, TooManySlices> {
        let Some(slicing) = slicing else { return Ok(vec![span]) };
        let step = [slicing.step, slicing.longest]
            .into_iter()
            .flatten()
            .min()
            .filter(|step| *step > TimeDelta::zero());
        let from = span.from.or(slicing.start).filter(|from| *from < span.to);
        let (Some(step), Some(from)) = (step, from) else { return Ok(vec![span]) };
        let midnight = from.date_naive().and_time(chrono::NaiveTime::MIN).and_utc();
        let (needed, most) =
            (slices_between(from, midnight, span.to, step), slicing.max_slices.min(MAX_SLICES));
        if needed > i64::from(most) {
            return Err(TooManySlices { from, to: span.to, needed, most });
        }
        let mut slices = Vec::new();
        let (mut start, mut edge) = (span.from, midnight);
        while start.unwrap_or(edge) < span.to {
            edge = edge.checked_add_signed(step).unwrap_or(span.to);
            if edge <= from {
                continue;
            }
            let end = edge.min(span.to);
            slices.push(Span { from: start, to: end });
            start = Some(end);
        }
        Ok(slices)
    }
}

/// How many slices of this step, counted from a midnight, a span has a part in.
fn slices_between(from: DateTime<Utc>, midnight: DateTime<Utc>, to: DateTime<Utc>, step: TimeDelta) -> i64 {
    let micros = |delta: TimeDelta| delta.num_microseconds().unwrap_or(i64::MAX).max(1);
    let step = micros(step);
    let before = (from - midnight).num_microseconds().unwrap_or(0) / step;
    let (whole, rest) = (micros(to - midnight) / step, micros(to - midnight) % step);
    whole + i64::from(rest > 0) - before
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> DateTime<Utc> {
        text.parse().unwrap()
    }

    #[test]
    fn a_span_of_whole_days_is_cut_into_as_many_or_refused() {
        let from = at("2026-01-01T00:00:00Z");
        let cut = |to: DateTime<Utc>, most| {
            Slicing::cut(Some(Slicing::days(1, most)), Span { from: Some(from), to })
                .map(|slices| slices.len())
        };
        assert_eq!(cut(from + TimeDelta::days(100), 100), Ok(100));
        assert_eq!(cut(from + TimeDelta::microseconds(1), 1), Ok(1));
        let refused = cut(from + TimeDelta::days(100) + TimeDelta::microseconds(1), 100).unwrap_err();
        assert_eq!(refused.needed(), 101);
        assert_eq!(
            refused.to_string(),
            "the span from 2026-01-01 00:00 to 2026-04-11 00:00 needs 101 slices, and slicing.max_slices is 100: set it \
             to 101, make slices longer, or ask for a shorter span"
        );
    }

    #[test]
    fn an_unbounded_span_is_cut_from_its_start_and_has_no_lower_bound_all_the_same() {
        let span = Span { from: None, to: at("2026-01-04T12:00:00Z") };
        let slicing = |start: &str| Slicing { start: Some(at(start)), ..Slicing::days(1, 10) };
        let cut = |start: &str| Slicing::cut(Some(slicing(start)), span).unwrap();
        let slices = cut("2026-01-01T15:00:00Z");
        assert_eq!(slices.len(), 4);
        assert_eq!(slices[0], Span { from: None, to: at("2026-01-02T00:00:00Z") });
        assert_eq!(slices[1].from, Some(at("2026-01-02T00:00:00Z")));
        assert_eq!(slices[3].to, span.to);
        assert_eq!(cut("2026-01-04T12:00:00Z"), [span]);
        assert_eq!(cut("2030-01-01T00:00:00Z"), [span]);
        let bounded = Span { from: Some(at("2025-12-31T00:00:00Z")), ..span };
        assert_eq!(
            Slicing::cut(Some(slicing("2026-01-01T00:00:00Z")), bounded).unwrap()[0].from,
            bounded.from
        );
    }

    #[test]
    fn no_slice_is_longer_than_the_longest() {
        let span = Span { from: Some(at("2026-01-01T20:00:00Z")), to: at("2026-01-03T01:00:00Z") };
        let slicing = Slicing { longest: Some(TimeDelta::hours(12)), ..Slicing::days(7, 10) };
        let slices = Slicing::cut(Some(slicing), span).unwrap();
        let ends: Vec<_> = slices.iter().map(|slice| slice.to.format("%d %H").to_string()).collect();
        assert_eq!(ends, ["02 00", "02 12", "03 00", "03 01"]);
        assert_eq!(slices[0].from, span.from);
        assert_eq!(Slicing::cut(Some(slicing.idle()), span).unwrap(), slices);
        assert_eq!(Slicing::cut(Some(Slicing::days(1, 10).idle()), span).unwrap(), [span]);
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
        assert_eq!(Slicing::cut(Some(Slicing::days(1, 10)), span), Ok(vec![span]));
    }

    #[test]
    fn a_job_has_no_more_slices_than_the_hard_limit() {
        let from = at("2000-01-01T00:00:00Z");
        let cut = |days: i64| {
            let span = Span { from: Some(from), to: from + TimeDelta::days(days) };
            Slicing::cut(Some(Slicing::days(1, u32::MAX)), span).map(|slices| slices.len())
        };
        let most = i64::from(MAX_SLICES);
        assert_eq!(cut(most), Ok(MAX_SLICES as usize));
        assert!(
            cut(most + 1)
                .unwrap_err()
                .to_string()
                .ends_with("so make slices longer, or ask for a shorter span")
        );
    }

    #[test]
    fn slices_meet_at_midnight() {
        let span = Span { from: Some(at("2026-01-01T15:30:00Z")), to: at("2026-01-03T09:00:00Z") };
        let slices = Slicing::cut(Some(Slicing::days(1, 100)), span).unwrap();
        let edges: Vec<_> = slices.iter().map(|slice| slice.to.to_rfc3339()).collect();
        assert_eq!(
            edges,
            ["2026-01-02T00:00:00+00:00", "2026-01-03T00:00:00+00:00", "2026-01-03T09:00:00+00:00"]
        );
    }

    proptest! {
        #[test]
        fn slices_cover_the_span_exactly_or_it_is_refused(
            start in 0_i64..2_000_000_000, length in 1_i64..400_000_000, hours in 1_i64..9600, most in 1_u32..500,
            unbounded: bool,
        ) {
            let from = DateTime::from_timestamp(start, 0).unwrap();
            let span = Span { from: Some(from).filter(|_| !unbounded), to: from + TimeDelta::seconds(length) };
            let step = TimeDelta::hours(hours);
            let slicing = Slicing { step: Some(step), longest: None, max_slices: most, start: Some(from) };
            match Slicing::cut(Some(slicing), span) {
                Err(refused) => {
                    prop_assert!(refused.needed() > i64::from(most));
                    let enough = Slicing { max_slices: u32::try_from(refused.needed()).unwrap(), ..slicing };
                    if enough.max_slices <= MAX_SLICES {
                        let slices = Slicing::cut(Some(enough), span).unwrap();
                        prop_assert_eq!(slices.len(), enough.max_slices as usize);
                    }
                }
                Ok(slices) => {
                    prop_assert_eq!(slices[0].from, span.from);
                    prop_assert_eq!(slices[slices.len() - 1].to, span.to);
                    prop_assert!(slices.windows(2).all(|pair| Some(pair[0].to) == pair[1].from));
                    prop_assert!(slices.iter().all(|slice| slice.to - slice.from.unwrap_or(from) <= step));
                    prop_assert!(slices.iter().all(|slice| slice.from.unwrap_or(from) < slice.to));
                    prop_assert!(slices.len() <= most as usize, "{} > {most}", slices.len());
                }
            }
        }
    }
}
