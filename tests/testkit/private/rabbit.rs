//! A RabbitMQ of a test's own: its own node, ports, cookie and name server.

use super::{Folder, Server, TRIES, Tree, free_ports, pid, succeeded};
use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Signal, kill_process};
use std::fs::Permissions;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::time::timeout;

/// A broker that works answers the protocol header at once.
const HANDSHAKE: Duration = Duration::from_secs(2);
/// Names the tree of another release.
const RELEASE: &str = "RABBITMQ_TREE";
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
    address: Ipv4Addr,
    ports: Ports,
}

#[derive(Clone, Copy, Debug)]
struct Ports {
    amqp: u16,
    distribution: u16,
    names: u16,
}

/// Its memory is its own, not a share of the machine's.
const SETTINGS: &str = "log.console = true\nvm_memory_high_watermark.absolute = 1GB\n\
                        disk_free_limit.absolute = 50MB\n";

impl Ports {
    /// Those that RabbitMQ has anywhere, on a machine of its own.
    const USUAL: Self = Self { amqp: 5672, distribution: 25672, names: 4369 };
}

impl PrivateRabbit {
    /// Makes a node and starts it; 5 to 20 seconds.
    ///
    /// # Errors
    /// When RabbitMQ is not installed here, or does not start.
    pub async fn start() -> Result<Self> {
        let mut made = Self::prepare(Tree::named(RELEASE), Ipv4Addr::LOCALHOST)?;
        for _try in 0..TRIES {
            let [amqp, distribution, names] = free_ports()?;
            made.ports = Ports { amqp, distribution, names };
            made.configure("")?;
            made.start_names()?;
            if made.run().await? {
                return Ok(made);
            }
        }
        bail!("RabbitMQ does not start: {}", made.folder.tail("log"))
    }

    /// A node on a machine of its own, which is not started yet; nodes with the same cookie are a cluster.
    pub(super) fn on_machine(
        namespace: &Path,
        address: Ipv4Addr,
        cookie: &str,
        settings: &str,
    ) -> Result<Self> {
        let node = Self::prepare(Tree::named(RELEASE).on_machine(namespace), address)?;
        node.folder.write(".erlang.cookie", cookie)?;
        // Others may not read it, or Erlang refuses it.
        std::fs::set_permissions(node.folder.path.join(".erlang.cookie"), Permissions::from_mode(0o600))?;
        node.configure(settings)?;
        Ok(node)
    }

    fn prepare(tree: Tree, address: Ipv4Addr) -> Result<Self> {
        let programs = programs(&tree)?;
        let folder = Folder::create_for(tree, "rabbitmq")?;
        folder.write("enabled_plugins", "[].")?;
        Ok(Self { server: None, names: None, folder, programs, address, ports: Ports::USUAL })
    }

    fn configure(&self, more: &str) -> Result<()> {
        let listen =
            format!("listeners.tcp.default = {}:{}\n{SETTINGS}{more}", self.address, self.ports.amqp);
        self.folder.write("rabbitmq.conf", &listen)
    }

    fn start_names(&mut self) -> Result<()> {
        let mut names = self.command(Path::new("epmd"));
        self.names = Some(names.spawn().context("cannot run epmd, which comes with Erlang")?);
        Ok(())
    }

    /// Its name as a node. Only a machine of its own has an address that tells nodes apart.
    pub(super) fn name(&self) -> String {
        if self.address.is_loopback() {
            format!("private-{}@localhost", self.ports.amqp)
        } else {
            format!("rabbit@{}", self.address)
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn socket(&self) -> SocketAddr {
        (self.address, self.ports.amqp).into()
    }

    /// Its address, with the virtual host `/`; the same after every restart.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}/%2f", self.socket())
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
        self.tool("rabbitmqctl", arguments).await
    }

    /// The same of another program of RabbitMQ's, such as `rabbitmq-queues`.
    ///
    /// # Errors
    /// As [`Self::control`].
    pub async fn tool(&self, name: &str, arguments: &[&str]) -> Result<String> {
        let mut command = self.command(&self.programs.join(name));
        let output = command.args(arguments).output().await;
        let output = output.with_context(|| format!("cannot run {name}"))?;
        succeeded(&format!("{name} {}", arguments.join(" ")), &output)
    }

    /// Stops its process where it stands, or lets it go on.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let id = self.pid().context("this RabbitMQ does not run")?;
        kill_process(pid(id)?, signal).context("cannot signal RabbitMQ")
    }

    /// Starts it. False if it ends before it answers.
    pub(super) async fn run(&mut self) -> Result<bool> {
        let program = self.programs.join("rabbitmq-server");
        let mut command = self.folder.server(&program, "log")?;
        self.environment(&mut command);
        // In the place of the shell script that starts it, so that signals reach it.
        command.env("RABBITMQ_ALLOW_INPUT", "true");
        let mut server = Server::start("RabbitMQ", command)?;
        if self.names.is_none() {
            self.start_names()?;
        }
        let socket = self.socket();
        let answers =
            server.answers(async || matches!(timeout(HANDSHAKE, greet(socket)).await, Ok(Ok(METHOD))));
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
        let (address, ports) = (self.address.to_string(), self.ports);
        // In the virtual machine, busy waiting of schedulers would take a core from whoever is measured.
        let interface = address.replace('.', ",");
        let erlang = format!(
            "-kernel inet_dist_use_interface {{{interface}}} -noinput +sbwt none +sbwtdcpu none +sbwtdio none"
        );
        for (name, value) in [
            ("ERL_EPMD_PORT", ports.names.to_string()),
            ("ERL_EPMD_ADDRESS", address.clone()),
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_NODENAME", self.name()),
            ("RABBITMQ_USE_LONGNAME", (!self.address.is_loopback()).to_string()),
            ("RABBITMQ_NODE_IP_ADDRESS", address),
            ("RABBITMQ_NODE_PORT", ports.amqp.to_string()),
            ("RABBITMQ_DIST_PORT", ports.distribution.to_string()),
            ("RABBITMQ_MNESIA_BASE", self.folder.at("mnesia")),
            ("RABBITMQ_LOG_BASE", self.folder.at("logs")),
            ("RABBITMQ_PID_FILE", self.folder.at("pid")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", self.folder.at("enabled_plugins")),
            ("RABBITMQ_CONFIG_FILE", self.folder.at("rabbitmq")),
            ("RABBITMQ_ADVANCED_CONFIG_FILE", self.folder.at("advanced.config")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", erlang),
        ] {
            command.env(name, value);
        }
    }
}

/// The first byte of what the broker answers a client.
async fn greet(broker: SocketAddr) -> std::io::Result<u8> {
    let mut client = TcpStream::connect(broker).await?;
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
