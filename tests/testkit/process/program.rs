//! How a program is found, and what it is started with.

use super::{PATIENCE, Process};
use anyhow::Context;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Output, Stdio};
use tokio::process::Command;
use tokio::time::timeout;

/// What to run: a built program with arguments and environment.
///
/// Nothing of the project's configuration is inherited: `BACKHAUL*`, `DATABASE_URL` and `AMQP_URL` are removed, and
/// the listener is set to a free port of loopback.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    name: String,
    command: Command,
    log: Option<PathBuf>,
}

impl Program {
    /// One of the project's programs (`consumer`, `producer`, `backhaul`, `sample-upstream`), as built beside the
    /// running one, or in `BACKHAUL_BIN_DIR`.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn built(name: &str) -> anyhow::Result<Self> {
        Ok(Self::at(found(name)?))
    }

    /// The same in a session of its own, as service managers start it. Linux shares cores among sessions before it shares
    /// them among processes (autogroup), and each backend of PostgreSQL has a session of its own: what shares one with all
    /// else that a terminal has started waits long for a core. A terminal's signals do not reach it: who starts it ends it.
    ///
    /// # Errors
    /// As [`Program::built`].
    pub fn service(name: &str) -> anyhow::Result<Self> {
        let path = found(name)?;
        if !cfg!(target_os = "linux") {
            return Ok(Self::at(path));
        }
        let mut command = Command::new("setsid");
        command.arg(&path);
        Ok(Self::new(path, command))
    }

    /// Any program.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let command = Command::new(&path);
        Self::new(path, command)
    }

    fn new(path: PathBuf, mut command: Command) -> Self {
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| name.starts_with("BACKHAUL"));
            if ours || name == "DATABASE_URL" || name == "AMQP_URL" {
                command.env_remove(name);
            }
        }
        command.env("BACKHAUL__HTTP__LISTEN", "127.0.0.1:0").stdin(Stdio::null()).kill_on_drop(true);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { path, name, command, log: None }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> String {
        self.path.display().to_string()
    }

    /// Sets an environment variable: `BACKHAUL__PAGES__SLOTS`, `DATABASE_URL`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Sets several.
    #[must_use]
    pub fn envs(self, variables: impl IntoIterator<Item = (impl AsRef<str>, impl AsRef<str>)>) -> Self {
        variables.into_iter().fold(self, |program, (name, value)| program.env(name.as_ref(), value))
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<str>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Chooses the file for what it writes to stderr.
    #[must_use]
    pub fn log(mut self, file: PathBuf) -> Self {
        self.log = Some(file);
        self
    }

    /// Starts it. What it writes to stderr goes to the [chosen](Self::log) file, else to one of `target/e2e-logs`,
    /// named after the test and the process.
    ///
    /// # Errors
    /// When it cannot be started, or the log file cannot be written.
    pub fn start(mut self) -> anyhow::Result<Process> {
        let mut child = self
            .command
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot start {}", self.path.display()))?;
        let pid = child.id().context("a process that has just been started has an id")?;
        let log = match self.log.take() {
            Some(file) => file,
            None => log_folder("e2e-logs")?.join(format!("{}-{}-{pid}.log", test_name(), self.name)),
        };
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let stderr = child.stderr.take().context("stderr was asked to be a pipe")?;
        Ok(Process::new(self.name, pid, child, stderr, log, file))
    }

    /// Runs it to its end, with its output.
    ///
    /// # Errors
    /// When it cannot be started, or takes longer than a minute (it is killed then).
    pub async fn output(mut self) -> anyhow::Result<Output> {
        let output = timeout(PATIENCE, self.command.output()).await;
        let output = output.with_context(|| format!("{} does not end within {PATIENCE:?}", self.name))?;
        output.with_context(|| format!("cannot run {}", self.path.display()))
    }
}

/// Where a program of the project was built.
fn found(name: &str) -> anyhow::Result<PathBuf> {
    let mut folders: Vec<PathBuf> =
        std::env::var_os("BACKHAUL_BIN_DIR").map(PathBuf::from).into_iter().collect();
    if folders.is_empty() {
        let running = std::env::current_exe()?;
        folders.extend(running.ancestors().skip(1).take(2).map(Path::to_path_buf));
        folders
            .extend(std::env::var_os("CARGO_TARGET_DIR").map(|target| PathBuf::from(target).join("debug")));
    }
    let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
    path.with_context(|| {
        format!(
            "the program {name} is in none of {folders:?}: build it with `cargo build --workspace --bins`"
        )
    })
}

/// A folder for logs of this name in `target`, or in the system's temporary one.
///
/// # Errors
/// When it cannot be made.
pub fn log_folder(name: &str) -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe()?;
    let target = running.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    let folder = target.map_or_else(|| std::env::temp_dir().join("backhaul"), Path::to_path_buf).join(name);
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A test runs on a thread of its name.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("main").replace("::", "-")
}
