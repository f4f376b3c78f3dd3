//! Programs of one version, and servers of their own to run them on. Tables are used only as far as they are the same in each
//! version that is measured.

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use sealing::Key;
use serde_json::Value;
use sqlx::{Connection as _, PgConnection};
use std::path::PathBuf;
use std::time::Duration;
use testkit::private::Private;
use testkit::process::{Program, log_folder};
use testkit::servers::Servers;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

const NAMESPACE: &str = "bench";
/// Between two looks at the database.
const LOOK: Duration = Duration::from_millis(100);
/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(900);

/// A build of the project.
#[derive(Clone, Debug)]
pub struct Build {
    /// What it is called in figures.
    pub name: String,
    /// Where its programs are.
    pub programs: PathBuf,
}

impl Build {
    /// That of the running program, after an older one if there is one to compare with.
    ///
    /// # Errors
    /// When it is not known where the running program is.
    pub fn beside(base: Option<PathBuf>, base_name: &str) -> Result<Vec<Self>> {
        let own = std::env::current_exe()?.parent().map(PathBuf::from).unwrap_or_default();
        let base = base.map(|programs| Self { name: base_name.to_owned(), programs });
        Ok(base.into_iter().chain([Self { name: "this".to_owned(), programs: own }]).collect())
    }
}

/// A build on servers of its own, as durable as any, with its schema made.
#[derive(Debug)]
pub(super) struct Deployment {
    build: Build,
    variables: [(&'static str, String); 4],
    database: String,
    channel: Channel,
    logs: PathBuf,
    _amqp: Connection,
    _servers: Private,
}

impl Deployment {
    /// Starts servers. Logs of programs go to a folder of this name.
    pub(super) async fn of(build: &Build, logs: &str) -> Result<Self> {
        sealing::install_tls_provider();
        let servers = Private::start().await?;
        let Servers { database, amqp, .. } = servers.servers()?;
        let variables = [
            ("DATABASE_URL", database.to_string()),
            ("AMQP_URL", amqp.clone()),
            ("BACKHAUL__AMQP__NAMESPACE", NAMESPACE.to_owned()),
            ("BACKHAUL__CREDENTIALS__KEY", Key::generate().expose().to_string()),
        ];
        let connection = Connection::connect(&amqp, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel.confirm_select(ConfirmSelectOptions::default()).await?;
        let deployment = Self {
            build: build.clone(),
            variables,
            database: database.to_string(),
            channel,
            logs: log_folder(logs)?,
            _amqp: connection,
            _servers: servers,
        };
        deployment.backhaul(&["migrate"]).await?;
        Ok(deployment)
    }

    /// One of the build's programs, with its settings and a log.
    pub(super) fn program(&self, name: &str) -> Program {
        let log = self.logs.join(format!("{}-{name}.log", self.build.name));
        let program = Program::at(self.build.programs.join(name)).log(log);
        self.variables.iter().fold(program, |program, (name, value)| program.env(name, value))
    }

    /// Runs a command to its end; its answer, if that is JSON.
    pub(super) async fn backhaul(&self, arguments: &[&str]) -> Result<Value> {
        let program =
            arguments.iter().fold(self.program("backhaul"), |program, argument| program.arg(argument));
        let output = program.output().await?;
        let told = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "`backhaul {}` failed: {}", arguments.join(" "), told.trim());
        Ok(serde_json::from_slice(&output.stdout).unwrap_or_default())
    }

    pub(super) async fn session(&self) -> Result<PgConnection> {
        let mut session = PgConnection::connect(&self.database).await?;
        sqlx::query("set search_path to backhaul, public").execute(&mut session).await?;
        Ok(session)
    }

    /// Makes a tenant, and returns an API key of it.
    pub(super) async fn tenant(&self, name: &str, max_slices: i32) -> Result<String> {
        sqlx::query("insert into tenants (id, name, max_slices) values ($1, $2, $3)")
            .bind(Uuid::new_v4())
            .bind(name)
            .bind(max_slices)
            .execute(&mut self.session().await?)
            .await?;
        self.key(name).await
    }

    /// Another API key of a tenant.
    pub(super) async fn key(&self, tenant: &str) -> Result<String> {
        let create = ["--json", "admin", "key", "create", "--tenant", tenant, "--name", "bench"];
        Ok(self.backhaul(&create).await?["key"].as_str().context("a key")?.to_owned())
    }

    /// Makes connections of tenants, without credentials: each with the tenant's name and its own, and an address.
    pub(super) async fn connect(
        &self,
        connections: &[(String, String)],
        base_url: &str,
        settings: Value,
    ) -> Result<Vec<Uuid>> {
        let ids: Vec<Uuid> = connections.iter().map(|_| Uuid::new_v4()).collect();
        let (tenants, names): (Vec<_>, Vec<_>) = connections.iter().cloned().unzip();
        sqlx::query(
            "insert into connections (id, tenant_id, name, source, base_url, settings)
             select given.id, tenants.id, given.name, 'paged_json', $4, $5
               from unnest($1::uuid[], $2::text[], $3::text[]) given (id, tenant, name)
               join tenants on tenants.name = given.tenant",
        )
        .bind(&ids)
        .bind(tenants)
        .bind(names)
        .bind(base_url)
        .bind(settings)
        .execute(&mut self.session().await?)
        .await?;
        Ok(ids)
    }

    /// Publishes a command, and waits for the broker's confirm.
    pub(super) async fn publish(&self, kind: &str, command: Value) -> Result<()> {
        let (exchange, key) = (format!("{NAMESPACE}.commands"), format!("sync.{kind}"));
        let properties = BasicProperties::default().with_delivery_mode(2).with_type(key.as_str().into());
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let body = command.to_string().into_bytes();
        let publish = self.channel.basic_publish(exchange.into(), key.into(), options, &body, properties);
        ensure!(publish.await?.await?.is_ack(), "a {kind} is not confirmed");
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
        let cancels = jobs.iter().map(|job| self.publish("cancel", serde_json::json!({ "job_id": job })));
        futures::future::try_join_all(cancels).await?;
        self.until("select count(*) = 0 from jobs where id = any($1) and finished_at is null", &jobs).await
    }
}
