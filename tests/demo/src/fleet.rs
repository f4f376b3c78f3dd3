//! The processes of a demo: one producer, and consumers that come and go.

use super::member::Member;
use super::stage::Stage;
use anyhow::{Context, Result};
use protocol::ids::WorkerId;
use std::time::Duration;
use store::workers::HeldPage;
use testkit::process::Process;
use tokio::time::{Instant, sleep, timeout};

/// Between two looks at who holds a page.
const LOOK: Duration = Duration::from_millis(2);
/// Far beyond what a takeover takes: a lease that nobody renews has expired by then.
const LONGEST: Duration = Duration::from_secs(60);

/// One producer and its consumers. They are killed when this is dropped.
#[derive(Debug)]
pub struct Fleet {
    producer: Process,
    consumers: Vec<Member>,
    killed: Vec<(String, Option<u64>)>,
    beside: Vec<Process>,
}

/// A consumer that was killed in the middle of its work.
#[derive(Clone, Debug)]
pub struct Killed {
    /// Its name.
    pub name: String,
    /// The pages that it held.
    pub held: Vec<HeldPage>,
    worker: WorkerId,
    at: Instant,
}

impl Fleet {
    /// Starts a producer and so many consumers, and waits until all are ready.
    ///
    /// # Errors
    /// When one of them does not become ready.
    pub async fn start(stage: &Stage, consumers: usize) -> Result<Self> {
        let producer = stage.program("producer")?.log(stage.logs.join("producer.log")).start()?;
        let mut fleet = Self { producer, consumers: Vec::new(), killed: Vec::new(), beside: Vec::new() };
        for _ in 0..consumers {
            fleet.spawn_consumer(stage).await?;
        }
        fleet.producer.ready().await?;
        for consumer in &fleet.consumers {
            consumer.process.ready().await?;
        }
        Ok(fleet)
    }

    /// Starts another consumer, and waits until it consumes. Returns its name.
    ///
    /// # Errors
    /// When it does not become ready.
    pub async fn add_consumer(&mut self, stage: &Stage) -> Result<String> {
        let consumer = self.spawn_consumer(stage).await?;
        consumer.process.ready().await?;
        Ok(consumer.name.clone())
    }

    async fn spawn_consumer(&mut self, stage: &Stage) -> Result<&Member> {
        let name = format!("consumer {}", self.consumers.len() + self.killed.len() + 1);
        self.consumers.push(Member::start(stage, &name, &[]).await?);
        self.consumers.last().context("it has just been added")
    }

    /// The same with a process that is to end with it, such as the upstream.
    #[must_use]
    pub fn beside(mut self, process: Process) -> Self {
        self.beside.push(process);
        self
    }

    /// Where the HTTP API is.
    ///
    /// # Errors
    /// When the producer does not say so.
    pub async fn api(&self) -> Result<String> {
        Ok(format!("http://{}/api/v1", self.producer.address().await?))
    }

    /// The workers that run, with their names.
    pub fn workers(&self) -> impl Iterator<Item = (WorkerId, &str)> {
        self.consumers.iter().map(|consumer| (consumer.worker, consumer.name.as_str()))
    }

    /// Waits until the oldest consumer holds at least so many pages, and kills it with SIGKILL.
    ///
    /// # Errors
    /// When it never holds as many, or cannot be killed.
    pub async fn kill_oldest(&mut self, stage: &Stage, holding: usize) -> Result<Killed> {
        let mut victim = self.consumers.remove(0);
        let worker = victim.worker;
        let enough = timeout(LONGEST, async {
            loop {
                let held = stage.store.workers().pages_held_by(worker).await?;
                if held.len() >= holding {
                    return anyhow::Ok(held);
                }
                sleep(LOOK).await;
            }
        });
        let before =
            enough.await.with_context(|| format!("{} never held {holding} pages at once", victim.name))??;
        let memory = peak_memory(&victim.process);
        let at = Instant::now();
        victim.process.kill().await?;
        let after = stage.store.workers().pages_held_by(worker).await?;
        self.killed.push((victim.name.clone(), memory));
        // The others may have been quicker than this look.
        let held = if after.is_empty() { before } else { after };
        Ok(Killed { name: victim.name, held, worker, at })
    }

    /// The most memory that each process ever had resident, in bytes, the killed ones included.
    #[must_use]
    pub fn peak_memory(&self) -> Vec<(String, u64)> {
        let running = self.consumers.iter().map(|it| (it.name.clone(), peak_memory(&it.process)));
        let killed = self.killed.iter().map(|(name, peak)| (format!("{name} (killed)"), *peak));
        killed.chain(running).filter_map(|(name, peak)| Some((name, peak?))).collect()
    }
}

impl Killed {
    /// Waits until others have taken its pages over: the times from the kill to the first one, and until it held none.
    ///
    /// # Errors
    /// When nobody takes them over.
    pub async fn taken_over(&self, stage: &Stage) -> Result<(Duration, Duration)> {
        let waited = timeout(LONGEST, async {
            let mut first = None;
            loop {
                if first.is_none()
                    && stage.store.workers().pages_taken_over(self.worker, &self.held).await? > 0
                {
                    first = Some(self.at.elapsed());
                }
                if stage.store.workers().pages_held_by(self.worker).await?.is_empty() {
                    let last = self.at.elapsed();
                    return anyhow::Ok((first.unwrap_or(last), last));
                }
                sleep(LOOK).await;
            }
        });
        waited.await.with_context(|| format!("nobody took the pages of {} over", self.name))?
    }
}

fn peak_memory(process: &Process) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}
