//! What stands between a producer and its callers: reverse proxies, as they are configured with the least that they need.

use super::programs::installed;
use super::{Folder, Server, TRIES, free_ports};
use anyhow::{Result, bail};
use std::net::SocketAddr;
use tokio::net::TcpStream;

/// A kind of proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "they are names")]
pub enum ReverseProxy {
    Apache,
    Caddy,
    Haproxy,
    Nginx,
    Varnish,
}

/// A proxy that belongs to its owner alone.
#[derive(Debug)]
pub struct PrivateReverseProxy {
    // Dropped in this order: the proxy ends before its folder goes.
    _server: Server,
    folder: Folder,
    port: u16,
}

impl PrivateReverseProxy {
    /// Starts one before this address.
    ///
    /// # Errors
    /// When it is not installed here, or does not start.
    pub async fn start(kind: ReverseProxy, before: SocketAddr) -> Result<Self> {
        let folder = Folder::create("proxy")?;
        let program = installed(kind.program(), "scripts/proxies.sh")?;
        for _try in 0..TRIES {
            let [port] = free_ports()?;
            folder.write("configuration", &kind.configuration(port, before))?;
            let mut command = folder.server(&program, "log")?;
            command.args(kind.arguments(&folder, port, before));
            let mut server = Server::start(kind.program(), command)?;
            if server.answers(async || TcpStream::connect(("127.0.0.1", port)).await.is_ok()).await? {
                return Ok(Self { _server: server, folder, port });
            }
        }
        bail!("{kind:?} does not start: {}", folder.tail("log"))
    }

    /// What it said last.
    #[must_use]
    pub fn log(&self) -> String {
        format!("{}\n{}", self.folder.tail("log"), self.folder.tail("errors"))
    }

    /// Its address, without a slash at the end.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
}

impl ReverseProxy {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Apache, Self::Caddy, Self::Haproxy, Self::Nginx, Self::Varnish];

    const fn program(self) -> &'static str {
        match self {
            Self::Apache => "apache2",
            Self::Caddy => "caddy",
            Self::Haproxy => "haproxy",
            Self::Nginx => "nginx",
            Self::Varnish => "varnishd",
        }
    }

    fn arguments(self, folder: &Folder, port: u16, before: SocketAddr) -> Vec<String> {
        let file = folder.at("configuration");
        let words: &[&str] = match self {
            Self::Apache => &["-d", &folder.at(""), "-f", &file, "-D", "FOREGROUND"],
            Self::Caddy => &["run", "--adapter", "caddyfile", "--config", &file],
            Self::Haproxy => &["-db", "-f", &file],
            Self::Nginx => &["-p", &folder.at(""), "-e", &folder.at("error.log"), "-c", &file],
            Self::Varnish => {
                return ["-F", "-j", "none", "-n", &folder.at("varnish"), "-s", "malloc,16m"]
                    .map(str::to_owned)
                    .into_iter()
                    .chain([
                        "-a".to_owned(),
                        format!("127.0.0.1:{port}"),
                        "-b".to_owned(),
                        before.to_string(),
                    ])
                    .collect();
            }
        };
        words.iter().map(|&word| word.to_owned()).collect()
    }

    fn configuration(self, port: u16, before: SocketAddr) -> String {
        match self {
            Self::Apache => {
                let modules = ["mpm_event", "authz_core", "proxy", "proxy_http"].map(|module| {
                    format!("LoadModule {module}_module /usr/lib/apache2/modules/mod_{module}.so\n")
                });
                format!(
                    "{}ServerName localhost\nListen 127.0.0.1:{port}\nDefaultRuntimeDir .\nPidFile pid\nErrorLog errors\n\
                     ProxyPass / http://{before}/\n",
                    modules.concat()
                )
            }
            Self::Caddy => format!(
                "{{\n    admin off\n    auto_https off\n}}\nhttp://127.0.0.1:{port} {{\n    bind 127.0.0.1\n    \
                 reverse_proxy {before}\n}}\n"
            ),
            Self::Haproxy => format!(
                "defaults\n    mode http\n    timeout connect 5s\n    timeout client 90s\n    timeout server 90s\n    \
                 http-reuse always\nfrontend callers\n    bind 127.0.0.1:{port}\n    default_backend producers\n\
                 backend producers\n    server one {before} pool-purge-delay 60s\n"
            ),
            Self::Nginx => {
                let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
                    .map(|of| format!("{of}_temp_path {of};\n"))
                    .concat();
                format!(
                    "daemon off;\nmaster_process off;\npid pid;\nevents {{}}\nhttp {{\n{temporary}access_log off;\n\
                     upstream producers {{ server {before}; keepalive 8; }}\nserver {{\nlisten 127.0.0.1:{port};\n\
                     client_max_body_size 0;\nlocation / {{ proxy_pass http://producers; proxy_http_version 1.1;\n\
                     proxy_set_header Connection \"\"; proxy_request_buffering off; }}\n}}\n}}\n"
                )
            }
            // All in its arguments.
            Self::Varnish => String::new(),
        }
    }
}
