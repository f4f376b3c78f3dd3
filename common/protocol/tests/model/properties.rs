//! What must hold in every state. The invariants of `broken_invariants()` in the migrations, said of the model.

use crate::commands::Queue;
use crate::faults::Fault;
use crate::scenarios::Scenario;
use crate::state::State;
use protocol::job::JobStatus;
use protocol::slice::SliceStatus;
use stateright::Property;

/// No page is in the page log twice, none is missing before the slice's page, none is there from it on.
pub(crate) const SETTLED_ONCE: &str = "every page is settled exactly once";
/// The counters of a slice count what is in its page log.
pub(crate) const COUNTERS: &str = "counters equal the page log";
/// A completed job has every page of every slice.
pub(crate) const COMPLETE: &str = "a completed job has all its pages";
/// The page log of a cancelled job has what it had when the cancel closed the last slice.
pub(crate) const FENCE: &str = "nothing is written after a cancel";
/// The deletion slice of a full sync is there only once every other slice of it is done.
pub(crate) const DELETION_LAST: &str = "nothing is deleted before everything is walked";
/// At most one job of the connection is pending or running.
pub(crate) const ONE_ACTIVE: &str = "one active job per connection";
/// Repeats of a start command make no second job.
pub(crate) const ONE_JOB: &str = "a start command makes one job";
/// A job whose cancel was applied, before its start or after, is never pending or running again.
pub(crate) const STAYS_CANCELLED: &str = "what is cancelled stays cancelled";
/// A job that is over has neither leases nor open slices; a cancelling one no open slices.
pub(crate) const OVER: &str = "a job that is over is at rest";
/// A page is taken over only from a worker whose message came back.
pub(crate) const NOT_ROBBED: &str = "a holder that has its message keeps its page";

pub(crate) fn all(scenario: &Scenario) -> Vec<Property<Scenario>> {
    let mut all = vec![
        Property::always(SETTLED_ONCE, |_, state: &State| {
            state.slices.iter().all(|slice| {
                let (before, after) = slice.log.split_at(slice.page.min(slice.log.len()));
                before.iter().all(|times| *times == 1) && after.iter().all(|times| *times == 0)
            })
        }),
        Property::always(COUNTERS, |_, state: &State| {
            state.slices.iter().all(|slice| slice.counted == slice.log.iter().sum::<u8>())
        }),
        Property::always(COMPLETE, |scenario: &Scenario, state: &State| {
            state.jobs.iter().enumerate().all(|(job, row)| {
                row.status != Some(JobStatus::Completed)
                    || state.logged(job) == scenario.slices * scenario.pages + scenario.deletes
            })
        }),
        Property::always(FENCE, |_, state: &State| {
            state
                .jobs
                .iter()
                .enumerate()
                .all(|(job, row)| row.pages_at_fence.is_none_or(|pages| pages == state.logged(job)))
        }),
        Property::always(DELETION_LAST, |_, state: &State| {
            state.slices.iter().filter(|slice| slice.deletion).all(|deletion| {
                state.slices_of(deletion.job).all(|slice| slice.deletion || slice.status == SliceStatus::Done)
            })
        }),
        Property::always(ONE_ACTIVE, |scenario: &Scenario, state: &State| {
            scenario.apart
                || state.jobs.iter().filter(|job| job.status.is_some_and(JobStatus::is_active)).count() <= 1
        }),
        Property::always(ONE_JOB, |_, state: &State| state.jobs.iter().all(|job| job.made <= 1)),
        Property::always(STAYS_CANCELLED, |_, state: &State| {
            state.jobs.iter().all(|job| {
                let cancelled = job.cancel.applied || job.tombstone || job.pages_at_fence.is_some();
                !cancelled || !job.status.is_some_and(JobStatus::is_active)
            })
        }),
        Property::always(OVER, |_, state: &State| {
            state.slices.iter().all(|slice| match state.jobs[slice.job].status {
                Some(JobStatus::Running) => slice.lease.is_none() || slice.status == SliceStatus::Ready,
                Some(JobStatus::Cancelling) => !slice.status.is_open(),
                Some(JobStatus::Completed | JobStatus::Failed | JobStatus::Cancelled) => {
                    !slice.status.is_open() && slice.lease.is_none()
                }
                Some(JobStatus::Pending) | None => false,
            })
        }),
    ];
    all.push(Property::sometimes("a job is completed", |_, state: &State| {
        is_any(state, JobStatus::Completed)
    }));
    if scenario.cancels > 0 {
        all.push(Property::sometimes("a job is cancelled", |_, state: &State| {
            is_any(state, JobStatus::Cancelled)
        }));
    }
    if scenario.batches {
        all.push(Property::sometimes("starts are applied together", |_, state: &State| {
            state.has_taken(Queue::Starts)
        }));
        all.push(Property::sometimes("cancels are applied together", |_, state: &State| {
            state.has_taken(Queue::Cancels)
        }));
    }
    if scenario.deletes > 0 && scenario.cancels > 0 {
        all.push(Property::sometimes("a cancel comes in the middle of a deletion", |_, state: &State| {
            state
                .slices
                .iter()
                .any(|slice| slice.deletion && slice.page > 0 && slice.status == SliceStatus::Cancelled)
        }));
    }
    if scenario.kinds.contains(&Fault::Permanent) {
        all.push(Property::sometimes("a job fails", |_, state: &State| is_any(state, JobStatus::Failed)));
    }
    if scenario.holders_keep {
        all.push(Property::always(NOT_ROBBED, |_, state: &State| !state.robbed));
    }
    all
}

fn is_any(state: &State, status: JobStatus) -> bool {
    state.jobs.iter().any(|job| job.status == Some(status))
}
