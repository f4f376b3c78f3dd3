//! Programs that measure: how fast pages are pulled, how long a cancel takes, and how long it takes to recover from what
//! breaks.

mod build;
pub mod cancel;
pub mod commands;
pub mod fairness;
mod figures;
pub mod goal;
mod ground;
mod jobs;
mod machine;
pub mod neighbours;
mod observer;
pub mod recovery;
pub mod scale;
pub mod throughput;

pub use build::Build;
pub use figures::{Figures, Series};
pub use ground::Ground;
pub use machine::about;
pub use observer::{Asked, Observer, Took};

use anyhow::{Context, Result};
use serde_json::Value;
use stage::{Stage, complain, told_to_end};
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;
use testkit::private::{Cluster, Private};
use testkit::servers::Servers;

/// Runs something on a database and broker names of its own, which are gone at its end, as are its processes. Ctrl-C
/// (or SIGTERM) ends it at any time. What it returns is printed and, if asked for, written as JSON; whether it was
/// good is the exit code.
pub async fn run<T: Outcome>(
    name: &str,
    servers: &Servers,
    json: Option<&Path>,
    play: impl AsyncFnOnce(&Stage) -> Result<T>,
) -> ExitCode {
    match Box::pin(on_a_stage(name, servers, json, play)).await {
        Ok(code) => code,
        Err(error) => complain(&error),
    }
}

/// As [`run`], on servers of its own, which may be harmed.
pub async fn run_private<T: Outcome>(
    name: &str,
    json: Option<&Path>,
    play: impl AsyncFnOnce(&Stage, &mut Private) -> Result<T>,
) -> ExitCode {
    run_tuned(name, &[], json, play).await
}

/// The same with settings of PostgreSQL.
pub async fn run_tuned<T: Outcome>(
    name: &str,
    settings: &[&str],
    json: Option<&Path>,
    play: impl AsyncFnOnce(&Stage, &mut Private) -> Result<T>,
) -> ExitCode {
    say("starting a PostgreSQL and a RabbitMQ");
    run_started(name, json, Private::start_with(settings), Private::servers, play).await
}

/// As [`run`], on three RabbitMQ nodes and a PostgreSQL with a synchronous standby.
pub async fn run_cluster<T: Outcome>(
    name: &str,
    json: Option<&Path>,
    play: impl AsyncFnOnce(&Stage, &mut Cluster) -> Result<T>,
) -> ExitCode {
    say("starting three RabbitMQ nodes, and a PostgreSQL with a synchronous standby");
    run_started(name, json, Cluster::start(), Cluster::servers, play).await
}

async fn run_started<T: Outcome, S>(
    name: &str,
    json: Option<&Path>,
    start: impl Future<Output = Result<S>>,
    servers: impl FnOnce(&S) -> Result<Servers>,
    play: impl AsyncFnOnce(&Stage, &mut S) -> Result<T>,
) -> ExitCode {
    let told = match told_to_end() {
        Ok(told) => told,
        Err(error) => return complain(&error.into()),
    };
    let started = tokio::select! {
        started = start => started,
        () = told => return ExitCode::from(130),
    };
    let (mut started, servers) = match started.and_then(|started| Ok((servers(&started)?, started))) {
        Ok((servers, started)) => (started, servers),
        Err(error) => return complain(&error),
    };
    run(name, &servers, json, async |stage| play(stage, &mut started).await).await
}

/// What a program has to say at its end.
pub trait Outcome: std::fmt::Display {
    /// The same for programs.
    fn json(&self) -> Value;
    /// Whether everything is as it must be.
    fn is_good(&self) -> bool;
}

impl Outcome for Figures {
    fn json(&self) -> Value {
        self.json()
    }

    fn is_good(&self) -> bool {
        self.problems.is_empty()
    }
}

/// Says why a program cannot even begin.
#[must_use]
pub fn fail(error: &anyhow::Error) -> ExitCode {
    complain(error)
}

/// Says what happens.
pub fn say(text: impl std::fmt::Display) {
    // With stdout closed there is nobody left to tell.
    drop(writeln!(io::stdout().lock(), "{text}"));
}

async fn on_a_stage<T: Outcome>(
    name: &str,
    servers: &Servers,
    json: Option<&Path>,
    play: impl AsyncFnOnce(&Stage) -> Result<T>,
) -> Result<ExitCode> {
    sealing::install_tls_provider();
    let told = told_to_end()?;
    let stage = Stage::set_on(name, servers).await?;
    // Dropping the play kills its processes.
    let played = tokio::select! {
        played = play(&stage) => Some(played),
        () = told => None,
    };
    let logs = stage.logs.clone();
    let removed = stage.remove().await.context("the broker's queues or the database were not removed");
    let Some(played) = played else {
        removed?;
        say("interrupted; nothing is left");
        return Ok(ExitCode::from(130));
    };
    let outcome = played.with_context(|| format!("the logs are in {}", logs.display()))?;
    let told = tell(&outcome, json);
    removed?;
    told
}

/// Prints an outcome, and writes it as JSON if asked to.
#[must_use]
pub fn finish(outcome: &impl Outcome, json: Option<&Path>) -> ExitCode {
    tell(outcome, json).unwrap_or_else(|error| complain(&error))
}

fn tell(outcome: &impl Outcome, json: Option<&Path>) -> Result<ExitCode> {
    say(format_args!("\n{outcome}"));
    if let Some(path) = json {
        let text = serde_json::to_string_pretty(&outcome.json())?;
        std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if outcome.is_good() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
