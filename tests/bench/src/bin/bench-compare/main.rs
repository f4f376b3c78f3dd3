//! `make bench-compare`: two measurements side by side.

use benchmarks::throughput::compare::compare;
use clap::Parser;
use std::path::PathBuf;
use std::process::ExitCode;

/// Lays the JSON of two runs of `make bench` side by side.
#[derive(Debug, Parser)]
struct Arguments {
    /// The one before.
    a: PathBuf,
    /// The one after.
    b: PathBuf,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match compare(&arguments.a, &arguments.b) {
        Ok(text) => {
            benchmarks::say(text);
            ExitCode::SUCCESS
        }
        Err(error) => benchmarks::fail(&error),
    }
}
