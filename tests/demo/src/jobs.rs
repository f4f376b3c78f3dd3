//! What an upstream service does: it publishes commands, and looks how far the jobs are.

use super::stage::{Account, Stage};
use anyhow::{Result, bail, ensure};
use broker::{Destination, Envelope};
use protocol::command::{CancelCommand, StartCommand};
use protocol::ids::JobId;
use protocol::job::{JobMode, JobStatus};
use protocol::slice::Span;
use protocol::topology::KEY_CANCEL;
use protocol::topology::KEY_START;
use serde_json::json;
use std::time::Duration;
use store::jobs::JobView;
use tokio::time::{Instant, sleep};

/// Between two looks at how far a job is.
const LOOK: Duration = Duration::from_millis(50);
/// Between two looks when the time until something happens is measured.
const CLOSE_LOOK: Duration = Duration::from_millis(2);
/// A job that settles nothing for so long is stuck.
const STUCK: Duration = Duration::from_secs(60);

impl Stage {
    /// Publishes a start command, as an upstream service does.
    ///
    /// # Errors
    /// When the broker does not confirm it.
    pub async fn start(&self, account: &Account, span: Span, name: &str) -> Result<JobId> {
        let job = JobId::random();
        let command = StartCommand {
            connection_id: account.connection,
            job_id: Some(job),
            command_id: None,
            date_from: span.from,
            date_to: Some(span.to),
            mode: JobMode::Range,
            on_conflict: protocol::command::OnConflict::Reject,
            name: Some(name.to_owned()),
            schema_id: None,
            document_ids: None,
            requested_by: Some("demo".to_owned()),
        };
        let envelope = Envelope::new(Destination::StartCommand, KEY_START, json!(command).to_string());
        self.publisher.publish(envelope).await?;
        Ok(job)
    }

    /// Publishes a cancel command, and waits until the job is cancelled: the time between the two.
    ///
    /// # Errors
    /// When the broker does not confirm it, or the job is not cancelled.
    pub async fn cancel(&self, job: JobId) -> Result<Duration> {
        let command = CancelCommand {
            job_id: Some(job),
            reason: Some("seen enough".to_owned()),
            requested_by: Some("demo".to_owned()),
            ..CancelCommand::default()
        };
        let envelope = Envelope::new(Destination::CancelCommand, KEY_CANCEL, json!(command).to_string());
        let asked = Instant::now();
        let (published, measured) =
            tokio::join!(self.publisher.publish(envelope), self.time_until_cancelled(job, asked));
        published?;
        measured
    }

    /// How long after `since` a job is cancelled.
    ///
    /// # Errors
    /// When it ends in another way, or is stuck.
    pub async fn time_until_cancelled(&self, job: JobId, since: Instant) -> Result<Duration> {
        self.look(job, CLOSE_LOOK, |view| view.status == JobStatus::Cancelled).await?;
        Ok(since.elapsed())
    }

    /// Waits until a job is as `enough` says.
    ///
    /// # Errors
    /// When it ends before that, or is stuck.
    pub async fn until(&self, job: JobId, enough: impl FnMut(&JobView) -> bool) -> Result<JobView> {
        self.look(job, LOOK, enough).await
    }

    async fn look(
        &self,
        job: JobId,
        every: Duration,
        mut enough: impl FnMut(&JobView) -> bool,
    ) -> Result<JobView> {
        let mut moved = (Instant::now(), None);
        loop {
            if let Some(view) = self.store.jobs().get(job, None).await? {
                if enough(&view) {
                    return Ok(view);
                }
                let name = view.name.as_deref().unwrap_or("a job");
                if view.status.is_terminal() {
                    let cause = view.error.as_ref().map(|error| error.cause.as_str()).unwrap_or_default();
                    bail!("{name} has ended too early or badly: {} {cause}", view.status.word());
                }
                if moved.1 != Some((view.status, view.pages_settled)) {
                    moved = (Instant::now(), Some((view.status, view.pages_settled)));
                }
            }
            let logs = self.logs.display();
            ensure!(
                moved.0.elapsed() < STUCK,
                "job {job} has not moved for {STUCK:?}; the logs are in {logs}"
            );
            sleep(every).await;
        }
    }
}
