//! scripts/services.sh on a machine with other users: no password stands among a process's arguments, which everybody can read,
//! and a server that is not ours is sent none, whatever port or arguments it has.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use testkit::clients::root;
use testkit::fixture::amqp_url;
use testkit::process::Program;
use testkit::readme::shell;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// A checkout with services of its own, which go with it. The broker is the tests' own.
struct Checkout(PathBuf);

impl Checkout {
    fn new() -> Result<Self> {
        let folder =
            std::env::temp_dir().join(format!("backhaul-checkout-{}", uuid::Uuid::new_v4().simple()));
        fs::create_dir(&folder)?;
        let copied = Command::new("cp").arg("-a").arg(root().join("scripts")).arg(&folder).status()?;
        ensure!(copied.success(), "the scripts cannot be copied");
        Ok(Self(folder))
    }

    fn script(&self) -> PathBuf {
        self.0.join("scripts/services.sh")
    }

    /// What it prints, and whether it succeeded.
    async fn services(&self, arguments: &[&str]) -> Result<(bool, String)> {
        let program = Program::at(self.script()).env("AMQP_URL", amqp_url()).env("SERVICES", "");
        let program = program.env("POSTGRES_RELEASE", "").env("RABBITMQ_RELEASE", "");
        let output =
            arguments.iter().fold(program, |program, argument| program.arg(argument)).output().await?;
        let said = [output.stdout, output.stderr].concat();
        Ok((output.status.success(), String::from_utf8(said)?))
    }

    async fn succeeds(&self, arguments: &[&str]) -> Result<String> {
        let (succeeded, said) = self.services(arguments).await?;
        ensure!(succeeded, "{arguments:?}: {said}");
        Ok(said)
    }

    /// Where its services keep what they need.
    async fn state(&self) -> Result<PathBuf> {
        let (_, said) = self.services(&["status"]).await?;
        let line = said.lines().find_map(|line| line.strip_prefix("Data:"));
        Ok(PathBuf::from(line.with_context(|| said.clone())?.trim()))
    }
}

impl Drop for Checkout {
    fn drop(&mut self) {
        let reset = Command::new(self.script()).arg("reset").env("AMQP_URL", amqp_url()).output();
        if !reset.is_ok_and(|reset| reset.status.success()) {
            tracing::error!("the services of {} were not removed", self.0.display());
        }
        drop(fs::remove_dir_all(&self.0));
    }
}

/// Every argument list that was there while it watched.
struct Watch {
    over: Over,
    seen: tokio::task::JoinHandle<BTreeSet<String>>,
}

/// Ends a watch, however the test ends.
struct Over(Arc<AtomicBool>);

impl Drop for Over {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl Watch {
    fn begin() -> Self {
        let over = Arc::<AtomicBool>::default();
        let until = Arc::clone(&over);
        let seen = tokio::task::spawn_blocking(move || {
            let mut seen = BTreeSet::new();
            while !until.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").into_iter().flatten().flatten() {
                    // A process may have ended by now.
                    if let Ok(arguments) = fs::read(entry.path().join("cmdline")) {
                        seen.insert(String::from_utf8_lossy(&arguments).into_owned());
                    }
                }
            }
            seen
        });
        Self { over: Over(over), seen }
    }

    async fn end(self) -> Result<BTreeSet<String>> {
        drop(self.over);
        Ok(self.seen.await?)
    }
}

