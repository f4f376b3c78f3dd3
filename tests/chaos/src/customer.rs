//! A tenant's operator: starts and cancels the jobs of one connection, in an order that the seed decides.

use super::action::{Action, Way};
use super::post::{Sent, poison};
use super::world::{World, patiently};
use anyhow::Result;
use chrono::TimeDelta;
use protocol::command::{CancelCommand, OnConflict, StartCommand};
use protocol::ids::JobId;
use protocol::job::{JobMode, JobStatus};
use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::sample_upstream::TenantOptions;
use tokio::time::{Instant, sleep};

/// A job is let run for so long at most.
const PATIENCE: Duration = Duration::from_secs(8);
/// All calls of a connection were created in it.
const SPAN: TimeDelta = TimeDelta::days(5);
/// Between two looks at it.
const LOOK: Duration = Duration::from_millis(50);

/// The operator of one connection.
#[derive(Debug)]
pub(super) struct Customer {
    number: usize,
    random: StdRng,
    newest: Option<JobId>,
    /// Jobs that it asked to pause, and that nobody has said yes to go on with.
    paused: BTreeSet<JobId>,
    sent: Vec<Sent>,
}

impl Customer {
    pub(super) fn new(world: &World<'_>, number: usize) -> Self {
        let random = world.random(&format!("customer {number}"));
        Self { number, random, newest: None, paused: BTreeSet::new(), sent: Vec::new() }
    }

    /// Does one thing after the other, until the chaos stops.
    pub(super) async fn trade(&mut self, world: &World<'_>) -> Result<()> {
        while !world.stop.is_cancelled() {
            let action = Action::choose(&mut self.random);
            self.perform(world, action).await?;
            world.rest(Duration::from_millis(self.random.random_range(20..500))).await;
        }
        Ok(())
    }

    async fn perform(&mut self, world: &World<'_>, action: Action) -> Result<()> {
        match action {
            Action::Start(Way::Message) => {
                world.tally.command("start by message");
                let start = self.start(world);
                self.publish(world, Sent::start(start)).await;
            }
            Action::Start(Way::Http) => {
                world.tally.command("start over HTTP");
                let StartCommand { connection_id, date_from, date_to, .. } = self.start(world);
                let body =
                    json!({ "connection_id": connection_id, "date_from": date_from, "date_to": date_to });
                self.newest = self.call(world, "jobs", &body).await;
                world.ledger.promises().accepted.extend(self.newest);
            }
            Action::Cancel(way) => {
                let Some(job) = self.newest else { return Ok(()) };
                match way {
                    Way::Message => {
                        world.tally.command("cancel by message");
                        let cancel = CancelCommand { job_id: Some(job), ..CancelCommand::default() };
                        self.publish(world, Sent::cancel(cancel)).await;
                    }
                    Way::Http => {
                        world.tally.command("cancel over HTTP");
                        let path = format!("jobs/{job}/cancel");
                        if self.call(world, &path, &json!({ "reason": "chaos" })).await.is_some() {
                            world.ledger.promises().cancelled.insert(job);
                        }
                    }
                }
            }
            Action::CancelConnection => {
                world.tally.command("cancel of a connection");
                let connection_id = Some(world.accounts[self.number].connection);
                let cancel = CancelCommand { connection_id, ..CancelCommand::default() };
                self.publish(world, Sent::cancel(cancel)).await;
            }
            Action::CancelFirst => {
                world.tally.command("cancel before start");
                let start = self.start(world);
                let cancel = CancelCommand { job_id: start.job_id, ..CancelCommand::default() };
                self.publish(world, Sent::cancel(cancel)).await;
                self.publish(world, Sent::start(start)).await;
            }
            Action::Pause => {
                let Some(job) = self.newest else { return Ok(()) };
                world.tally.command("pause");
                self.paused.insert(job);
                self.call(world, &format!("jobs/{job}/pause"), &json!({})).await;
            }
            Action::Unpause => {
                let Some(job) = self.paused.first().copied() else { return Ok(()) };
                world.tally.command("unpause");
                match self.call(world, &format!("jobs/{job}/unpause"), &json!({})).await {
                    Some(job) => _ = self.paused.remove(&job),
                    None => self.unpause(world, job).await?,
                }
            }
            Action::Resume => {
                let Some(job) = self.newest else { return Ok(()) };
                world.tally.command("resume");
                if let Some(resumed) = self.call(world, &format!("jobs/{job}/resume"), &json!({})).await {
                    world.ledger.promises().accepted.insert(resumed);
                    self.newest = Some(resumed);
                }
            }
            Action::Repeat => {
                if self.sent.is_empty() {
                    return Ok(());
                }
                world.tally.command("repeated");
                let again = self.sent[self.random.random_range(0..self.sent.len())].clone();
                for _time in 0..[1, 3][self.random.random_range(0..2)] {
                    again.publish(world).await;
                }
            }
            Action::Poison => {
                world.tally.command("poison");
                poison(world, self.random.random()).await;
            }
            Action::Await => {
                let Some(job) = self.newest else { return Ok(()) };
                let began = Instant::now();
                while began.elapsed() < PATIENCE && !world.stop.is_cancelled() {
                    // Of a job that was refused there is nothing to be seen.
                    let view = patiently(async || world.stage.store.jobs().get(job, None).await).await?;
                    if view.is_none_or(|view| view.status.is_terminal()) {
                        break;
                    }
                    world.rest(LOOK).await;
                }
            }
        }
        Ok(())
    }

