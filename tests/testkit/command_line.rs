//! The `backhaul` program, run as a person or a script runs it.

use crate::process::Program;
use anyhow::{Context, Result};
use serde_json::Value;
use std::collections::HashMap;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Ran {
    /// The exit status; none if it was killed.
    pub code: Option<i32>,
    /// What it said.
    pub stdout: String,
    /// What it said beside that.
    pub stderr: String,
}

impl Ran {
    /// The JSON document that it wrote.
    ///
    /// # Errors
    /// When it wrote something else.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_str(self.stdout.trim()).with_context(|| format!("{}\n{}", self.stdout, self.stderr))
    }
}

/// Runs it with this environment.
///
/// # Errors
/// When it has not been built, or does not end.
pub async fn backhaul(environment: &HashMap<String, String>, arguments: &[&str]) -> Result<Ran> {
    let program = Program::built("backhaul")?.envs(environment);
    let output = arguments.iter().fold(program, |program, argument| program.arg(argument)).output().await?;
    Ok(Ran {
        code: output.status.code(),
        stdout: String::from_utf8(output.stdout)?,
        stderr: String::from_utf8(output.stderr)?,
    })
}
