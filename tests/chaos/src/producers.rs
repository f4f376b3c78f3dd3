//! Producers as processes. A producer that is replaced keeps its address.

use super::world::behind_proxies;
use anyhow::{Context, Result, ensure};
use stage::Stage;
use std::net::SocketAddr;
use testkit::process::Process;
use testkit::proxy::ToServers;

/// A producer, and the one that comes after it.
#[derive(Debug)]
pub(super) struct Producer {
    number: usize,
    starts: u32,
    address: SocketAddr,
    process: Process,
    way: ToServers,
}

impl Producer {
    pub(super) async fn start(stage: &Stage, number: usize) -> Result<Self> {
        let way = behind_proxies(stage).await?;
        let process = run(stage, &format!("producer-{number}"), &way, None)?;
        process.ready().await?;
        let address = process.address().await?;
        Ok(Self { number, starts: 1, address, process, way })
    }

    /// Its API's address.
    pub(super) fn api(&self) -> String {
        format!("http://{}/api/v1", self.address)
    }

    /// Ends in good order, and another one starts in its place.
    pub(super) async fn roll(&mut self, stage: &Stage) -> Result<()> {
        self.process.terminate()?;
        let status = self.process.exit().await?;
        ensure!(status.success(), "producer {} did not end well after SIGTERM: {status}", self.number);
        self.starts += 1;
        let name = format!("producer-{}.{}", self.number, self.starts);
        self.process = run(stage, &name, &self.way, Some(self.address))?;
        self.process.ready().await.with_context(|| format!("{name} is not ready"))
    }
}

fn run(stage: &Stage, name: &str, way: &ToServers, address: Option<SocketAddr>) -> Result<Process> {
    let mut program = stage.program("producer")?;
    for (name, value) in &way.variables {
        program = program.env(name, value);
    }
    if let Some(address) = address {
        program = program.env("BACKHAUL__HTTP__LISTEN", address.to_string());
    }
    program.log(stage.logs.join(format!("{name}.log"))).start()
}