    /// Takes back what must not outlast the chaos: pauses.
    pub(super) async fn calm(&mut self, world: &World<'_>) -> Result<()> {
        while let Some(job) = self.paused.first().copied() {
            self.unpause(world, job).await?;
        }
        Ok(())
    }

    /// Without a producer, and until the database answers. Of a job that is over or was never made there is nothing to do.
    async fn unpause(&mut self, world: &World<'_>, job: JobId) -> Result<()> {
        patiently(async || world.stage.store.jobs().unpause(job, None, Some("chaos")).await).await?;
        self.paused.remove(&job);
        Ok(())
    }

    /// Starts jobs until one is accepted, and waits until it is completed.
    pub(super) async fn pull_all(&mut self, world: &World<'_>) -> Result<()> {
        let connection = world.accounts[self.number].connection;
        loop {
            let start = self.start(world);
            self.publish(world, Sent::start(start)).await;
            let Some(job) = self.newest else { continue };
            let began = Instant::now();
            while began.elapsed() < PATIENCE {
                let view = world.stage.store.jobs().get(job, None).await?;
                match view.map(|view| view.status) {
                    Some(JobStatus::Completed) => return Ok(()),
                    Some(status @ (JobStatus::Failed | JobStatus::Cancelled | JobStatus::Cancelling)) => {
                        world
                            .tally
                            .problem(format!("a job in peace, of connection {connection}, is {status}"));
                        return Ok(());
                    }
                    Some(JobStatus::Pending | JobStatus::Running) | None => {}
                }
                sleep(LOOK).await;
            }
        }
    }

    fn start(&mut self, world: &World<'_>) -> StartCommand {
        let account = &world.accounts[self.number];
        let job = JobId::random();
        self.newest = Some(job);
        let first = TenantOptions::new(&account.name, 1).first;
        StartCommand {
            connection_id: account.connection,
            job_id: Some(job),
            command_id: None,
            date_from: Some(first),
            date_to: Some(first + SPAN),
            mode: JobMode::Range,
            name: None,
            schema_id: None,
            document_ids: None,
            on_conflict: OnConflict::default(),
            requested_by: Some("chaos".to_owned()),
        }
    }

    async fn publish(&mut self, world: &World<'_>, command: Sent) {
        command.publish(world).await;
        self.sent.push(command);
    }

    /// Asks some producer; returns the job that it answers with. `None` unless it says yes: refused, or nothing is known.
    async fn call(&mut self, world: &World<'_>, path: &str, body: &Value) -> Option<JobId> {
        let producer = &world.producers[self.random.random_range(0..world.producers.len())];
        let key = &world.accounts[self.number].key;
        let call = world.client.post(format!("{producer}/{path}")).bearer_auth(key).json(body);
        let answer: Value = call.send().await.ok()?.error_for_status().ok()?.json().await.ok()?;
        serde_json::from_value(answer["id"].clone()).ok()
    }
}
