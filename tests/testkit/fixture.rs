//! What an end-to-end test stands on: its own database, its own topology namespace, its own sample upstream, and
//! consumers in this process. It ends by checking the invariants.

use crate::database::Database;
use crate::process::Program;
use crate::proxy::FaultProxy;
use crate::quick::QUICK;
use crate::sample_upstream::{Options, SampleUpstream, TenantOptions};
use crate::servers::{Servers, delete_names};
use anyhow::{Context, Result, ensure};
use broker::{Destination, Envelope, Publisher};
use configuration::AmqpConfig;
use configuration::{Settings, load_from};
use consumer::worker::Worker;
use futures::TryStreamExt;
use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;
use protocol::command::{CancelCommand, StartCommand};
use protocol::ids::{ConnectionId, JobId, TenantId, WorkerId};
use protocol::job::JobStatus;
use protocol::topology::WorkQueue;
use runtime::health::Health;
use runtime::telemetry::Metrics;
use sealing::Keyring;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sources::FetchConfig;
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use store::Store;
use store::commands::CommandKind;
use store::connections::{AccountChange, NewConnection};
use store::jobs::{JobView, StartOutcome, StartRequest};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;
use uuid::Uuid;

/// A condition that is not met by then never will be.
const LONGEST: Duration = Duration::from_secs(60);
/// Between two looks at the database.
const LOOK: Duration = Duration::from_millis(10);

/// The broker that tests use.
pub fn amqp_url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_unset| "amqp://guest:guest@127.0.0.1:5672/%2f".to_owned())
}

/// Seals the credentials of every test's connections.
pub const CREDENTIALS_KEY: &str = "dGhlIGtleSBvZiB0ZXN0cywgMzIgYnl0ZXMgbG9uZyE=";

/// A test's world.
#[derive(Debug)]
pub struct Fixture {
    /// The database.
    pub database: Database,
    /// A store on it.
    pub store: Store,
    /// The prefix of every exchange and queue.
    pub namespace: String,
    /// The upstream.
    pub upstream: SampleUpstream,
    /// Publishes commands, as an upstream service would.
    pub publisher: Publisher,
    pub(crate) amqp: AmqpConfig,
    dead_letters: u32,
}

/// A consumer that runs in this process.
#[derive(Debug)]
pub struct Consumer {
    /// Who it is.
    pub id: WorkerId,
    /// Where it serves health, readiness and metrics.
    pub address: std::net::SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<Result<()>>,
}

/// A connection of a tenant of the sample upstream.
#[derive(Clone, Copy, Debug)]
pub struct Account {
    /// The tenant.
    pub tenant: TenantId,
    /// The connection.
    pub connection: ConnectionId,
}

impl Fixture {
    /// A world whose upstream has one tenant, `acme`, with this many calls.
    pub async fn with_calls(calls: u64) -> Result<Self> {
        Self::start(Options::new([TenantOptions::new("acme", calls)])).await
    }

    /// A world with this upstream.
    pub async fn start(options: Options) -> Result<Self> {
        Self::start_on(&Servers::from_environment()?, options).await
    }

    /// The same on these servers: private ones, for a test that harms them.
    pub async fn start_on(servers: &Servers, options: Options) -> Result<Self> {
        sealing::install_tls_provider();
        log_to_the_test();
        let database = Database::create_on(servers.database.clone()).await?;
        let store = Database::store_at(&database.url())?;
        let namespace = format!("test_{}", Uuid::new_v4().simple());
        let amqp = amqp_config(&servers.amqp, &namespace)?;
        let publisher = Publisher::start(amqp.clone(), &format!("{namespace} publishing"), "backhaul-test");
        let upstream = SampleUpstream::start(options).await?;
        Ok(Self { database, store, namespace, upstream, publisher, amqp, dead_letters: 0 })
    }

    /// Makes a tenant of the same name as the upstream's, and its connection. `settings` are merged into small pages.
    pub async fn account(&self, name: &str, settings: Value) -> Result<Account> {
        self.account_at(name, &self.upstream.base_url(), settings).await
    }

    /// As [`Self::account`], at another address (through a proxy).
    pub async fn account_at(&self, name: &str, base_url: &str, settings: Value) -> Result<Account> {
        let tenant = self.store.tenants().create(name, 16).await?.id;
        let mut merged = json!({ "page_size": 10 });
        for (key, value) in settings.as_object().context("settings are an object")? {
            merged[key] = value.clone();
        }
        let new = NewConnection {
            tenant,
            name: name.to_owned(),
            source: "ultravox".to_owned(),
            base_url: base_url.to_owned(),
            settings: merged,
        };
        let connection = self.put_connection(&new, &json!({ "api_key": self.upstream.key(name) })).await?;
        Ok(Account { tenant, connection })
    }

