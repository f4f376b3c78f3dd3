//! A demo's own database and broker names, and what an operator does with them.

use super::words::thousands;
use anyhow::{Context, Result, ensure};
use broker::{Publisher, connect};
use configuration::AmqpConfig;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use protocol::ids::ConnectionId;
use sealing::{Key, Keyring};
use serde_json::Value;
use sqlx::PgConnection;
use std::path::PathBuf;
use std::time::Duration;
use store::connections::{AccountChange, NewConnection};
use store::{SessionLimits, Store};
use testkit::database::{NamedDatabase, session};
use testkit::process::{Program, log_folder};
use testkit::servers::{Servers, delete_names};
use url::Url;

/// The longest call to the broker.
const BROKER_LIMIT: Duration = Duration::from_secs(10);

/// The longest statement. Invariants are of every row: half an hour of a soak beside other work took more than two minutes.
const LONGEST_CHECK: Duration = Duration::from_secs(20 * 60);

/// Of a stage's store, at most.
const SESSIONS: u32 = 4;

/// A demo's own database and broker names.
#[derive(Debug)]
pub struct Stage {
    /// Reads what the fleet writes.
    pub store: Store,
    /// Where the logs of the processes are.
    pub logs: PathBuf,
    /// Publishes commands, as an upstream service does.
    pub publisher: Publisher,
    database: NamedDatabase,
    amqp: AmqpConfig,
    key: Key,
}

/// A tenant with an API key and one connection, to be made.
#[derive(Clone, Debug)]
pub struct NewAccount<'a> {
    /// The tenant's name. The connection is named after its source.
    pub name: &'a str,
    /// How many of its slices are worked on at a time.
    pub max_slices: u32,
    /// The kind of source.
    pub source: &'a str,
    /// The upstream's address.
    pub base_url: &'a str,
    /// The upstream's credentials.
    pub credentials: Value,
    /// Settings of the source.
    pub settings: Value,
}

/// A tenant with an API key and one connection.
#[derive(Clone, Debug)]
pub struct Account {
    /// The tenant's name.
    pub name: String,
    /// Its connection.
    pub connection: ConnectionId,
    /// Its key for the HTTP API.
    pub key: String,
}

impl Stage {
    /// Makes the database `backhaul_{name}` and the broker names `{name}.…` anew, and migrates the database.
    ///
    /// # Errors
    /// When one of the servers is away, or the same demo runs already.
    pub async fn set(name: &str) -> Result<Self> {
        Self::set_on(name, &Servers::from_environment()?).await
    }

    /// The same on these servers.
    ///
    /// # Errors
    /// As [`Stage::set`].
    pub async fn set_on(name: &str, servers: &Servers) -> Result<Self> {
        let amqp =
            AmqpConfig { url: servers.amqp.clone(), namespace: name.to_owned(), ..AmqpConfig::default() };
        let database = NamedDatabase::create(&servers.database, &format!("backhaul_{name}")).await?;
        let limits = SessionLimits { statement_timeout: LONGEST_CHECK, ..SessionLimits::default() };
        let store = Store::new(database.url.as_str(), name, SESSIONS, limits)?;
        let logs = log_folder(&format!("{name}-logs"))?;
        for old in std::fs::read_dir(&logs)? {
            std::fs::remove_file(old?.path())?;
        }
        // Before anybody else declares them: a quorum queue that is deleted while another connection declares it may leave a
        // process behind, and then its name cannot be used until the broker is started again.
        on_a_channel(&amqp, async |channel| {
            let topology = amqp.topology();
            delete_names(channel, &topology).await?;
            Ok(broker::declare(&topology, channel, BROKER_LIMIT).await?)
        })
        .await?;
        let publisher = Publisher::start(amqp.clone(), &format!("{name} publishing"), "backhaul-demo");
        let stage = Self { store, logs, publisher, database, amqp, key: Key::generate() };
        stage.backhaul(&["migrate"], None).await?;
        Ok(stage)
    }

