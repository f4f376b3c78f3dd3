//! The project's own programs as processes of the operating system, to be killed, frozen and drained like real ones.

use anyhow::{Context, bail};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::File;
use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Output, Stdio};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr, Command};
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

/// Longest wait for anything that a healthy process does. Far beyond what is normal: only a failing test meets it.
const PATIENCE: Duration = Duration::from_secs(60);
/// Between two looks at `/readyz`, which has no way to call back.
const LOOK: Duration = Duration::from_millis(20);

/// What to run: a built program with arguments and environment.
///
/// Nothing of the project's configuration is inherited: `BACKHAUL*`, `DATABASE_URL` and `AMQP_URL` are removed, and
/// the listener is set to a free port of loopback.
#[derive(Debug)]
pub struct Program {
    path: PathBuf,
    name: String,
    command: Command,
}

impl Program {
    /// One of the project's programs (`consumer`, `producer`, `backhaul`, `sample-upstream`), as built beside the
    /// running one, or in `BACKHAUL_BIN_DIR`.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn built(name: &str) -> anyhow::Result<Self> {
        let mut folders: Vec<PathBuf> =
            std::env::var_os("BACKHAUL_BIN_DIR").map(PathBuf::from).into_iter().collect();
        if folders.is_empty() {
            let running = std::env::current_exe()?;
            folders.extend(running.ancestors().skip(1).take(2).map(Path::to_path_buf));
            folders.extend(
                std::env::var_os("CARGO_TARGET_DIR").map(|target| PathBuf::from(target).join("debug")),
            );
        }
        let path = folders.iter().map(|folder| folder.join(name)).find(|path| path.is_file());
        let path = path.with_context(|| {
            format!(
                "the program {name} is in none of {folders:?}: build it with `cargo build --workspace --bins`"
            )
        })?;
        Ok(Self::at(path))
    }

    /// Any program.
    #[must_use]
    pub fn at(path: impl Into<PathBuf>) -> Self {
        let path = path.into();
        let mut command = Command::new(&path);
        for (name, _) in std::env::vars_os() {
            let ours = name.to_str().is_some_and(|name| name.starts_with("BACKHAUL"));
            if ours || name == "DATABASE_URL" || name == "AMQP_URL" {
                command.env_remove(name);
            }
        }
        command.env("BACKHAUL__HTTP__LISTEN", "127.0.0.1:0").stdin(Stdio::null()).kill_on_drop(true);
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Self { path, name, command }
    }

    /// Sets an environment variable: `BACKHAUL__PAGES__SLOTS`, `DATABASE_URL`.
    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.command.env(name, value.as_ref());
        self
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl AsRef<str>) -> Self {
        self.command.arg(argument.as_ref());
        self
    }

    /// Starts it. What it writes to stderr goes to a file of `target/e2e-logs`, named after the test and the process.
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
        let log = log_folder()?.join(format!("{}-{}-{pid}.log", test_name(), self.name));
        let file = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
        let stderr = child.stderr.take().context("stderr was asked to be a pipe")?;
        let lines = watch::Sender::default();
        tokio::spawn(collect(stderr, file, lines.clone()));
        Ok(Process { name: self.name, pid, child, log, lines })
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

/// A started process. Killed when dropped. Every wait ends after a minute with an error that shows the log's end.
#[derive(Debug)]
pub struct Process {
    name: String,
    pid: u32,
    child: Child,
    log: PathBuf,
    lines: watch::Sender<Lines>,
}

#[derive(Debug, Default)]
struct Lines {
    written: Vec<String>,
    ended: bool,
}

impl Process {
    /// The operating system's number of it.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where its stderr is kept.
    #[must_use]
    pub fn log(&self) -> &Path {
        &self.log
    }

