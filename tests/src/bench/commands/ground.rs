//! What bursts are measured on: servers that are as durable as any, one consumer, one producer, and connections whose pages
//! hang. Tables are used only as far as they are the same in each version.

use super::Build;
use crate::private::Private;
use crate::process::{Process, Program, log_folder};
use anyhow::{Context, Result, ensure};
use common::credentials::Key;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const NAMESPACE: &str = "bursts";
/// The connections are shared out among so many tenants.
const TENANTS: usize = 20;
/// Between two looks at jobs.
const LOOK: Duration = Duration::from_millis(100);
/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(300);

/// The ground.
#[derive(Debug)]
pub(super) struct Ground {
    pub(super) connections: Vec<Uuid>,
    pub(super) client: reqwest::Client,
    pub(super) api: String,
    /// By tenant, in the order of the connections: that of connection `n` is the `n % TENANTS`-th.
    keys: Vec<String>,
    database: String,
    channel: Channel,
    _amqp: Connection,
    _processes: [Process; 2],
    _servers: Private,
}

impl Ground {
    /// Starts everything, with so many connections, and slots for so many pages that hang.
    pub(super) async fn prepare(build: &Build, connections: usize, slots: usize) -> Result<Self> {
        let servers = Private::start().await?;
        let at = servers.servers()?;
        let sealing = Key::generate();
        let variables = [
            ("DATABASE_URL", at.database.to_string()),
            ("AMQP_URL", at.amqp.clone()),
            ("BACKHAUL__AMQP__NAMESPACE", NAMESPACE.to_owned()),
            ("BACKHAUL__CREDENTIALS__KEY", sealing.expose().to_string()),
        ];
        let set = |program: Program| {
            variables.iter().fold(program, |program, (name, value)| program.env(name, value))
        };
        run(set(build.program("backhaul")), &["migrate"]).await?;
        let upstream = hanging_upstream().await?;
        let mut session = session(at.database.as_str()).await?;
        let mut keys = Vec::new();
        for number in 0..TENANTS {
            let name = format!("tenant-{number}");
            sqlx::query("insert into tenants (id, name, max_slices) values ($1, $2, 10000)")
                .bind(Uuid::new_v4())
                .bind(&name)
                .execute(&mut session)
                .await?;
            let made = run(
                set(build.program("backhaul")),
                &["--json", "admin", "key", "create", "--tenant", &name, "--name", "bench"],
            )
            .await?;
            keys.push(made["key"].as_str().context("a key")?.to_owned());
        }
        let connections = connect(&mut session, connections, &upstream).await?;

        let logs = log_folder("bench-commands-logs")?;
        let log = |name: &str| logs.join(format!("{}-{name}.log", build.name));
        let consumer = set(build.program("consumer"))
            .env("BACKHAUL__FETCH__ALLOW_PRIVATE_ADDRESSES", "true")
            .env("BACKHAUL__PAGES__SLOTS", slots.to_string())
            .env("BACKHAUL__PAGES__BUDGET_MS", "300000")
            .env("BACKHAUL__FETCH__BYTE_BUDGET", (1_u64 << 30).to_string())
            .log(log("consumer"))
            .start()?;
        let producer = set(build.program("producer")).log(log("producer")).start()?;
        consumer.ready().await?;
        producer.ready().await?;
        let (client, api) =
            (reqwest::Client::new(), format!("http://{}/api/v1/jobs", producer.address().await?));
        for key in &keys {
            // A producer counts callers apart once it has met their keys.
            client.get(&api).bearer_auth(key).send().await?.error_for_status()?;
        }
        let amqp = Connection::connect(&at.amqp, ConnectionProperties::default()).await?;
        let channel = amqp.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        Ok(Self {
            connections,
            client,
            api,
            keys,
            database: at.database.to_string(),
            channel,
            _amqp: amqp,
            _processes: [consumer, producer],
            _servers: servers,
        })
    }

    pub(super) async fn session(&self) -> Result<PgConnection> {
        session(&self.database).await
    }

    /// The API key for the connection with this number.
    pub(super) fn key(&self, connection: usize) -> &str {
        self.keys.get(connection % TENANTS).map_or("", String::as_str)
    }

    /// Publishes a command, and waits for the broker's confirm.
    pub(super) async fn publish(&self, kind: &str, command: Value) -> Result<()> {
        let (exchange, key) = (format!("{NAMESPACE}.commands"), format!("sync.{kind}"));
        let properties = BasicProperties::default().with_delivery_mode(2).with_type(key.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = command.to_string().into_bytes();
        let confirm = self
            .channel
            .basic_publish(exchange.into(), key.into(), options, &body, properties)
            .await?
            .await?;
        ensure!(confirm.is_ack(), "a {kind} is not confirmed");
        Ok(())
    }

    /// Waits until this says so.
    pub(super) async fn until(&self, sql: &'static str, jobs: &[Uuid]) -> Result<()> {
        let (mut session, began) = (self.session().await?, Instant::now());
        while !sqlx::query_scalar::<_, bool>(sql).bind(jobs).fetch_one(&mut session).await? {
            ensure!(began.elapsed() < LONGEST, "never so: {sql}");
            sleep(LOOK).await;
        }
        Ok(())
    }

    /// Cancels whatever is not over, and waits.
    pub(super) async fn end_all(&self) -> Result<()> {
        let mut session = self.session().await?;
        let open = "select id from jobs where status in ('pending', 'running', 'cancelling')";
        let jobs: Vec<Uuid> = sqlx::query_scalar(open).fetch_all(&mut session).await?;
        let cancels = jobs.iter().map(|job| self.publish("cancel", json!({ "job_id": job })));
        futures::future::try_join_all(cancels).await?;
        self.until("select count(*) = 0 from jobs where id = any($1) and finished_at is null", &jobs).await
    }
}

async fn session(url: &str) -> Result<PgConnection> {
    let mut session = PgConnection::connect(url).await?;
    sqlx::query("set search_path to backhaul, public").execute(&mut session).await?;
    Ok(session)
}

/// Runs a command to its end; its answer, if that is JSON.
async fn run(program: Program, arguments: &[&str]) -> Result<Value> {
    let program = arguments.iter().fold(program, |program, argument| program.arg(argument));
    let output = program.output().await?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "`backhaul {}` failed: {}", arguments.join(" "), told.trim());
    Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
}

/// An upstream that takes connections, and never answers.
async fn hanging_upstream() -> Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((socket, _)) = listener.accept().await {
            held.push(socket);
        }
    });
    Ok(format!("http://{address}"))
}

/// Connections without credentials, shared out among the tenants.
async fn connect(session: &mut PgConnection, number: usize, upstream: &str) -> Result<Vec<Uuid>> {
    let settings = json!({
        "path": "/records", "records": { "pointer": "/records", "id": "/id" },
        "next": { "style": "next_url", "pointer": "/next" },
    });
    let ids: Vec<Uuid> = (0..number).map(|_| Uuid::new_v4()).collect();
    sqlx::query(
        "insert into connections (id, tenant_id, name, source, base_url, settings)
         select g.id, t.id, 'connection ' || g.nth, 'paged_json', $2, $3
           from unnest($1::uuid[]) with ordinality g (id, nth)
           join tenants t on t.name = 'tenant-' || (g.nth - 1) % $4",
    )
    .bind(&ids)
    .bind(upstream)
    .bind(settings)
    .bind(i64::try_from(TENANTS)?)
    .execute(session)
    .await?;
    Ok(ids)
}