    /// What a shell needs for the `backhaul` command to find this demo.
    #[must_use]
    pub fn variables(&self) -> [(&'static str, String); 4] {
        [
            ("DATABASE_URL", self.database.url.to_string()),
            ("AMQP_URL", self.amqp.url.clone()),
            ("BACKHAUL__AMQP__NAMESPACE", self.amqp.namespace.clone()),
            ("BACKHAUL__CREDENTIALS__KEY", self.key.expose().to_string()),
        ]
    }

    /// One of the project's programs, told where database and broker are.
    ///
    /// # Errors
    /// When it has not been built.
    pub fn program(&self, name: &str) -> Result<Program> {
        let program = Program::service(name)?;
        Ok(program.envs(self.variables()))
    }

    /// Runs `backhaul --json …`, with the upstream's credentials in its environment if it needs them.
    ///
    /// # Errors
    /// When it fails, with what it said.
    pub async fn backhaul(&self, arguments: &[&str], credentials: Option<&Value>) -> Result<Value> {
        let mut program = self.program("backhaul")?.arg("--json");
        for argument in arguments {
            program = program.arg(argument);
        }
        if let Some(credentials) = credentials {
            program = program.env("BACKHAUL_CREDENTIALS", credentials.to_string());
        }
        let output = program.output().await?;
        let told = String::from_utf8_lossy(&output.stderr).into_owned();
        ensure!(output.status.success(), "`backhaul {}` failed: {}", arguments.join(" "), told.trim());
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Makes a connection with these credentials, without the command line.
    ///
    /// # Errors
    /// When the database refuses.
    pub async fn put_connection(&self, new: &NewConnection, credentials: &Value) -> Result<ConnectionId> {
        let keyring = Keyring::new(Some(self.key.clone()), Vec::new());
        self.store
            .connections()
            .put(new, AccountChange::Unchanged, None, |id| Ok(keyring.seal(&new.bound(id), credentials)?))
            .await
    }

    /// Makes a tenant, its API key and its connection, as an operator does.
    ///
    /// # Errors
    /// When the command line refuses.
    pub async fn account(&self, new: NewAccount<'_>) -> Result<Account> {
        let limit = new.max_slices.to_string();
        self.backhaul(&["admin", "tenant", "create", new.name, "--max-slices", &limit], None).await?;
        let key =
            self.backhaul(&["admin", "key", "create", "--tenant", new.name, "--name", "demo"], None).await?;
        let settings = new.settings.to_string();
        let put = [
            "admin",
            "connection",
            "put",
            "--tenant",
            new.name,
            "--name",
            new.source,
            "--source",
            new.source,
            "--base-url",
            new.base_url,
            "--settings",
            &settings,
        ];
        let connection = self.backhaul(&put, Some(&new.credentials)).await?;
        let text = |value: &Value| {
            value.as_str().map(ToOwned::to_owned).context("`backhaul` answered without a text")
        };
        Ok(Account {
            name: new.name.to_owned(),
            connection: text(&connection["id"])?.parse()?,
            key: text(&key["key"])?,
        })
    }

    /// How many lines of all processes' logs contain `text`.
    ///
    /// # Errors
    /// When a log cannot be read.
    pub fn logged(&self, text: &str) -> Result<usize> {
        let mut lines = 0;
        for log in std::fs::read_dir(&self.logs)? {
            lines += std::fs::read_to_string(log?.path())?.lines().filter(|line| line.contains(text)).count();
        }
        Ok(lines)
    }

    /// How many messages could never be applied.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn dead_letters(&self) -> Result<u32> {
        self.with_broker(async |stage, channel| {
            let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
            let dead = stage.amqp.topology().dead_letters();
            Ok(channel.queue_declare(dead.into(), options, FieldTable::default()).await?.message_count())
        })
        .await
    }

    /// Whatever is not as it must be, whichever way the jobs ended: broken invariants and dead letters.
    ///
    /// # Errors
    /// When one of the servers does not answer.
    pub async fn problems(&self) -> Result<Vec<String>> {
        let mut problems = self.store.broken_invariants().await?;
        match self.dead_letters().await? {
            0 => {}
            dead => problems.push(format!("{} dead letters", thousands(dead.into()))),
        }
        Ok(problems)
    }

    /// Deletes the broker's queues. The database stays, to be looked at, until the next demo.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn clear(self) -> Result<()> {
        self.delete_queues().await
    }

    /// Deletes the broker's queues and the database.
    ///
    /// # Errors
    /// When one of the servers does not answer.
    pub async fn remove(self) -> Result<()> {
        let queues = self.delete_queues().await;
        self.database.remove().await?;
        queues
    }

    async fn delete_queues(&self) -> Result<()> {
        self.publisher.close().await;
        self.store.close().await;
        self.with_broker(async |stage, channel| delete_names(channel, &stage.amqp.topology()).await).await
    }

    /// Where the broker is, and the names there.
    #[must_use]
    pub fn amqp(&self) -> &AmqpConfig {
        &self.amqp
    }

    /// The database's address.
    #[must_use]
    pub fn database(&self) -> &Url {
        &self.database.url
    }

    /// Has the store's sessions made anew that a restart of Postgres ended: each would fail once.
    pub async fn renew_sessions(&self) {
        for _session in 0..SESSIONS * 2 {
            if let Err(error) = self.store.ping().await {
                tracing::debug!(%error, "a session is gone");
            }
        }
    }

    /// A session of its own on the database, for what only a test asks.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn session(&self) -> Result<PgConnection> {
        session(&self.database.url).await
    }

    /// Does something on a channel of its own.
    ///
    /// # Errors
    /// When the broker does not answer, or the work fails.
    pub async fn with_broker<T>(
        &self,
        work: impl AsyncFnOnce(&Self, &lapin::Channel) -> Result<T>,
    ) -> Result<T> {
        on_a_channel(&self.amqp, async |channel| work(self, channel).await).await
    }
}

async fn on_a_channel<T>(
    amqp: &AmqpConfig,
    work: impl AsyncFnOnce(&lapin::Channel) -> Result<T>,
) -> Result<T> {
    let shown = || format!("no RabbitMQ at {}", amqp.shown());
    let connection = connect(amqp, "backhaul-demo setting up").await.with_context(shown)?;
    let channel = connection.create_channel().await?;
    let done = work(&channel).await;
    connection.close(200, "done".into()).await?;
    done
}
