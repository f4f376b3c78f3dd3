//! A server's folder, and the user that it runs as.

use super::Tree;
use anyhow::{Context, Result};
use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use tokio::process::Command;
use uuid::Uuid;

/// PostgreSQL refuses to run as root.
const NOBODY: &str = "nobody";

/// A temporary folder that belongs to the servers' user and that nobody else can read. Removed when dropped.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) path: PathBuf,
    tree: Tree,
    owner: Option<(u32, u32)>,
}

impl Folder {
    /// For a server whose programs are this machine's.
    pub(super) fn create(of: &str) -> Result<Self> {
        Self::create_for(Tree::default(), of)
    }

    /// For one whose programs are in a tree.
    pub(super) fn create_for(tree: Tree, of: &str) -> Result<Self> {
        let path = std::env::temp_dir().join(format!("backhaul-{of}-{}", Uuid::new_v4().simple()));
        DirBuilder::new()
            .mode(0o700)
            .create(&path)
            .with_context(|| format!("cannot make {}", path.display()))?;
        let owner = if rustix::process::geteuid().is_root() { Some(unprivileged()?) } else { None };
        let folder = Self { path, tree, owner };
        folder.give(&folder.path)?;
        Ok(folder)
    }

    /// A path within it, as the text of an argument or of a variable.
    pub(super) fn at(&self, name: &str) -> String {
        self.path.join(name).display().to_string()
    }

    /// Writes a file that the servers' user owns.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.path.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        self.give(&path)
    }

    /// The end of a log in it, for error messages.
    pub(super) fn tail(&self, name: &str) -> String {
        let text = fs::read_to_string(self.path.join(name)).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }

    /// A program that runs in the folder as its owner, with an empty environment, in a session of its own as a service
    /// does, and dies with the thread that starts it. What it says goes to its pipes.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("setsid");
        // A long-lived folder, since the tree keeps an empty one of that name.
        command.args(self.tree.enter(&std::env::temp_dir())).arg("setpriv");
        if let Some((user, group)) = self.owner {
            command.args([&format!("--reuid={user}"), &format!("--regid={group}"), "--clear-groups"]);
        }
        command.args(["--pdeathsig", "KILL", "--"]).arg(program).current_dir(&self.path);
        command
            .env_clear()
            .env("PATH", self.tree.search_path())
            .env("LANG", "C.UTF-8")
            .env("HOME", &self.path);
        command.stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    /// The same for a server: what it says goes to a file.
    pub(super) fn server(&self, program: &Path, log: &str) -> Result<Command> {
        let file = File::options().create(true).append(true).open(self.path.join(log))?;
        let mut command = self.command(program);
        command.stdout(file.try_clone()?).stderr(file);
        Ok(command)
    }

    fn give(&self, path: &Path) -> Result<()> {
        let Some((user, group)) = self.owner else { return Ok(()) };
        chown(path, Some(user), Some(group)).with_context(|| format!("cannot chown {}", path.display()))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // A server that has just been killed may still be writing its last file.
        for _try in 0..10 {
            match fs::remove_dir_all(&self.path) {
                Ok(()) => return,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => return,
                Err(_busy) => std::thread::sleep(std::time::Duration::from_millis(20)),
            }
        }
        tracing::warn!(folder = %self.path.display(), "a private server's folder cannot be removed");
    }
}

fn unprivileged() -> Result<(u32, u32)> {
    let users = fs::read_to_string("/etc/passwd").context("cannot look up an unprivileged user")?;
    let line = users.lines().find(|line| line.split(':').next() == Some(NOBODY));
    let mut fields = line.with_context(|| format!("there is no user {NOBODY}"))?.split(':').skip(2);
    let mut number =
        || fields.next().and_then(|field| field.parse().ok()).context("/etc/passwd has a bad line");
    Ok((number()?, number()?))
}