    /// Stores a connection with these credentials.
    pub async fn put_connection(&self, new: &NewConnection, credentials: &Value) -> Result<ConnectionId> {
        let keyring = self.keyring()?;
        self.store
            .connections()
            .put(new, AccountChange::Unchanged, None, |id| Ok(keyring.seal(&new.bound(id), credentials)?))
            .await
    }

    /// The keys of this world.
    pub fn keyring(&self) -> Result<Keyring> {
        Ok(self.settings()?.credentials.keyring()?)
    }

    /// Settings with every time scaled down, so that a test sees in a second what production sees in minutes.
    pub fn settings(&self) -> Result<Settings> {
        let url = self.database.url();
        self.settings_at(&url, &self.amqp.url)
    }

    /// As [`Self::settings`], with leases that outlast the test: on a machine under load none expires by accident.
    pub fn unhurried(&self) -> Result<Settings> {
        let mut settings = self.settings()?;
        settings.leases.duration = Duration::from_secs(300);
        Ok(settings)
    }

    /// As [`Self::settings`], with other addresses (through proxies).
    pub fn settings_at(&self, database: &Url, amqp: &str) -> Result<Settings> {
        Ok(Settings::read(&load_from(None, self.environment_at(database, amqp))?)?)
    }

    /// The same as environment variables of a process.
    pub fn environment(&self) -> HashMap<String, String> {
        self.environment_at(&self.database.url(), &self.amqp.url)
    }

    /// As [`Self::environment`], with other addresses (through proxies).
    pub fn environment_at(&self, database: &Url, amqp: &str) -> HashMap<String, String> {
        let values = [
            ("DATABASE__URL", database.as_str()),
            ("AMQP__URL", amqp),
            ("AMQP__NAMESPACE", &self.namespace),
            ("CREDENTIALS__KEY", CREDENTIALS_KEY),
            ("FETCH__ALLOW_PRIVATE_ADDRESSES", "true"),
        ];
        let values = values.iter().chain(QUICK);
        values.map(|(key, value)| (format!("BACKHAUL__{key}"), (*value).to_owned())).collect()
    }

    /// A proxy in front of the database, and the database's address through it; in clear, so that the proxy can read.
    pub async fn database_proxy(&self) -> Result<(FaultProxy, Url)> {
        let (proxy, mut url) = FaultProxy::before(&self.database.url(), 5432).await?;
        url.query_pairs_mut().append_pair("sslmode", "disable");
        Ok((proxy, url))
    }

    /// A real producer process, with scaled settings, to be started.
    pub fn producer_program(&self) -> Result<Program> {
        Ok(Program::built("producer")?.envs(self.environment()))
    }

    /// A real consumer process, with scaled settings, to be started.
    pub fn consumer_program(&self) -> Result<Program> {
        Ok(Program::built("consumer")?.envs(self.environment()))
    }

    /// Starts a consumer with scaled settings.
    pub async fn consumer(&self) -> Result<Consumer> {
        self.consumer_with(self.settings()?).await
    }

    /// Starts a consumer with these settings, and waits until it consumes.
    pub async fn consumer_with(&self, settings: Settings) -> Result<Consumer> {
        let consumer = Self::spawn(settings).await?;
        consumer.ready().await?;
        Ok(consumer)
    }

    /// Starts a consumer without waiting for it.
    pub async fn spawn(settings: Settings) -> Result<Consumer> {
        Self::spawn_fetching(settings, FetchConfig::default()).await
    }

    /// As [`Self::spawn`], with these limits of fetching. The sample upstream is on loopback, so private addresses are
    /// allowed in any case.
    pub async fn spawn_fetching(mut settings: Settings, limits: FetchConfig) -> Result<Consumer> {
        settings.fetch = FetchConfig { allow_private_addresses: true, ..limits };
        Self::run(Worker::new(settings)?).await
    }

