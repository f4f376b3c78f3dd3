//! Servers of a test's own, to be stopped, killed and started again while it runs: [`PrivatePostgres`] and
//! [`PrivateRabbit`] (and [`PrivateNginx`], which serves files, [`PrivatePgbouncer`], a pooler, and [`PrivateReverseProxy`]), from the programs that
//! this machine has installed; the first two from another Debian release's, where one is asked for. [`Cluster`] is three of
//! the one and two of the other. Each has its own ports of loopback and a temporary folder, runs as an unprivileged user,
//! and is gone with its value: it ends when that is dropped, and dies with the thread that started it.

mod cluster;
mod folder;
mod network;
mod nginx;
mod pgbouncer;
mod postgres;
mod programs;
mod rabbit;
mod reverse_proxy;
mod standby;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use nginx::PrivateNginx;
pub use pgbouncer::PrivatePgbouncer;
pub use postgres::PrivatePostgres;
pub use rabbit::PrivateRabbit;
pub use reverse_proxy::{PrivateReverseProxy, ReverseProxy};

use crate::servers::Servers;
use anyhow::{Context, Result, bail, ensure};
use folder::Folder;
use programs::Tree;
use rustix::process::{Pid, Signal, kill_process};
use std::net::TcpListener;
use std::process::ExitStatus;
use std::time::Duration;
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

/// The longest a healthy server takes to start or to stop, on a machine under load.
const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks at whether it answers.
const LOOK: Duration = Duration::from_millis(20);
/// A port that was free a moment ago may be taken: a first start is tried on so many.
const TRIES: u32 = 3;

/// One of each.
#[derive(Debug)]
pub struct Private {
    /// The database.
    pub postgres: PrivatePostgres,
    /// The broker.
    pub rabbit: PrivateRabbit,
}

impl Private {
    /// Starts both.
    ///
    /// # Errors
    /// When one is not installed here, or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with settings of PostgreSQL.
    ///
    /// # Errors
    /// As [`Private::start`].
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        let (postgres, rabbit) =
            tokio::try_join!(PrivatePostgres::start_with(settings), PrivateRabbit::start())?;
        Ok(Self { postgres, rabbit })
    }

    /// Where they are.
    ///
    /// # Errors
    /// None: the addresses are ours.
    pub fn servers(&self) -> Result<Servers> {
        Ok(Servers { database: self.postgres.url()?, amqp: self.rabbit.url() })
    }
}

/// A server's process.
#[derive(Debug)]
struct Server {
    name: &'static str,
    child: Child,
}

impl Server {
    fn start(name: &'static str, mut command: Command) -> Result<Self> {
        let child = command.spawn().context("cannot run setsid (of the package util-linux)")?;
        Ok(Self { name, child })
    }

    /// Asks it to end, and waits until it has.
    async fn end(mut self, signal: Signal) -> Result<ExitStatus> {
        let id = self.child.id().with_context(|| format!("{} has ended by itself", self.name))?;
        kill_process(pid(id)?, signal).with_context(|| format!("cannot signal {} ({id})", self.name))?;
        let ended = timeout(PATIENCE, self.child.wait()).await;
        Ok(ended.with_context(|| format!("{} does not end within {PATIENCE:?}", self.name))??)
    }

    /// Waits until it answers. False if it has ended instead.
    async fn answers(&mut self, mut look: impl AsyncFnMut() -> bool) -> Result<bool> {
        let started = Instant::now();
        while started.elapsed() < PATIENCE {
            if self.child.try_wait()?.is_some() {
                return Ok(false);
            }
            if look().await {
                return Ok(true);
            }
            sleep(LOOK).await;
        }
        bail!("{} does not answer within {PATIENCE:?}", self.name)
    }
}

fn pid(id: u32) -> Result<Pid> {
    i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id is a positive number")
}

/// Free ports below the range from which the kernel takes those of outgoing connections: nobody takes one while its
/// server is down.
fn free_ports<const N: usize>() -> Result<[u16; N]> {
    let mut held = Vec::new();
    let mut ports = [0; N];
    for port in &mut ports {
        let free = (0..500).map(|_try| rand::random_range(20_000..32_000));
        let listener = free.filter_map(|port| TcpListener::bind(("127.0.0.1", port)).ok()).next();
        let listener = listener.context("no free port was found between 20000 and 31999")?;
        *port = listener.local_addr()?.port();
        // Held until all are chosen, or two could be the same.
        held.push(listener);
    }
    Ok(ports)
}

/// What a server's program said, when it failed.
fn succeeded(what: &str, output: &std::process::Output) -> Result<String> {
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{what} failed ({}): {said}{complained}", output.status);
    Ok(said)
}
