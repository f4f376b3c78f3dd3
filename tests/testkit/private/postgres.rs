//! A PostgreSQL of a test's own.

use super::{Folder, LOOK, PATIENCE, Server, TRIES, Tree, free_ports, pid, succeeded};
use anyhow::{Context, Result, bail};
use rustix::process::{Signal, kill_process};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions, Connection};
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

/// A PostgreSQL that belongs to its owner alone.
#[derive(Debug)]
pub struct PrivatePostgres {
    // Dropped in this order: the server ends before its folder goes.
    pub(super) server: Option<Server>,
    pub(super) folder: Folder,
    pub(super) programs: PathBuf,
    pub(super) password: String,
    pub(super) port: u16,
    pub(super) settings: Vec<String>,
}

impl PrivatePostgres {
    /// Makes a cluster and starts it; a few seconds.
    ///
    /// # Errors
    /// When PostgreSQL is not installed here, or does not start.
    pub async fn start() -> Result<Self> {
        Self::start_with(&[]).await
    }

    /// The same with settings, such as `shared_buffers=1GB`. It is as durable as any: nothing of that is turned off.
    ///
    /// # Errors
    /// As [`PrivatePostgres::start`].
    pub async fn start_with(settings: &[&str]) -> Result<Self> {
        Self::make(settings, None).await
    }

    /// The same with a certificate and its key, both PEM: it takes nobody over TCP without TLS.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub async fn start_with_tls(certificate: &str, key: &str) -> Result<Self> {
        let settings = ["ssl=on", "ssl_cert_file=../server.crt", "ssl_key_file=../server.key"];
        Self::make(&settings, Some((certificate, key))).await
    }

    async fn make(settings: &[&str], tls: Option<(&str, &str)>) -> Result<Self> {
        let settings = settings.iter().map(ToString::to_string).collect();
        let (folder, programs) = Self::place()?;
        if let Some((certificate, key)) = tls {
            folder.write("server.crt", certificate)?;
            folder.write("server.key", key)?;
            // Others may not read it, or the server refuses it.
            std::fs::set_permissions(folder.path.join("server.key"), Permissions::from_mode(0o600))?;
        }
        let password = Uuid::new_v4().simple().to_string();
        folder.write("password", &password)?;
        let mut initdb = folder.command(&programs.join("initdb"));
        // The password goes over loopback in clear, which spares a client without optimisation 4,096 hash rounds.
        initdb.args(["-D", "data", "-U", "postgres", "-A", "password", "--pwfile=password"]);
        initdb.args(["-E", "UTF8", "--locale=C.UTF-8", "--no-sync"]);
        succeeded("initdb", &initdb.output().await.context("cannot run initdb")?)?;
        Self { server: None, folder, programs, password, port: 0, settings }.started().await
    }

    /// A folder for one, and where its programs are.
    pub(super) fn place() -> Result<(Folder, PathBuf)> {
        let tree = Tree::named("POSTGRES_TREE");
        let programs = programs(&tree)?;
        Ok((Folder::create_for(tree, "postgres")?, programs))
    }

    /// Starts it for the first time, on a port that is free.
    pub(super) async fn started(mut self) -> Result<Self> {
        for _try in 0..TRIES {
            [self.port] = free_ports()?;
            if self.run().await? {
                return Ok(self);
            }
        }
        bail!("PostgreSQL does not start: {}", self.folder.tail("log"))
    }

    /// Its address, with the database `postgres`; the same after every restart.
    ///
    /// # Errors
    /// None: the parts are ours.
    pub fn url(&self) -> Result<Url> {
        let (password, port) = (&self.password, self.port);
        Ok(format!("postgres://postgres:{password}@127.0.0.1:{port}/postgres?sslmode=disable").parse()?)
    }

    /// The operating system's number of its first process, the parent of all others.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref()?.child.id()
    }

    /// Stops it in good order (a fast shutdown: transactions are rolled back, clients are told).
    ///
    /// # Errors
    /// When it does not run, or does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let server = self.server.take().context("this PostgreSQL does not run")?;
        server.end(Signal::INT).await.map(drop)
    }

    /// SIGKILL to all of it at once, as when a machine goes down: nothing is flushed, nobody is told by it.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let server = self.server.take().context("this PostgreSQL does not run")?;
        let id = server.child.id().context("PostgreSQL has ended by itself")?;
        let backends = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children")).unwrap_or_default();
        server.end(Signal::KILL).await?;
        for backend in backends.split_whitespace().filter_map(|id| id.parse::<u32>().ok()) {
            if kill_process(pid(backend)?, Signal::KILL).is_err() {
                tracing::debug!(backend, "a backend has ended before it was killed");
            }
        }
        Ok(())
    }

    /// Starts it again on the same port, and waits until it answers. After a [kill](Self::kill) that includes recovery.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        anyhow::ensure!(self.server.is_none(), "this PostgreSQL runs");
        let began = Instant::now();
        // A killed server's processes hold its shared memory for a moment longer; a new one refuses until then.
        while began.elapsed() < PATIENCE {
            if self.run().await? {
                return Ok(());
            }
            sleep(LOOK).await;
        }
        bail!("PostgreSQL does not start again: {}", self.folder.tail("log"))
    }

    /// Starts it. False if it ends at once.
    async fn run(&mut self) -> Result<bool> {
        let mut command = self.folder.server(&self.programs.join("postgres"), "log")?;
        let port = self.port.to_string();
        command.args(["-D", "data", "-p", &port, "-c", "listen_addresses=127.0.0.1"]);
        // No Unix socket: its path could be too long.
        for setting in ["unix_socket_directories=", "max_connections=200", "timezone=UTC", "log_timezone=UTC"]
        {
            command.args(["-c", setting]);
        }
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let mut server = Server::start("PostgreSQL", command)?;
        let options: PgConnectOptions = self.url()?.as_str().parse()?;
        let answers = server
            .answers(async || match options.connect().await {
                Ok(connection) => connection.close().await.is_ok(),
                Err(_not_yet) => false,
            })
            .await?;
        if answers {
            self.server = Some(server);
        }
        Ok(answers)
    }
}

/// The newest installed server's folder of programs.
fn programs(tree: &Tree) -> Result<PathBuf> {
    let mut found = Vec::new();
    for parent in ["/usr/lib/postgresql", "/usr"] {
        found.extend(tree.folders(parent).into_iter().map(|folder| folder.join("bin")));
    }
    found.push("/usr/local/pgsql/bin".into());
    found.extend(std::env::split_paths(&tree.search_path()));
    found.retain(|folder| tree.has(folder, &["initdb", "postgres"]));
    let version = |folder: &Path| {
        let name =
            folder.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
        name.trim_start_matches("pgsql-").parse::<u32>().unwrap_or_default()
    };
    found
        .into_iter()
        .max_by_key(|folder| version(folder))
        .context("PostgreSQL's server is not installed here")
}
