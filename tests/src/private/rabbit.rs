//! A RabbitMQ of a test's own: its own node, ports, cookie and name server.

use super::{Folder, Server, TRIES, Tree, free_ports, succeeded};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A broker that works answers the protocol header at once.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// What a client of protocol 0-9-1 says first.
const HEADER: &[u8] = b"AMQP\0\0\x09\x01";
/// The first byte of a method frame, with which a broker answers.
const METHOD: u8 = 1;

/// A RabbitMQ that belongs to its owner alone.
#[derive(Debug)]
pub struct PrivateRabbit {
    // Dropped in this order: the processes end before their folder goes.
    server: Option<Server>,
    /// Erlang's name server. The machine's may listen for another user's nodes, or be of another Erlang.
    names: Option<Child>,
    pub(super) folder: Folder,
    programs: PathBuf,
    ports: Ports,
}

#[derive(Clone, Copy, Debug, Default)]
struct Ports {
    amqp: u16,
    distribution: u16,
    names: u16,
}

impl PrivateRabbit {
    /// Makes a node and starts it; 5 to 20 seconds.
    ///
    /// # Errors
    /// When RabbitMQ is not installed here, or does not start.
    pub async fn start() -> Result<Self> {
        let tree = Tree::named("RABBITMQ_TREE");
        let programs = programs(&tree)?;
        let folder = Folder::create("rabbitmq", tree)?;
        folder.write("enabled_plugins", "[].")?;
        let mut made = Self { server: None, names: None, folder, programs, ports: Ports::default() };
        for _try in 0..TRIES {
            let [amqp, distribution, names] = free_ports()?;
            made.ports = Ports { amqp, distribution, names };
            let settings = "log.console = true\nvm_memory_high_watermark.absolute = 1GB\n\
                            disk_free_limit.absolute = 50MB\n";
            let listen = format!("listeners.tcp.default = 127.0.0.1:{amqp}\n{settings}");
            made.folder.write("rabbitmq.conf", &listen)?;
            let mut names = made.command(Path::new("epmd"));
            made.names = Some(names.spawn().context("cannot run epmd, which comes with Erlang")?);
            if made.run().await? {
                return Ok(made);
            }
        }
        bail!("RabbitMQ does not start: {}", made.folder.tail("log"))
    }

    /// Its address, with the virtual host `/`; the same after every restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}/%2f", self.ports.amqp)
    }

    /// The operating system's number of its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.as_ref()?.child.id()
    }

    /// Stops it in good order (SIGTERM), and waits until it is gone.
    ///
    /// # Errors
    /// When it does not run, or does not stop.
    pub async fn stop(&mut self) -> Result<()> {
        let server = self.server.take().context("this RabbitMQ does not run")?;
        server.end(Signal::TERM).await.map(drop)
    }

    /// SIGKILL: it ends as in a crash.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn kill(&mut self) -> Result<()> {
        let server = self.server.take().context("this RabbitMQ does not run")?;
        server.end(Signal::KILL).await.map(drop)
    }

    /// Starts it again, on the same ports and with its data, and waits until it accepts clients.
    ///
    /// # Errors
    /// When it runs, or does not start.
    pub async fn start_again(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "this RabbitMQ runs");
        ensure!(self.run().await?, "RabbitMQ does not start again: {}", self.folder.tail("log"));
        Ok(())
    }

    /// `rabbitmqctl` with these arguments; what it prints. It takes a second or two.
    /// `&["set_vm_memory_high_watermark", "absolute", "1"]` raises the memory alarm, `&["close_all_connections", "why"]`
    /// closes them.
    ///
    /// # Errors
    /// When the node refuses, with what it says.
    pub async fn control(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(&self.programs.join("rabbitmqctl"));
        let output = command.args(arguments).output().await.context("cannot run rabbitmqctl")?;
        succeeded(&format!("rabbitmqctl {}", arguments.join(" ")), &output)
    }

    /// Starts it. False if it ends before it answers.
    async fn run(&mut self) -> Result<bool> {
        let program = self.programs.join("rabbitmq-server");
        let mut command = self.folder.server(&program, "log")?;
        self.environment(&mut command);
        // In the place of the shell script that starts it, so that signals reach it.
        command.env("RABBITMQ_ALLOW_INPUT", "true");
        let mut server = Server::start("RabbitMQ", command)?;
        let port = self.ports.amqp;
        let answers =
            server.answers(async || matches!(timeout(HANDSHAKE, greet(port)).await, Ok(Ok(METHOD))));
        let answers = answers.await.with_context(|| self.folder.tail("log"))?;
        if answers {
            self.server = Some(server);
        }
        Ok(answers)
    }

    fn command(&self, program: &Path) -> Command {
        let mut command = self.folder.command(program);
        self.environment(&mut command);
        command
    }

    /// Nothing but our own settings.
    fn environment(&self, command: &mut Command) {
        let ports = self.ports;
        // In the virtual machine, busy waiting of schedulers would take a core from whoever is measured.
        let erlang =
            "-kernel inet_dist_use_interface {127,0,0,1} -noinput +sbwt none +sbwtdcpu none +sbwtdio none";
        for (name, value) in [
            ("ERL_EPMD_PORT", ports.names.to_string()),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_NODENAME", format!("private-{}@localhost", ports.amqp)),
            ("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1".to_owned()),
            ("RABBITMQ_NODE_PORT", ports.amqp.to_string()),
            ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
            ("RABBITMQ_MNESIA_BASE", self.folder.at("mnesia")),
            ("RABBITMQ_LOG_BASE", self.folder.at("logs")),
            ("RABBITMQ_PID_FILE", self.folder.at("pid")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.at("enabled_plugins")),
            ("RABBITMQ_CONFIG_FILE", self.folder.at("rabbitmq")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", self.folder.at("advanced.config")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang.to_owned()),
        ] {
            command.env(name, value);
        }
    }
}

/// The first byte of what the broker answers a client.
async fn greet(port: u16) -> std::io::Result<u8> {
    let mut client = TcpStream::connect(("127.0.0.1", port)).await?;
    client.write_all(HEADER).await?;
    client.read_u8().await
}

/// The programs themselves: the wrappers in /usr/sbin refuse every user but root and rabbitmq.
fn programs(tree: &Tree) -> Result<PathBuf> {
    let mut found = vec![PathBuf::from("/usr/lib/rabbitmq/bin")];
    for parent in ["/usr/lib/rabbitmq/lib", "/opt"] {
        let mut folders = tree.folders(parent);
        folders.sort();
        found.extend(folders.into_iter().rev().map(|folder| folder.join("sbin")));
    }
    let whole = |folder: &PathBuf| tree.has(folder, &["rabbitmq-server", "rabbitmqctl"]);
    found.into_iter().find(whole).context("RabbitMQ is not installed here")
}
