//! What the demos stand on: a database and broker names of their own ([`Stage`]), the project's programs as processes
//! ([`Fleet`]), a live display ([`Board`]), and a report that ends with whether everything was exact.

mod board;
mod check;
mod fleet;
mod jobs;
mod look;
mod member;
mod report;
mod stage;
mod words;

pub use board::Board;
pub use check::{Comparison, Expected, compare};
pub use fleet::{Fleet, Killed};
pub use member::Member;
pub use report::{Report, latencies};
pub use stage::{Account, NewAccount, Stage};
pub use words::{milliseconds, thousands};

use anyhow::Result;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use tokio::signal::unix::{SignalKind, signal};

/// A demo that has come to its end: what still runs, and what is to be said about it.
#[derive(Debug)]
pub struct Ended {
    /// The database and the broker names.
    pub stage: Stage,
    /// The processes. They end when this is dropped.
    pub fleet: Fleet,
    /// What happened, and whether it was right.
    pub report: Report,
    /// Where to look while it all stays up.
    pub look: String,
}

/// Runs a demo. In a terminal everything stays up at its end, until Ctrl-C. Ctrl-C (or SIGTERM, or the terminal's end)
/// ends it at any time, and its processes with it. The exit code says whether everything was as it must be.
pub async fn run(play: impl Future<Output = Result<Ended>>) -> ExitCode {
    sealing::install_tls_provider();
    let told = match told_to_end() {
        Ok(told) => told,
        Err(error) => return complain(&error.into()),
    };
    tokio::pin!(told);
    // Dropping the play, or what it has left, kills the processes.
    let played = tokio::select! {
        played = play => played,
        () = &mut told => {
            drop(writeln!(io::stdout(), "interrupted; nothing is left running"));
            return ExitCode::from(130);
        }
    };
    let ended = match played {
        Ok(ended) => ended,
        Err(error) => return complain(&error),
    };
    let good = ended.report.is_good();
    drop(writeln!(io::stdout(), "\n{}", ended.report));
    if io::stdout().is_terminal() {
        drop(writeln!(io::stdout(), "\nIt all stays up until Ctrl-C.\n\n{}", ended.look));
        told.await;
    }
    drop(ended.fleet);
    match ended.stage.clear().await {
        Ok(()) if good => ExitCode::SUCCESS,
        Ok(()) => ExitCode::FAILURE,
        Err(error) => complain(&error.context("the broker's queues were not deleted")),
    }
}

/// Says what went wrong, with its causes; the exit code of a failure.
pub fn complain(error: &anyhow::Error) -> ExitCode {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        // Many errors repeat their cause in their own words.
        if !said.contains(&cause) {
            said = format!("{said}: {cause}");
        }
    }
    drop(writeln!(io::stderr(), "error: {said}"));
    ExitCode::FAILURE
}

/// Ready when somebody wants this program to end.
///
/// # Errors
/// When signals cannot be listened for.
pub fn told_to_end() -> io::Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    })
}
