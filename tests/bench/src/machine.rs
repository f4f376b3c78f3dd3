//! On what something was measured.

use anyhow::{Context, Result};
use stage::Stage;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use url::Url;

/// Machine, versions and build, as pairs of a name and what is to be said.
///
/// # Errors
/// When one of the servers does not answer.
pub async fn about(stage: &Stage) -> Result<Vec<(String, String)>> {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let cpu = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("unknown processor");
    let cpu = cpu.trim_start_matches([' ', '\t', ':']);
    let cores = std::thread::available_parallelism()?;
    let load = read("/proc/loadavg");
    let load = load.split_whitespace().next().unwrap_or("?");
    let kernel = read("/proc/sys/kernel/osrelease");
    let mut database = stage.session().await?;
    let postgres: String = sqlx::query_scalar("show server_version").fetch_one(&mut database).await?;
    let rabbit = rabbit_version(&stage.amqp().url).await?;
    let profile = if cfg!(debug_assertions) { "debug" } else { "release" };
    let pair = |name: &str, value: String| (name.to_owned(), value);
    Ok(vec![
        pair(
            "machine",
            format!(
                "{cores} cores of {cpu}, {} GiB, Linux {}; load average {load} at the start",
                memory("MemTotal") >> 30,
                kernel.trim()
            ),
        ),
        pair("servers", format!("PostgreSQL {postgres}, RabbitMQ {rabbit}, beside the programs")),
        pair("build", format!("backhaul {}, {profile}", env!("CARGO_PKG_VERSION"))),
    ])
}

/// So many bytes of a field of `/proc/meminfo`; 0 where there is none.
pub(super) fn memory(field: &str) -> u64 {
    bytes("/proc/meminfo", field).unwrap_or_default()
}

/// So many bytes of a field of a file in which Linux counts kibibytes.
pub(super) fn bytes(file: &str, field: &str) -> Option<u64> {
    let said = std::fs::read_to_string(file).ok()?;
    let rest = said.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
    let kibibytes: u64 = rest.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// The broker says its version in its first frame; the client library keeps it to itself.
async fn rabbit_version(url: &str) -> Result<String> {
    const FIELD: &[u8] = b"\x07versionS";
    let url = Url::parse(url).context("the broker's address is not a URL")?;
    let host = (url.host_str().unwrap_or("127.0.0.1"), url.port().unwrap_or(5672));
    let mut socket = TcpStream::connect(host).await?;
    socket.write_all(b"AMQP\0\0\x09\x01").await?;
    let mut frame = vec![0; 4096];
    let read = tokio::time::timeout(Duration::from_secs(5), socket.read(&mut frame)).await??;
    frame.truncate(read);
    let at = frame.windows(FIELD.len()).position(|window| window == FIELD).map(|at| at + FIELD.len());
    let version = at.and_then(|at| {
        let length = frame.get(at..at + 4)?.iter().fold(0, |length, byte| length << 8 | usize::from(*byte));
        Some(String::from_utf8_lossy(frame.get(at + 4..at + 4 + length)?).into_owned())
    });
    Ok(version.unwrap_or_else(|| "of an unknown version".to_owned()))
}
