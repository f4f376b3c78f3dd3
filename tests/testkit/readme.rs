//! The examples of README.md and docs/, to be run as they stand there.

use crate::clients::root;
use crate::process::Program;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};

/// Every page of documentation.
///
/// # Errors
/// When a folder cannot be read.
pub fn pages() -> Result<Vec<PathBuf>> {
    let mut pages: Vec<PathBuf> =
        ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"].map(|page| root().join(page)).into();
    for folder in ["docs", "deploy", "findings"] {
        add_pages(&root().join(folder), &mut pages)?;
    }
    Ok(pages)
}

fn add_pages(folder: &Path, pages: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            add_pages(&path, pages)?;
        } else if path.extension().is_some_and(|extension| extension == "md") {
            pages.push(path);
        }
    }
    Ok(())
}

/// The only fenced block after `<!-- tested: NAME -->`.
///
/// # Errors
/// When there is none, or there are several.
pub fn example(name: &str) -> Result<String> {
    let mut all = examples(name)?;
    ensure!(all.len() == 1, "{} examples are called {name}", all.len());
    all.pop().context("one")
}

/// The fenced blocks after `<!-- tested: NAME -->`, in the order of their page.
///
/// # Errors
/// When there is none.
pub fn examples(name: &str) -> Result<Vec<String>> {
    let mark = format!("<!-- tested: {name} -->\n```");
    let mut found = Vec::new();
    for page in pages()? {
        let text = std::fs::read_to_string(&page)?;
        for after in text.split(&mark).skip(1) {
            let (_, block) = after.split_once('\n').context("a fence ends its line")?;
            let (block, _) = block.split_once("\n```").context("a fence is closed")?;
            found.push(block.to_owned());
        }
    }
    ensure!(!found.is_empty(), "no page has an example {name}");
    Ok(found)
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