    /// Runs a worker without waiting for it.
    pub async fn run(worker: Worker) -> Result<Consumer> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let shutdown = CancellationToken::new();
        let id = worker.id();
        let health = Health::new(Metrics::detached());
        let task = tokio::spawn(worker.run(listener, health, shutdown.clone()));
        Ok(Consumer { id, address, shutdown, task })
    }

    /// Publishes a start command. Returns the job's identifier, chosen here.
    pub async fn publish_start(&self, connection: ConnectionId) -> Result<JobId> {
        let job = JobId::random();
        self.publish_start_command(&Self::start_command(connection, job)).await?;
        Ok(job)
    }

    /// Accepts a job as the HTTP API does, but its start command is never published: a sweeper has to find it.
    pub async fn accept(&self, connection: ConnectionId) -> Result<JobId> {
        let request = StartRequest {
            job: JobId::random(),
            connection,
            tenant: None,
            date_from: None,
            date_to: None,
            mode: protocol::job::JobMode::Range,
            on_conflict: protocol::command::OnConflict::Reject,
            name: None,
            requested_by: None,
            command: None,
            schema: None,
            documents: Vec::new(),
        };
        let outcome = self.store.jobs().start(&request).await?;
        ensure!(outcome == StartOutcome::Accepted(request.job), "the start is refused: {outcome:?}");
        Ok(request.job)
    }

    /// A start command with a chosen job and nothing else.
    #[must_use]
    pub fn start_command(connection: ConnectionId, job: JobId) -> StartCommand {
        StartCommand {
            connection_id: connection,
            job_id: Some(job),
            command_id: None,
            date_from: None,
            date_to: None,
            mode: protocol::job::JobMode::Range,
            on_conflict: protocol::command::OnConflict::Reject,
            name: None,
            schema_id: None,
            document_ids: None,
            requested_by: None,
        }
    }

    /// Publishes a start command as it is.
    pub async fn publish_start_command(&self, command: &StartCommand) -> Result<()> {
        let envelope = Envelope::new(Destination::StartCommand, "sync.start", serde_json::to_vec(command)?);
        Ok(self.publisher.publish(envelope).await?)
    }

    /// Publishes a cancel of a job.
    pub async fn publish_cancel(&self, job: JobId, reason: &str) -> Result<()> {
        let reason = Some(reason.to_owned());
        self.publish_cancel_command(&CancelCommand { job_id: Some(job), reason, ..CancelCommand::default() })
            .await
    }

    /// Publishes a cancel command as it is.
    pub async fn publish_cancel_command(&self, command: &CancelCommand) -> Result<()> {
        let envelope = Envelope::new(Destination::CancelCommand, "sync.cancel", serde_json::to_vec(command)?);
        Ok(self.publisher.publish(envelope).await?)
    }

    /// Waits until a job is as `enough` says.
    pub async fn until(&self, job: JobId, mut enough: impl FnMut(&JobView) -> bool) -> Result<JobView> {
        let mut last = None;
        let met = tokio::time::timeout(LONGEST, async {
            loop {
                match self.store.jobs().get(job, None).await {
                    Ok(Some(view)) if enough(&view) => return anyhow::Ok(view),
                    Ok(Some(view)) => last = Some(view),
                    Ok(None) => {}
                    // The test may have broken the database itself.
                    Err(error) if error.is_transient() => {}
                    Err(error) => return Err(error.into()),
                }
                tokio::time::sleep(LOOK).await;
            }
        })
        .await;
        met.unwrap_or_else(|_elapsed| Err(anyhow::anyhow!("the job never came to it; it is {last:#?}")))
    }

    /// Waits until a job is over, and demands this end.
    pub async fn until_over(&self, job: JobId, status: JobStatus) -> Result<JobView> {
        let view = self.until(job, |view| view.status.is_terminal()).await?;
        ensure!(view.status == status, "the job is {:?}, not {status:?}: {view:#?}", view.status);
        Ok(view)
    }

    /// Waits until a command has been applied, and returns what it was answered.
    pub async fn answer<T: DeserializeOwned>(&self, kind: CommandKind, command_id: &str) -> Result<T> {
        let answered = tokio::time::timeout(LONGEST, async {
            loop {
                if let Some(answer) = self.store.commands().answer(kind, command_id).await? {
                    return anyhow::Ok(answer);
                }
                tokio::time::sleep(LOOK).await;
            }
        });
        answered.await.with_context(|| format!("the command {command_id} was never applied"))?
    }

    /// Waits until a statement that gives one boolean gives true.
    pub async fn until_sql(&self, sql: &'static str) -> Result<()> {
        let met = tokio::time::timeout(LONGEST, async {
            while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&self.database.pool).await? {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        });
        met.await.with_context(|| format!("never true: {sql}"))?
    }

    /// Demands that exactly the upstream's finished calls of this tenant are stored, with exactly their content.
    pub async fn exact(&self, account: Account, name: &str) -> Result<()> {
        let stored: BTreeMap<String, Vec<u8>> = self
            .store
            .connections()
            .record_hashes(account.connection)
            .map_ok(|record| (record.external_id, record.hash))
            .try_collect()
            .await?;
        let expected: BTreeMap<String, Vec<u8>> = self
            .upstream
            .expected(name, crate::sample_upstream::Span::ALL)
            .filter(|call| !call.running)
            .map(|call| (call.id, call.hash.to_vec()))
            .collect();
        let missing = expected.iter().filter(|(id, hash)| stored.get(*id) != Some(hash)).count();
        let foreign = stored.keys().filter(|id| !expected.contains_key(*id)).count();
        ensure!(
            missing == 0 && foreign == 0,
            "of {} expected records {missing} are missing or differ, and {foreign} of {} stored ones are foreign",
            expected.len(),
            stored.len()
        );
        Ok(())
    }

    /// How many messages are ready in the dead-letter queue.
    pub async fn dead_letters(&self) -> Result<u32> {
        self.ready(&self.amqp.topology().dead_letters()).await
    }

    /// How many messages are ready in a work queue.
    pub async fn waiting(&self, queue: WorkQueue) -> Result<u32> {
        self.ready(&self.amqp.topology().queue(queue)).await
    }

    async fn ready(&self, queue: &str) -> Result<u32> {
        let connection = broker::connect(&self.amqp, "backhaul-test counting").await?;
        let channel = connection.create_channel().await?;
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::default() };
        let count =
            channel.queue_declare(queue.into(), options, FieldTable::default()).await?.message_count();
        connection.close(200, "counted".into()).await?;
        Ok(count)
    }

    /// Says that this many dead letters are part of the test.
    pub fn expect_dead_letters(&mut self, number: u32) {
        self.dead_letters = number;
    }

    /// Ends the world: checks the invariants and the dead-letter queue, then removes everything.
    pub async fn finish(self, consumers: impl IntoIterator<Item = Consumer>) -> Result<()> {
        for consumer in consumers {
            consumer.stop().await?;
        }
        let broken = self.store.broken_invariants().await?;
        ensure!(broken.is_empty(), "broken invariants:\n{}", broken.join("\n"));
        let connection = broker::connect(&self.amqp, "backhaul-test ending").await?;
        let channel = connection.create_channel().await?;
        broker::declare(&self.amqp.topology(), &channel, LONGEST).await?;
        let dead = self.dead_letters().await?;
        ensure!(dead == self.dead_letters, "{dead} dead letters instead of {}", self.dead_letters);
        self.publisher.close().await;
        delete_names(&channel, &self.amqp.topology()).await?;
        connection.close(200, "done".into()).await?;
        self.store.close().await;
        self.database.remove().await
    }
}