    /// Waits for a log line that contains `text`, past ones included, and returns it.
    ///
    /// # Errors
    /// When the process ends without it.
    pub async fn line(&self, text: &str) -> anyhow::Result<String> {
        let mut lines = self.lines.subscribe();
        let mut looked_at = 0;
        let mut found = None;
        let waited = lines.wait_for(|lines| {
            let new = lines.written.get(looked_at..).unwrap_or_default();
            looked_at = lines.written.len();
            found = new.iter().find(|line| line.contains(text)).cloned();
            found.is_some() || lines.ended
        });
        let in_time = timeout(PATIENCE, waited).await.is_ok();
        match found {
            Some(line) => Ok(line),
            None if in_time => bail!("{} ended without logging {text:?}{}", self.name, self.tail()),
            None => bail!("{} has not logged {text:?} for {PATIENCE:?}{}", self.name, self.tail()),
        }
    }

    /// Where its HTTP listener is: it says so in its log.
    ///
    /// # Errors
    /// As [`Process::line`].
    pub async fn address(&self) -> anyhow::Result<SocketAddr> {
        const BEFORE: &str = "listening on http://";
        let line = self.line(BEFORE).await?;
        let address = line.split(BEFORE).nth(1).unwrap_or_default();
        let address = address.split(|end: char| end.is_whitespace() || end == '"').next().unwrap_or_default();
        address.parse().with_context(|| format!("{} logs an address that is none: {line}", self.name))
    }

    /// One of its own HTTP paths (`/readyz`, `/metrics`): status and body.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn get(&self, path: &str) -> anyhow::Result<(u16, String)> {
        common::telemetry::install_tls_provider();
        let answer = reqwest::get(format!("http://{}{path}", self.address().await?)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Waits until `/readyz` says so.
    ///
    /// # Errors
    /// When it ends before that, or does not become ready; with the last answer of `/readyz`.
    pub async fn ready(&self) -> anyhow::Result<()> {
        let started = Instant::now();
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut last = String::new();
        while started.elapsed() < PATIENCE {
            looks.tick().await;
            match self.get("/readyz").await {
                Ok((200, _)) => return Ok(()),
                Ok((_, body)) => last = body,
                Err(error) if self.lines.borrow().ended => return Err(error),
                Err(error) => last = error.to_string(),
            }
        }
        bail!("{} is not ready after {PATIENCE:?}: {last}{}", self.name, self.tail())
    }

    /// SIGKILL: it ends as in a crash, with nothing handed back. Waits until it is gone.
    ///
    /// # Errors
    /// When the operating system refuses.
    pub async fn kill(&mut self) -> anyhow::Result<ExitStatus> {
        self.signal(Signal::KILL)?;
        self.exit().await
    }

    /// SIGTERM: it should drain and end by itself; see [`Process::exit`].
    ///
    /// # Errors
    /// When it has ended before.
    pub fn terminate(&self) -> anyhow::Result<()> {
        self.signal(Signal::TERM)
    }

    /// SIGSTOP: it stands still in whatever it was doing, its connections open.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn freeze(&self) -> anyhow::Result<()> {
        self.signal(Signal::STOP)
    }

    /// SIGCONT: a frozen process goes on as if nothing had happened.
    ///
    /// # Errors
    /// When it has ended before.
    pub fn thaw(&self) -> anyhow::Result<()> {
        self.signal(Signal::CONT)
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it goes on for a minute.
    pub async fn exit(&mut self) -> anyhow::Result<ExitStatus> {
        match timeout(PATIENCE, self.child.wait()).await {
            Ok(status) => Ok(status?),
            Err(_elapsed) => bail!("{} does not end within {PATIENCE:?}{}", self.name, self.tail()),
        }
    }

    fn signal(&self, signal: Signal) -> anyhow::Result<()> {
        // Once waited for, the number may belong to somebody else; the child then has none.
        let id =
            self.child.id().with_context(|| format!("{} has ended already{}", self.name, self.tail()))?;
        let pid =
            i32::try_from(id).ok().and_then(Pid::from_raw).context("a process id is a positive number")?;
        kill_process(pid, signal).with_context(|| format!("cannot signal {} ({id})", self.name))
    }

    fn tail(&self) -> String {
        let lines = self.lines.borrow();
        let last = lines.written.get(lines.written.len().saturating_sub(15)..).unwrap_or_default();
        format!("\nthe end of {}:\n{}", self.log.display(), last.join("\n"))
    }
}

async fn collect(stderr: ChildStderr, mut file: File, lines: watch::Sender<Lines>) {
    let mut stderr = BufReader::new(stderr).split(b'\n');
    while let Ok(Some(line)) = stderr.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        if let Err(error) = writeln!(file, "{line}") {
            tracing::warn!(%error, "a process's log cannot be kept");
        }
        lines.send_modify(|lines| lines.written.push(line));
    }
    lines.send_modify(|lines| lines.ended = true);
}

