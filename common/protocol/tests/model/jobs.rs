//! The transactions on a job: start, plan, finish, fail, cancel. Each function is one transaction of
//! `store::jobs`; each is atomic, since it locks the job's row (or, for a start, the connection's) first and
//! looks at the slices in a later statement.

use crate::commands::Delivery;
use crate::scenarios::Scenario;
use crate::state::{MOST_PAGES, Slice, State, Task};
use crate::variants::Variant;
use protocol::job::{JobEvent, JobStatus};
use protocol::slice::{SliceEvent, SliceStatus};

impl State {
    /// `Store::start`. What is left to do with the delivery, if it is not to be acked.
    pub(crate) fn start(&mut self, scenario: &Scenario, job: usize) -> Option<Delivery> {
        let mut rivals = self.jobs.iter().enumerate().filter(|(other, _)| !scenario.apart || *other == job);
        let opposed = rivals.any(|(_, row)| row.status.is_some_and(JobStatus::is_active));
        let row = &mut self.jobs[job];
        if let Some(status) = row.status {
            if !scenario.named {
                // Whoever applies it cannot know that its job was made, and chooses another identifier.
                row.made += u8::from(!opposed);
                return None;
            }
            if scenario.variant == Variant::StartRevives && status.is_terminal() {
                row.status = Some(JobStatus::Pending);
            }
            return Some(Delivery::Inserted);
        }
        if row.tombstone {
            row.status = Some(JobStatus::Cancelled);
            row.pages_at_fence = Some(0);
            (row.made, row.start.applied) = (1, true);
            None
        } else if opposed {
            row.start.applied = true;
            None
        } else if scenario.variant == Variant::StartReadsThenInserts {
            Some(Delivery::Unopposed)
        } else {
            Some(self.insert(job))
        }
    }

    /// The second half of a start.
    pub(crate) fn insert(&mut self, job: usize) -> Delivery {
        let row = &mut self.jobs[job];
        row.status = Some(JobStatus::Pending);
        row.made += 1;
        row.start.applied = true;
        Delivery::Inserted
    }

    /// `Store::plan`: true if the job was pending.
    pub(crate) fn plan(&mut self, scenario: &Scenario, job: usize) -> bool {
        if !self.job_event(job, JobEvent::Planned) {
            return false;
        }
        self.insert_slices(job, scenario.slices, false);
        if scenario.variant == Variant::DeletionWithTheWalk {
            self.insert_slices(job, 1, true);
        }
        true
    }

    /// Inserts slices behind those that the job has.
    fn insert_slices(&mut self, job: usize, slices: usize, deletion: bool) {
        let at = self.slices.partition_point(|slice| slice.job <= job);
        let slice = Slice {
            job,
            deletion,
            status: SliceStatus::Queued,
            page: 0,
            ring: 0,
            rung_marker: 0,
            lease: None,
            due: false,
            log: [0; MOST_PAGES],
            counted: 0,
        };
        // Whoever names a slice that moves up moves with it.
        for bell in &mut self.doorbells {
            bell.slice += if bell.slice >= at { slices } else { 0 };
        }
        for task in self.hands.iter_mut().flatten() {
            task.doorbell.slice += if task.doorbell.slice >= at { slices } else { 0 };
        }
        self.slices.splice(at..at, std::iter::repeat_n(slice, slices));
    }

    /// `Store::finish`: true if a deletion was begun.
    pub(crate) fn finish(&mut self, scenario: &Scenario, job: usize) -> bool {
        if !self.is_done(job) {
            return false;
        }
        let deletion_due = scenario.deletes > 0 && !self.slices_of(job).any(|slice| slice.deletion);
        let begun = self.job_event(job, JobEvent::AllDone { slice_due: deletion_due }) && deletion_due;
        if begun {
            self.insert_slices(job, 1, true);
        }
        begun
    }

    /// `Store::fail`, by the right of a lease: true if the hand had it.
    pub(crate) fn fail_page(&mut self, hand: usize, task: Task) -> bool {
        let right = self.has_right(hand, task);
        let job = self.slices[task.doorbell.slice].job;
        if right && self.job_event(job, JobEvent::Failed) {
            for slice in self.slices.iter_mut().filter(|slice| slice.job == job && slice.status.is_open()) {
                slice.change(SliceEvent::JobFailed);
                slice.lease = None;
            }
        }
        right
    }

    /// `Store::cancel`: true if it changed anything.
    pub(crate) fn cancel(&mut self, job: usize) -> bool {
        let Some(status) = self.jobs[job].status else {
            return !std::mem::replace(&mut self.jobs[job].tombstone, true);
        };
        if status == JobStatus::Cancelling || status.is_terminal() {
            return false;
        }
        for slice in self.slices.iter_mut().filter(|slice| slice.job == job && slice.status.is_open()) {
            slice.change(SliceEvent::JobCancelled);
        }
        let pages = self.slices_of(job).map(|slice| slice.page).sum();
        let leased = self.is_leased(job);
        self.job_event(job, JobEvent::CancelRequested { leased });
        self.jobs[job].pages_at_fence = Some(pages);
        true
    }

    /// `Store::end_cancel`.
    pub(crate) fn end_cancel(&mut self, job: usize) {
        if !self.is_leased(job) {
            self.job_event(job, JobEvent::LastLeaseEnded);
        }
    }

    /// `Store::force_cancel`.
    pub(crate) fn force_cancel(&mut self, job: usize) {
        if self.job_event(job, JobEvent::CancelOverdue) {
            for slice in self.slices.iter_mut().filter(|slice| slice.job == job) {
                slice.lease = None;
            }
        }
    }

    pub(crate) fn is_done(&self, job: usize) -> bool {
        self.slices_of(job).all(|slice| slice.status == SliceStatus::Done)
    }

    pub(crate) fn is_leased(&self, job: usize) -> bool {
        self.slices_of(job).any(|slice| slice.lease.is_some())
    }

    /// Follows the real transition function. False where it says that nothing changes.
    fn job_event(&mut self, job: usize, event: JobEvent) -> bool {
        let next = self.jobs[job].status.and_then(|status| status.next(event));
        if next.is_some() {
            self.jobs[job].status = next;
        }
        next.is_some()
    }
}
