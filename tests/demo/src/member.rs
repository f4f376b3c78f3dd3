//! A consumer process, and which worker it is.

use super::stage::Stage;
use anyhow::{Context, Result};
use protocol::ids::WorkerId;
use testkit::process::Process;

/// A consumer process. It is killed when this is dropped.
#[derive(Debug)]
pub struct Member {
    /// Its name; its log is named after it.
    pub name: String,
    /// Who it is.
    pub worker: WorkerId,
    /// The process.
    pub process: Process,
}

impl Member {
    /// Starts a consumer with these variables, without waiting until it consumes. Upstreams on loopback are allowed.
    ///
    /// # Errors
    /// When it cannot be started, or ends at once.
    pub async fn start(stage: &Stage, name: &str, variables: &[(&str, String)]) -> Result<Self> {
        let program = stage.program("consumer")?.env("BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES", "true");
        let program = variables.iter().fold(program, |program, (name, value)| program.env(name, value));
        let process = program.log(stage.logs.join(format!("{}.log", name.replace(' ', "-")))).start()?;
        let line = process.line("worker=").await?;
        let worker = line.split("worker=").nth(1).and_then(|rest| rest.split_whitespace().next());
        let worker = worker.and_then(|worker| worker.parse().ok());
        let worker = worker.with_context(|| format!("{name} does not say which worker it is: {line}"))?;
        Ok(Self { name: name.to_owned(), worker, process })
    }
}