/// What the code under test says shows when the test fails; `RUST_LOG` chooses how much of it.
fn log_to_the_test() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env()
        .unwrap_or_else(|_unset| "info,lapin=warn".into());
    // A second call in one process finds the first one's subscriber in place, which is as good.
    drop(tracing_subscriber::fmt().with_env_filter(filter).with_test_writer().try_init());
}

fn amqp_config(url: &str, namespace: &str) -> Result<AmqpConfig> {
    let environment = HashMap::from([
        ("BACKHAUL__AMQP__URL".to_owned(), url.to_owned()),
        ("BACKHAUL__AMQP__NAMESPACE".to_owned(), namespace.to_owned()),
    ]);
    Ok(load_from(None, environment)?.section("amqp")?)
}

impl Consumer {
    /// Waits until it is ready: its consumers are registered, and its canary has come back.
    pub async fn ready(&self) -> Result<()> {
        let ready = tokio::time::timeout(LONGEST, async {
            while self.get("readyz").await?.0 != 200 {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        });
        ready.await.context("the consumer was never ready")?
    }

    /// Waits until it is not ready any more: it drains, or has lost the broker.
    pub async fn unready(&self) -> Result<()> {
        let unready = tokio::time::timeout(LONGEST, async {
            while self.get("readyz").await?.0 == 200 {
                tokio::time::sleep(LOOK).await;
            }
            anyhow::Ok(())
        });
        unready.await.context("the consumer was ready all the time")?
    }

    /// Waits until it is not ready, and says this among the reasons.
    pub async fn unready_because(&self, text: &str) -> Result<()> {
        let mut last = String::new();
        let unready = tokio::time::timeout(LONGEST, async {
            loop {
                let (status, body) = self.get("readyz").await?;
                if status == 503 && body.contains(text) {
                    return anyhow::Ok(());
                }
                last = body;
                tokio::time::sleep(LOOK).await;
            }
        });
        unready
            .await
            .with_context(|| format!("the consumer never said {text:?}; its last words were {last}"))?
    }

    /// Asks its listener.
    pub async fn get(&self, path: &str) -> Result<(u16, String)> {
        let answer = reqwest::get(format!("http://{}/{path}", self.address)).await?;
        Ok((answer.status().as_u16(), answer.text().await?))
    }

    /// Begins its shutdown, as SIGTERM does.
    pub fn terminate(&self) {
        self.shutdown.cancel();
    }

    /// Ends it in good order.
    pub async fn stop(self) -> Result<()> {
        self.shutdown.cancel();
        tokio::time::timeout(LONGEST, self.task).await.context("the consumer never ended")??
    }
}