/// Speaks as much of PostgreSQL's protocol as it takes to be sent a password in clear text, and counts those.
async fn impostor(mut client: TcpStream, stolen: Arc<AtomicUsize>) -> Result<()> {
    const TLS: u32 = 80_877_103;
    loop {
        let length = client.read_u32().await?;
        let code = client.read_u32().await?;
        let mut rest = vec![0; usize::try_from(length)?.saturating_sub(8)];
        client.read_exact(&mut rest).await?;
        if code != TLS {
            break;
        }
        client.write_all(b"N").await?;
    }
    client.write_all(b"R\0\0\0\x08\0\0\0\x03").await?;
    if client.read_u8().await? == b'p' {
        stolen.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

fn mode(file: &Path) -> Result<u32> {
    Ok(fs::metadata(file).with_context(|| file.display().to_string())?.permissions().mode() & 0o777)
}

#[tokio::test(flavor = "multi_thread")]
async fn no_password_is_an_argument_and_none_is_sent_to_an_impostor() -> Result<()> {
    let checkout = Checkout::new()?;
    let watch = Watch::begin();
    checkout.succeeds(&["up"]).await?;
    assert_eq!(checkout.succeeds(&["psql", "-Atc", "select 1 from pg_sleep(1)"]).await?.trim(), "1");
    checkout.succeeds(&["up"]).await?;
    let seen = watch.end().await?;
    let state = checkout.state().await?;
    let password = fs::read_to_string(state.join("postgres.password"))?;
    assert!(password.len() == 36 && mode(&state.join("postgres.password"))? == 0o600);
    for program in ["initdb", "psql", "pg_ctl"] {
        assert!(seen.iter().any(|arguments| arguments.contains(program)), "{program} was not seen at all");
    }
    let leaks: Vec<_> = seen.iter().filter(|arguments| arguments.contains(&password)).collect();
    assert!(leaks.is_empty(), "{leaks:?}");

    // The number of our server, but another start: it is somebody else's by now.
    let record = state.join("postgres.process");
    let recorded = fs::read_to_string(&record)?;
    let fields: Vec<_> = recorded.split_whitespace().collect();
    let [number, start, boot] = fields[..] else { anyhow::bail!("{recorded}") };
    fs::write(&record, format!("{number} {start}0 {boot}\n"))?;
    assert!(!checkout.services(&["env"]).await?.0, "its address was told");
    checkout.succeeds(&["up"]).await?;
    assert_ne!(
        fs::read_to_string(&record)?.split_whitespace().next(),
        Some(number),
        "two servers on the same data"
    );

    // Another user's process, with the arguments and on the port of a server of ours.
    checkout.succeeds(&["down"]).await?;
    let servers_user = fs::metadata(state.join("postgres"))?.uid();
    if servers_user == fs::metadata("/proc/self")?.uid() {
        tracing::warn!("NOT TESTED: only root's services run as another user than this test");
        return Ok(());
    }
    let port: u16 = fs::read_to_string(state.join("postgres.port"))?.trim().parse()?;
    let data = state.join("postgres/data");
    // It waits for a line that never comes.
    let mut alike = tokio::process::Command::new("sh");
    alike.args(["-c", "read -r line; :"]).arg(&data).stdin(Stdio::piped()).kill_on_drop(true);
    let mut alike = alike.spawn()?;
    fs::write(&record, format!("{} {start} {boot}\n", alike.id().context("it runs")?))?;
    let listener = TcpListener::bind(("127.0.0.1", port)).await?;
    let stolen = Arc::<AtomicUsize>::default();
    let counter = Arc::clone(&stolen);
    let listening = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            tokio::spawn(impostor(client, Arc::clone(&counter)));
        }
    });
    assert!(!checkout.services(&["env"]).await?.0, "the impostor's address was told");
    let answer = checkout.succeeds(&["psql", "-Atc", "select 1"]).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    listening.abort();
    alike.kill().await?;
    assert_eq!(stolen.load(Ordering::Relaxed), 0, "a password was sent to a stranger");
    let answer = answer?;
    assert!(answer.starts_with("1\n"), "{answer}");
    assert_ne!(fs::read_to_string(state.join("postgres.port"))?.trim(), port.to_string());
    Ok(())
}

#[tokio::test]
async fn a_password_is_taken_out_of_every_form_of_address() -> Result<()> {
    let lines = r#"cd -- "$HERE" && . scripts/lib/common.sh && . scripts/lib/secrets.sh
        take_password "$URL"; printf '%s\n%s\n%s' "$URL_BARE" "$URL_USER" "$URL_PASSWORD""#;
    for (url, bare, user, password) in [
        ("postgres://me:p%40ss%3A%5C@h:5/db?x=1", "postgres://me@h:5/db?x=1", "me", "p@ss:\\"),
        ("postgres://me:a@b@h1:1,h2:2/db", "postgres://me@h1:1,h2:2/db", "me", "a@b"),
        ("postgres://me@h/db?password=q%26&sslmode=x", "postgres://me@h/db?sslmode=x", "me", "q&"),
        ("postgresql:///db?host=/tmp&password=zz", "postgresql:///db?host=/tmp", "", "zz"),
        ("postgres://u:p w\\n$(id)\"@h/db", "postgres://u@h/db", "u", "p w\\n$(id)\""),
        ("amqp://guest:abc@127.0.0.1:5/%2f", "amqp://guest@127.0.0.1:5/%2f", "guest", "abc"),
        ("postgres://h/db", "postgres://h/db", "", ""),
    ] {
        let here = root().display().to_string();
        let said = shell(lines, &[("HERE", &here), ("URL", url)]).await?;
        assert_eq!(said, format!("{bare}\n{user}\n{password}"), "{url}");
    }
    Ok(())
}
