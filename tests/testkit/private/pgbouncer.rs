//! A pgbouncer before a database server: a pooler, which shares the server's sessions among its own.

use super::programs::installed;
use super::{Folder, Server, TRIES, free_ports};
use anyhow::{Context, Result, bail};
use tokio::net::TcpStream;
use url::Url;

/// A pgbouncer that belongs to its owner alone.
#[derive(Debug)]
pub struct PrivatePgbouncer {
    // Dropped in this order: the pooler ends before its folder goes.
    _server: Server,
    _folder: Folder,
    port: u16,
}

impl PrivatePgbouncer {
    /// Starts one before the server of this address. `mode` is its `pool_mode`: `session` or `transaction`.
    ///
    /// # Errors
    /// When pgbouncer is not installed here, or does not start.
    pub async fn start(database: &Url, mode: &str) -> Result<Self> {
        let folder = Folder::create("pgbouncer")?;
        let program = installed("pgbouncer", "scripts/pgbouncer.sh")?;
        let user = database.username();
        let password = database.password().unwrap_or_default();
        folder.write("users", &format!("\"{user}\" \"{password}\"\n"))?;
        let server = format!(
            "host={} port={}",
            database.host_str().context("the address names no host")?,
            database.port().unwrap_or(5432)
        );
        for _try in 0..TRIES {
            let [port] = free_ports()?;
            let configuration = format!(
                "[databases]\n* = {server}\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n\
                 auth_type = plain\nauth_file = users\npool_mode = {mode}\ndefault_pool_size = 30\nserver_tls_sslmode = disable\n"
            );
            folder.write("pgbouncer.ini", &configuration)?;
            let mut command = folder.server(&program, "log")?;
            command.arg("pgbouncer.ini");
            let mut server = Server::start("pgbouncer", command)?;
            if server.answers(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await? {
                return Ok(Self { _server: server, _folder: folder, port });
            }
        }
        bail!("pgbouncer does not start: {}", folder.tail("log"))
    }

    /// The address of a database through it.
    ///
    /// # Errors
    /// When that address has no place for a port.
    pub fn before(&self, database: &Url) -> Result<Url> {
        let mut url = database.clone();
        url.set_host(Some("127.0.0.1"))?;
        url.set_port(Some(self.port)).ok().context("the address takes no port")?;
        url.set_query(Some("sslmode=disable"));
        Ok(url)
    }
}