fn log_folder() -> anyhow::Result<PathBuf> {
    let running = std::env::current_exe()?;
    let target = running.ancestors().find(|folder| folder.file_name().is_some_and(|name| name == "target"));
    let folder =
        target.map_or_else(|| std::env::temp_dir().join("backhaul"), Path::to_path_buf).join("e2e-logs");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    Ok(folder)
}

/// A test runs on a thread of its name.
fn test_name() -> String {
    std::thread::current().name().unwrap_or("main").replace("::", "-")
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::{health, telemetry::Metrics};
    use std::os::unix::process::ExitStatusExt;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use tokio_util::sync::CancellationToken;

    fn shell(script: &str) -> Program {
        Program::at("/bin/sh").arg("-c").arg(script)
    }

    #[tokio::test]
    async fn lines_are_found_kept_and_missed() {
        let mut process =
            shell("echo first >&2; echo second >&2; echo $BACKHAUL__HTTP__LISTEN >&2").start().unwrap();
        assert_eq!(process.line("sec").await.unwrap(), "second");
        assert_eq!(process.line("127.0").await.unwrap(), "127.0.0.1:0");
        let error = process.line("third").await.unwrap_err().to_string();
        assert!(error.contains("ended without logging \"third\"") && error.contains("second"), "{error}");
        assert!(process.exit().await.unwrap().success());
        assert!(process.terminate().is_err());
        assert_eq!(std::fs::read_to_string(process.log()).unwrap(), "first\nsecond\n127.0.0.1:0\n");
        std::fs::remove_file(process.log()).unwrap();
    }

    #[tokio::test]
    async fn signals_arrive() {
        let mut drains =
            shell("sleep 100 & trap \"echo drained >&2; kill $!; exit 3\" TERM; echo up >&2; wait").start();
        let drains = drains.as_mut().unwrap();
        drains.line("up").await.unwrap();
        drains.freeze().unwrap();
        drains.terminate().unwrap();
        drains.thaw().unwrap();
        drains.line("drained").await.unwrap();
        assert_eq!(drains.exit().await.unwrap().code(), Some(3));

        let mut killed = Program::at("/bin/sleep").arg("100").start().unwrap();
        assert_eq!(killed.kill().await.unwrap().signal(), Some(9));
    }

    #[tokio::test]
    async fn readiness_is_asked_at_the_address_that_the_log_names() {
        let asked = Arc::new(AtomicBool::new(false));
        let second_time = Arc::clone(&asked);
        let check =
            move || second_time.swap(true, Ordering::Relaxed).then_some(()).ok_or("first look".to_owned());
        let router = health::Health::new(Metrics::detached()).check("second_look", check).router();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let line = format!(r#"{{"message":"listening on http://{}","n":1}}"#, listener.local_addr().unwrap());
        tokio::spawn(health::serve(listener, router, CancellationToken::new()));

        let process = shell("echo \"$LINE\" >&2; exec sleep 100").env("LINE", &line).start().unwrap();
        process.ready().await.unwrap();
        assert!(asked.load(Ordering::Relaxed));
        assert_eq!(process.get("/healthz").await.unwrap().0, 200);
    }

    #[tokio::test]
    async fn output_is_captured_and_missing_programs_are_named() {
        let output = shell("echo out; echo err >&2; exit 4").output().await.unwrap();
        assert_eq!((output.stdout, output.status.code()), (b"out\n".to_vec(), Some(4)));
        let error = Program::built("no-such-program").err().unwrap().to_string();
        assert!(error.contains("cargo build --workspace --bins"), "{error}");
    }
}
