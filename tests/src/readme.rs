//! The examples of README.md, to be run as they stand there.

use crate::clients::root;
use crate::process::Program;
use anyhow::{Context, Result, ensure};

/// The fenced block after `<!-- tested: NAME -->`.
///
/// # Errors
/// When there is none.
pub fn example(name: &str) -> Result<String> {
    let readme = std::fs::read_to_string(root().join("README.md"))?;
    let mark = format!("<!-- tested: {name} -->\n```");
    let (_, after) = readme.split_once(&mark).with_context(|| format!("README.md has no example {name}"))?;
    let (_, block) = after.split_once('\n').context("a fence ends its line")?;
    let (block, _) = block.split_once("\n```").context("a fence is closed")?;
    Ok(block.to_owned())
}

/// Runs shell lines, and returns what they print; a request that is refused is a failure.
///
/// # Errors
/// With what the lines said.
pub async fn shell(lines: &str, variables: &[(&str, &str)]) -> Result<String> {
    let script =
        format!("set -euo pipefail\ncurl() {{ command curl -sS --fail-with-body \"$@\"; echo; }}\n{lines}");
    let program =
        variables.iter().fold(Program::at("/bin/bash"), |program, (name, value)| program.env(name, value));
    let output = program.arg("-c").arg(script).output().await?;
    let (stdout, stderr) = (String::from_utf8(output.stdout)?, String::from_utf8(output.stderr)?);
    ensure!(output.status.success(), "{stdout}\n{stderr}");
    Ok(stdout)
}
