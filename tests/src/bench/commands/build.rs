//! Programs of one version.

use crate::process::Program;
use std::path::PathBuf;

/// A build of the project.
#[derive(Clone, Debug)]
pub struct Build {
    /// What it is called in figures.
    pub name: String,
    /// Where its programs are.
    pub programs: PathBuf,
}

impl Build {
    /// One of its programs.
    #[must_use]
    pub fn program(&self, name: &str) -> Program {
        Program::at(self.programs.join(name))
    }
}
