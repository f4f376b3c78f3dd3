//! A database per test: copied from a template that was migrated once, dropped at the end.

use anyhow::{Context, Result, ensure};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, Executor};
use std::time::{SystemTime, UNIX_EPOCH};
use store::{SCHEMA, SessionLimits, Store};
use url::Url;
use uuid::Uuid;

/// Databases that a test left behind (it failed, or was killed) are dropped by a later one after this many seconds.
const LEFT_BEHIND_AFTER: u64 = 3600;

/// A fresh database with all migrations.
#[derive(Debug)]
pub struct Database {
    admin: Url,
    name: String,
    /// Direct access, for what only a test does: triggers that fail, rows that lie.
    pub pool: PgPool,
}

/// The server that tests use.
pub fn database_url() -> String {
    std::env::var("DATABASE_URL")
        .unwrap_or_else(|_unset| "postgres://postgres@127.0.0.1:5432/postgres".to_owned())
}

impl Database {
    /// Makes one on the server that tests use.
    pub async fn create() -> Result<Self> {
        Self::create_on(database_url().parse().context("DATABASE_URL is not a URL")?).await
    }

    /// Makes one on the server of this address.
    pub async fn create_on(admin: Url) -> Result<Self> {
        let mut connection = connect(&admin).await?;
        let template = template(&admin, &mut connection).await?;
        Self::copy(admin, connection, &template).await
    }

    /// Makes one without anything in it.
    pub async fn create_empty() -> Result<Self> {
        let admin = database_url().parse().context("DATABASE_URL is not a URL")?;
        let connection = connect(&admin).await?;
        Self::copy(admin, connection, "template0").await
    }

    async fn copy(admin: Url, mut connection: PgConnection, template: &str) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        let name = format!("backhaul_test_{now}_{}", Uuid::new_v4().simple());
        drop_left_behind(&mut connection, now).await?;
        execute(&mut connection, format!("create database {name} template {template} strategy file_copy"))
            .await?;
        connection.close().await?;
        let pool =
            PgPoolOptions::new().max_connections(2).connect_lazy_with(finding_tables(&at(&admin, &name))?);
        Ok(Self { admin, name, pool })
    }

    /// Its address.
    pub fn url(&self) -> Url {
        at(&self.admin, &self.name)
    }

    /// A store on it, through `url` (which may lead through a proxy).
    pub fn store_at(url: &Url) -> Result<Store> {
        Ok(Store::new(url.as_str(), "backhaul-test", 4, SessionLimits::default())?)
    }

    /// Runs statements as they are.
    pub async fn execute(&self, sql: &str) -> Result<()> {
        self.pool.execute(AssertSqlSafe(sql.to_owned())).await?;
        Ok(())
    }

    /// Drops it.
    pub async fn remove(self) -> Result<()> {
        self.pool.close().await;
        let mut connection = connect(&self.admin).await?;
        execute(&mut connection, format!("drop database if exists {} with (force)", self.name)).await?;
        Ok(connection.close().await?)
    }
}

/// A database of a fixed name, which outlives its owner and is made anew by the next.
#[derive(Debug)]
pub struct NamedDatabase {
    /// Its address.
    pub url: Url,
    admin: Url,
    /// Holds the name: a second owner would drop the database under the first.
    _owner: PgConnection,
}

impl NamedDatabase {
    /// Makes it on the server of this address, empty, in the place of the one that an earlier owner left.
    ///
    /// # Errors
    /// When another process uses that name, or the server refuses.
    pub async fn create(admin: &Url, name: &str) -> Result<Self> {
        let mut owner = connect(admin).await?;
        let lock = "select pg_try_advisory_lock(hashtextextended($1, 0))";
        let ours: bool = sqlx::query_scalar(lock).bind(name).fetch_one(&mut owner).await?;
        ensure!(ours, "the database {name} is in use by another run of this program; end that one first");
        execute(&mut owner, format!("drop database if exists {name} with (force)")).await?;
        execute(&mut owner, format!("create database {name}")).await?;
        Ok(Self { url: at(admin, name), admin: admin.clone(), _owner: owner })
    }
}

impl NamedDatabase {
    /// Drops it.
    ///
    /// # Errors
    /// When the server does not answer.
    pub async fn remove(self) -> Result<()> {
        let name = self.url.path().trim_start_matches('/');
        // The server may have been restarted since, and the owner's session be gone.
        let mut connection = connect(&self.admin).await?;
        execute(&mut connection, format!("drop database if exists {name} with (force)")).await?;
        Ok(connection.close().await?)
    }
}

/// A session that finds the tables, as the store's own do.
///
/// # Errors
/// When the database does not answer.
pub async fn session(database: &Url) -> Result<PgConnection> {
    Ok(finding_tables(database)?.connect().await?)
}

fn finding_tables(database: &Url) -> Result<PgConnectOptions> {
    let options: PgConnectOptions = database.as_str().parse()?;
    Ok(options.options([("search_path", SCHEMA)]))
}

fn at(admin: &Url, name: &str) -> Url {
    let mut url = admin.clone();
    url.set_path(name);
    url
}

async fn connect(url: &Url) -> Result<PgConnection> {
    let options: PgConnectOptions = url.as_str().parse()?;
    options.connect().await.with_context(|| {
        format!(
            "no PostgreSQL at {}; `make test` and `make demo` start one, unless DATABASE_URL names another",
            configuration::mask_url(url.as_str())
        )
    })
}

async fn execute(connection: &mut PgConnection, sql: String) -> Result<()> {
    connection.execute(AssertSqlSafe(sql)).await?;
    Ok(())
}

/// The migrated template; its name changes with the migrations. Made by whoever comes first.
async fn template(admin: &Url, connection: &mut PgConnection) -> Result<String> {
    let name = format!("backhaul_template_{}", migrations_hash());
    let ready = "select exists (select from pg_database where datname = $1 and datistemplate)";
    if sqlx::query_scalar(ready).bind(&name).fetch_one(&mut *connection).await? {
        return Ok(name);
    }
    execute(connection, "select pg_advisory_lock(7264839125)".to_owned()).await?;
    if !sqlx::query_scalar::<_, bool>(ready).bind(&name).fetch_one(&mut *connection).await? {
        execute(connection, format!("drop database if exists {name} with (force)")).await?;
        execute(connection, format!("create database {name}")).await?;
        let store = Database::store_at(&at(admin, &name))?;
        store.migrate().await?;
        store.close().await;
        execute(connection, format!("alter database {name} with is_template true allow_connections false"))
            .await?;
    }
    execute(connection, "select pg_advisory_unlock(7264839125)".to_owned()).await?;
    Ok(name)
}

fn migrations_hash() -> String {
    let mut hasher = blake3::Hasher::new();
    for migration in Store::migrations() {
        hasher.update(migration.as_bytes());
    }
    hasher.finalize().to_hex()[..16].to_owned()
}

async fn drop_left_behind(connection: &mut PgConnection, now: u64) -> Result<()> {
    let names: Vec<String> =
        sqlx::query_scalar("select datname from pg_database where datname like 'backhaul\\_test\\_%'")
            .fetch_all(&mut *connection)
            .await?;
    for name in names {
        let made: Option<u64> = name.split('_').nth(2).and_then(|made| made.parse().ok());
        if made.is_some_and(|made| made + LEFT_BEHIND_AFTER < now) {
            execute(connection, format!("drop database if exists {name} with (force)")).await?;
        }
    }
    Ok(())
}
