//! The project's own programs as processes of the operating system, to be killed, frozen and drained like real ones.

mod program;
#[cfg(test)]
mod tests;

pub use program::{Program, log_folder};

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Longest wait for anything that a healthy process does. Far beyond what is normal: only a failing test meets it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at `/readyz`, which has no way to call back.
const LOOK: Duration = Duration::from_millis(20);

/// A started process. Killed when dropped. Every wait ends after a minute with an error that shows the log's end.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Child,
    log: PathBuf,
    lines: watch::Sender<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    written: Vec<String>,
    ended: bool,
}

impl Process {
    fn new(name: String, pid: u32, child: Child, stderr: ChildStderr, log: PathBuf, file: File) -> Self {
        let lines = watch::Sender::default();
        tokio::spawn(collect(stderr, file, lines.clone()));
        Self { name, pid, child, log, lines }
    }

    /// The operating system's number of it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its stderr is kept.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for a log line that contains `text`, past ones included, and returns it.
    ///
    /// # Errors
    /// When the process ends without it.
    pub async fn line(&self, text: &str) -> anyhow::Result<String> {
        self.line_within(text, PATIENCE).await
    }

    /// The same, for a process that may take longer.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub async fn line_within(&self, text: &str, patience: Duration) -> anyhow::Result<String> {
        let mut lines = self.lines.subscribe();
        let mut looked_at = 0;
        let mut found = None;
        let waited = lines.wait_for(|lines| {
            let new = lines.written.get(looked_at..).unwrap_or_default();
            looked_at = lines.written.len();
            found = new.iter().find(|line| line.contains(text)).cloned();
            found.is_some() || lines.ended
        });
        let in_time = timeout(patience, waited).await.is_ok();
        match found {
            Some(line) => Ok(line),
            None if in_time => bail!("{} ended without logging {text:?}{}", self.name, self.tail()),
            None => bail!("{} has not logged {text:?} for {patience:?}{}", self.name, self.tail()),
        }
    }

    /// Where its HTTP listener is: it says so in its log.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub async fn address(&self) -> anyhow::Result<SocketAddr> {
        const BEFORE: &str = "listening on http://";
        let line = self.line(BEFORE).await?;
        let address = line.split(BEFORE).nth(1).unwrap_or_default();
        let address = address.split(|end: char| end.is_whitespace() || end == '"').next().unwrap_or_default();
        address.parse().with_context(|| format!("{} logs an address that is none: {line}", self.name))
    }

    /// One of its own HTTP paths (`/readyz`, `/metrics`): status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        sealing::install_tls_provider();
        let answer = reqwest::get(format!("http://{}{path}", self.address().await?)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends before that, or does not become ready; with the last answer of `/readyz`.
    pub async fn ready(&self) -> anyhow::Result<()> {
        self.ready_within(PATIENCE).await
    }

    /// The same, with another patience: while servers restart, for instance.
    ///
    /// # Errors
    /// As [`Self::ready`].
    pub async fn ready_within(&self, patience: Duration) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        while started.elapsed() < patience {
            looks.tick().await;
            match self.get("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => last = body,
                Err(error) if self.lines.borrow().ended => return Err(error),
                Err(error) => last = error.to_string(),
            }
        }
        bail!("{} is not ready after {patience:?}: {last}{}", self.name, self.tail())
    }

    /// Waits until `/readyz` does not say so any more: it drains, or has lost the broker.
    ///
    /// # Errors
    /// When it does not answer, or stays ready for a minute.
    pub async fn unready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while started.elapsed() < PATIENCE {
            looks.tick().await;
            if self.get("/readyz").await?.0 != 200 {
                return Ok(());
            }
        }
        bail!("{} is still ready after {PATIENCE:?}{}", self.name, self.tail())
    }

    /// SIGKILL: it ends as in a crash, with nothing handed back. Waits until it is gone.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.exit().await
    }

    /// SIGTERM: it should drain and end by itself; see [`Process::exit`].
    ///
    /// # Errors
    /// When it has ended before.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it stands still in whatever it was doing, its connections open.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: a frozen process goes on as if nothing had happened.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for a minute.
    pub async fn exit(&mut self) -> anyhow::Result<ExitStatus> {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_elapsed) => bail!("{} does not end within {PATIENCE:?}{}", self.name, self.tail()),
        }
    }

    /// How it ended, if it has.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub fn ended(&mut self) -> anyhow::Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Once waited for, the number may belong to somebody else; the child then has none.
        let id =
            self.child.id().with_context(|| format!("{} has ended already{}", self.name, self.tail()))?;
        let pid =
            i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id is a positive number")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {} ({id})", self.name))
    }

    fn tail(&self) -> String {
        let lines = self.lines.borrow();
        let last = lines.written.get(lines.written.len().saturating_sub(15)..).unwrap_or_default();
        format!("\nthe end of {}:\n{}", self.log.display(), last.join("\n"))
    }
}

async fn collect(stderr: ChildStderr, mut file: File, lines: watch::Sender<Lines>) {
    let mut stderr = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = stderr.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!(%error, "a process's log cannot be kept");
        }
        lines.send_modify(|lines| lines.written.push(line));
    }
    lines.send_modify(|lines| lines.ended = true);
}
