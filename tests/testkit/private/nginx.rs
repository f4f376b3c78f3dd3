//! An nginx that serves files, as an upstream that costs next to nothing.

use super::programs::installed;
use super::{Folder, Server, TRIES, free_ports};
use anyhow::{Result, bail};
use std::path::PathBuf;
use tokio::net::TcpStream;

/// An nginx that belongs to its owner alone.
#[derive(Debug)]
pub struct PrivateNginx {
    // Dropped in this order: the server ends before its folder goes.
    server: Server,
    folder: Folder,
    port: u16,
}

impl PrivateNginx {
    /// Starts one with nothing to serve yet.
    ///
    /// # Errors
    /// When nginx is not installed here, or does not start.
    pub async fn start() -> Result<Self> {
        let folder = Folder::create("nginx")?;
        let program = installed("nginx", "scripts/nginx.sh")?;
        std::fs::create_dir(folder.path.join("pages"))?;
        for _try in 0..TRIES {
            let [port] = free_ports()?;
            folder.write("nginx.conf", &configuration(port))?;
            let mut command = folder.server(&program, "log")?;
            command.args([
                "-p",
                &folder.at(""),
                "-e",
                &folder.at("error.log"),
                "-c",
                &folder.at("nginx.conf"),
            ]);
            let mut server = Server::start("nginx", command)?;
            if server.answers(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await? {
                return Ok(Self { server, folder, port });
            }
        }
        bail!("nginx does not start: {}", folder.tail("log"))
    }

    /// The folder whose files it serves.
    #[must_use]
    pub fn root(&self) -> PathBuf {
        self.folder.path.join("pages")
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The operating system's number of its process.
    #[must_use]
    pub fn pid(&self) -> Option<u32> {
        self.server.child.id()
    }
}

/// All in one process: a worker would outlive its master when that is killed, and keep the port.
fn configuration(port: u16) -> String {
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|of| format!("    {of}_temp_path {of};\n"))
        .concat();
    format!(
        "daemon off;\nmaster_process off;\npid pid;\nevents {{ worker_connections 1024; }}\nhttp {{\n\
         {temporary}    access_log off;\n    default_type application/json;\n    sendfile on;\n    tcp_nopush on;\n    \
         keepalive_requests 1000000;\n    keepalive_timeout 300s;\n    server {{ listen 127.0.0.1:{port}; root pages; }}\n}}\n"
    )
}
