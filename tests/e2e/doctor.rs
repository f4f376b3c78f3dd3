//! `backhaul doctor`, on services that are well and on ones that are not.

use anyhow::{Context, Result};
use configuration::AmqpConfig;
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::FieldTable;
use protocol::ids::ConnectionId;
use sealing::{Key, Keyring};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::time::Duration;
use store::connections::{AccountChange, NewConnection};
use testkit::clients::Management;
use testkit::command_line::backhaul;
use testkit::fixture::{Fixture, amqp_url};

/// Nothing listens there.
const CLOSED: &str = "127.0.0.1:1";

/// What it says without one.
const NO_CONSUMER: &str = "no consumer runs in the namespace";

/// What it found, and its exit status.
struct Diagnosis {
    code: Option<i32>,
    told: Value,
}

impl Diagnosis {
    async fn of(environment: &HashMap<String, String>) -> Result<Self> {
        let ran = backhaul(environment, &["doctor", "--json"]).await?;
        Ok(Self { code: ran.code, told: ran.json()? })
    }

    /// The checks of this verdict, as text. Most tests have no consumer, and only some of them are about that.
    fn all(&self, verdict: &str) -> Vec<String> {
        let checks = self.told["checks"].as_array().into_iter().flatten();
        let checks = checks.filter(|check| check["verdict"] == verdict);
        checks.map(ToString::to_string).filter(|check| !check.contains(NO_CONSUMER)).collect()
    }

    fn finds_no_consumer(&self) -> bool {
        self.code == Some(1) && self.told.to_string().contains(NO_CONSUMER)
    }

    /// Demands that nothing failed, beside that there is no consumer.
    fn finds_nothing_else(&self) {
        assert_eq!(self.all("failed"), Vec::<String>::new(), "{:#}", self.told);
    }

    /// Demands exactly one failed check, which says all of this.
    fn fails_with(&self, parts: &[&str]) {
        let failed = self.all("failed");
        assert_eq!((self.code, failed.len()), (Some(1), 1), "{:#}", self.told);
        assert_eq!(self.told["healthy"], json!(false));
        assert!(parts.iter().all(|part| failed[0].contains(part)), "{parts:?}: {}", failed[0]);
    }

    fn warns_of(&self, part: &str) -> bool {
        self.all("warning").iter().any(|warning| warning.contains(part))
    }
}

fn with(fixture: &Fixture, changes: &[(&str, &str)]) -> HashMap<String, String> {
    let mut environment = fixture.environment();
    environment.extend(changes.iter().map(|(key, value)| (format!("BACKHAUL__{key}"), (*value).to_owned())));
    environment
}

#[tokio::test]
async fn healthy_services_pass() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    fixture.account("acme", json!({})).await?;
    let alone = Diagnosis::of(&fixture.environment()).await?;
    alone.finds_nothing_else();
    assert!(alone.finds_no_consumer(), "{:#}", alone.told);

    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.until_sql("select count(*) = 11 and bool_and(succeeded_at is not null) from sweeps").await?;
    let ran = backhaul(&fixture.environment(), &["doctor"]).await?;
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    for part in [
        "✓ configuration: readable",
        "✓ database: PostgreSQL",
        "✓ database: the schema backhaul has exactly",
        "✓ database: this user may read and write",
        "✓ database: the settings of a session",
        "✓ database: nobody else has default privileges on the schema backhaul",
        "✓ credentials: every consumer knows every key",
        "✓ database: its clock is",
        "sessions are in use",
        "✓ workers: 1 alive",
        "✓ sweeper: 11 duties",
        "✓ credentials: 1 connections",
        "✓ broker: amqp://guest:***@",
        "✓ broker: this user may declare, bind, publish and consume",
        "✓ topology: 11 of 11",
        ".pages: 0 messages wait, 1 consumers",
        ".dead is empty",
        "0 failed",
    ] {
        assert!(ran.stdout.contains(part), "{part} is not in:\n{}", ran.stdout);
    }
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn what_cannot_be_reached_is_named_and_the_rest_is_checked() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let nowhere = format!("postgres://me:s3cret@{CLOSED}/x");
    let closed = Diagnosis::of(&with(&fixture, &[("DATABASE__URL", &nowhere)])).await?;
    closed.fails_with(&[
        "database",
        "cannot be reached at postgres://me:***@127.0.0.1:1/x",
        "start the server",
    ]);
    assert!(!closed.told.to_string().contains("s3cret"));
    assert!(closed.all("ok").iter().any(|check| check.contains("declare, bind")), "{:#}", closed.told);

    let mut other = fixture.database.url();
    other.set_path("no_such_database");
    let absent = Diagnosis::of(&with(&fixture, &[("DATABASE__URL", other.as_str())])).await?;
    absent.fails_with(&["no_such_database", "createdb"]);

    let nowhere = format!("amqp://me:s3cret@{CLOSED}/%2f");
    let closed = Diagnosis::of(&with(&fixture, &[("AMQP__URL", &nowhere)])).await?;
    closed.fails_with(&["broker", "cannot be reached at amqp://me:***@127.0.0.1:1", "AMQP_URL"]);
    assert!(
        closed.all("ok").iter().any(|check| check.contains("has exactly this version")),
        "{:#}",
        closed.told
    );

    let misspelt = Diagnosis::of(&with(&fixture, &[("PAGES__SLOT", "3")])).await?;
    misspelt.fails_with(&["pages.slot", "nothing else can be checked"]);
    let contradiction = Diagnosis::of(&with(&fixture, &[("CANCEL__DEADLINE_MS", "300")])).await?;
    contradiction.fails_with(&["cancel.deadline_ms (300)", "leases.renew_every_ms (300)"]);
    let no_key = Diagnosis::of(&with(&fixture, &[("CREDENTIALS__KEY", "czNjcmV0")])).await?;
    no_key.fails_with(&["credentials.key has 6 bytes", "generate-key"]);
    fixture.finish([]).await
}

#[tokio::test]
async fn migrations_are_compared() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let environment = fixture.environment();
    fixture.database.execute("create table kept as table _sqlx_migrations").await?;

    let newer = "insert into _sqlx_migrations (version, description, success, checksum, execution_time)
                 values (9999, 'of the future', true, '', 0)";
    fixture.database.execute(newer).await?;
    let ahead = Diagnosis::of(&environment).await?;
    ahead.finds_nothing_else();
    assert!(ahead.warns_of("serves this one, too: migrations 9999"), "{:#}", ahead.told);
    fixture.database.execute("update compatibility set serves_from = 9999").await?;
    Diagnosis::of(&environment).await?.fails_with(&["newer version", "9999", "too old"]);
    fixture.database.execute("update compatibility set serves_from = 3").await?;
    fixture.database.execute("delete from _sqlx_migrations where version = 9999").await?;
    fixture.database.execute("update _sqlx_migrations set checksum = '\\x00' where version = 1").await?;
    Diagnosis::of(&environment).await?.fails_with(&["another text", "migrations 1"]);
    fixture.database.execute("delete from _sqlx_migrations where version = 1").await?;
    Diagnosis::of(&environment).await?.fails_with(&["not applied: migrations 1", "backhaul migrate"]);
    fixture.database.execute("drop table _sqlx_migrations").await?;
    Diagnosis::of(&environment).await?.fails_with(&["not applied: migrations 1", "backhaul migrate"]);
    fixture.database.execute("alter table kept rename to _sqlx_migrations").await?;

    fixture
        .database
        .execute("update repeatable_migrations set hash = sha256('') where name = '020_walk'")
        .await?;
    Diagnosis::of(&environment).await?.fails_with(&["another version: 020_walk", "backhaul migrate"]);
    fixture.store.migrate().await?;
    Diagnosis::of(&environment).await?.finds_nothing_else();
    fixture.finish([]).await
}

#[tokio::test]
async fn a_queue_of_another_type_is_found_and_a_missing_one_is_a_warning() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let namespace = format!("{}_other", fixture.namespace);
    let environment = with(&fixture, &[("AMQP__NAMESPACE", &namespace)]);
    let empty = Diagnosis::of(&environment).await?;
    empty.finds_nothing_else();
    assert!(
        empty.warns_of(&format!("{namespace}.pages")) && empty.warns_of("start a consumer"),
        "{:#}",
        empty.told
    );

    let config = AmqpConfig { url: amqp_url(), namespace: namespace.clone(), ..AmqpConfig::default() };
    let connection = broker::connect(&config, "backhaul-test").await?;
    let channel = connection.create_channel().await?;
    let classic = format!("{namespace}.pages");
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(classic.as_str().into(), options, FieldTable::default()).await?;
    let found = Diagnosis::of(&environment).await;
    channel.queue_delete(classic.as_str().into(), QueueDeleteOptions::default()).await?;
    connection.close(200, "done".into()).await?;
    found?.fails_with(&[&classic, "another type", "x-queue-type", "delete it"]);
    fixture.finish([]).await
}

#[tokio::test]
async fn credentials_that_no_key_opens_are_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.account("acme", json!({})).await?.tenant;
    let lost = Key::generate();
    let ring = Keyring::new(Some(lost.clone()), Vec::new());
    let new = NewConnection {
        tenant,
        name: "lost".to_owned(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({}),
    };
    let seal =
        |id: ConnectionId| Ok::<_, anyhow::Error>(ring.seal(&new.bound(id), &json!({ "api_key": "x" }))?);
    fixture.store.connections().put(&new, AccountChange::Unchanged, None, seal).await?;
    let found = Diagnosis::of(&fixture.environment()).await?;
    found.fails_with(&["1 connections are sealed with the key", &lost.id().to_string(), "old_keys"]);

    let known = lost.expose().to_string();
    let found = Diagnosis::of(&with(&fixture, &[("CREDENTIALS__OLD_KEYS", &known)])).await?;
    found.finds_nothing_else();
    assert!(found.warns_of("rotate-key"), "{:#}", found.told);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_user_who_may_not_write_is_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let role = format!("reader_{}", fixture.namespace);
    let make = format!(
        "create role {role} login password 's3cret'; grant select on all tables in schema backhaul to {role}"
    );
    fixture.database.execute(&make).await?;
    let use_it = format!("grant usage on schema backhaul to {role}");
    let mut url = fixture.database.url();
    url.set_username(&role).ok().context("a URL with a user")?;
    url.set_password(Some("s3cret")).ok().context("a URL with a password")?;
    let environment = with(&fixture, &[("DATABASE__URL", url.as_str())]);
    let outside = Diagnosis::of(&environment).await;
    fixture.database.execute(&use_it).await?;
    let found = Diagnosis::of(&environment).await;
    fixture.database.execute(&format!("drop owned by {role}; drop role {role}")).await?;
    outside?.fails_with(&["may not use the schema backhaul", "grant usage on schema backhaul"]);
    found?.fails_with(&["jobs: ", "insert", "update", "delete", "grant"]);
    fixture.finish([]).await
}

/// RabbitMQ 4 deletes a message that was returned too often, and a policy may say how often that is.
#[tokio::test]
async fn a_delivery_limit_that_bites_is_found() -> Result<()> {
    let Some(management) = Management::of_the_broker()? else {
        tracing::warn!(
            "NOT TESTED: AMQP_URL names a broker of yours, and MANAGEMENT_URL not its management API"
        );
        return Ok(());
    };
    let fixture = Fixture::with_calls(0).await?;
    fixture.declare().await?;
    let blind = Diagnosis::of(&fixture.environment()).await?;
    assert!(blind.warns_of("amqp.management_url is not set"), "{:#}", blind.told);

    let url = management.url_with_user()?;
    let environment = with(&fixture, &[("AMQP__MANAGEMENT_URL", url.as_str())]);
    let fine = Diagnosis::of(&environment).await?;
    let passed = fine.all("ok").iter().any(|check| check.contains("no policy lowers that of the 5 queues"));
    assert!(passed, "{:#}", fine.told);

    let policy = json!({ "pattern": format!("^{}\\.dead$", fixture.namespace), "apply-to": "queues",
                         "definition": { "delivery-limit": 20 } });
    management.put_policy(&fixture.namespace, &policy).await?;
    // The management API tells of a policy with its next statistics.
    let bites = async {
        loop {
            let found = Diagnosis::of(&environment).await?;
            if !found.all("failed").is_empty() {
                return anyhow::Ok(found);
            }
        }
    };
    let bites =
        tokio::time::timeout(Duration::from_secs(60), bites).await.context("the policy is seen")??;
    bites.fails_with(&["delivery limits", ".dead", "returned 20 times", "list_policies"]);
    management.delete_policy(&fixture.namespace).await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn a_fleet_of_another_namespace_or_without_the_key_is_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    fixture.account("acme", json!({})).await?;
    let mut settings = fixture.unhurried()?;
    let other = Key::generate();
    settings.credentials.key = other.expose().to_string().into();
    let consumer = fixture.consumer_with(settings).await?;
    fixture.until_sql("select exists (select from workers)").await?;
    let found = Diagnosis::of(&fixture.environment()).await?;
    let ours = fixture.keyring()?.current().context("a key")?.to_string();
    found.fails_with(&["does not know the key", &ours, &consumer.id.to_string(), "credentials.old_keys"]);

    let elsewhere = format!("{}_elsewhere", fixture.namespace);
    let found = Diagnosis::of(&with(&fixture, &[("AMQP__NAMESPACE", &elsewhere)])).await?;
    found.fails_with(&["none in the namespace", &elsewhere, &fixture.namespace, "amqp.namespace"]);
    fixture.finish([consumer]).await
}

/// What a hosted Postgres does for a role of its own, and what somebody does by hand.
#[tokio::test]
async fn a_schema_that_is_open_to_others_is_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let role = format!("anon_{}", fixture.namespace);
    let environment = fixture.environment();
    // A role that was given something on purpose is nobody's concern.
    let on_purpose = format!(
        "create role {role}; grant usage on schema backhaul to {role}; grant select on all tables in schema backhaul to {role}"
    );
    fixture.database.execute(&on_purpose).await?;
    let allowed = Diagnosis::of(&environment).await;
    let by_default = format!("alter default privileges grant select on tables to {role}");
    fixture.database.execute(&by_default).await?;
    let opened = Diagnosis::of(&environment).await;
    fixture.database.execute(&format!("drop owned by {role}; drop role {role}")).await?;
    allowed?.finds_nothing_else();
    opened?.fails_with(&[
        "others have default privileges",
        &role,
        "the schema",
        "revoke all on schema backhaul",
    ]);

    fixture
        .database
        .execute("grant usage on schema backhaul to public; grant select on connections to public")
        .await?;
    let opened = Diagnosis::of(&environment).await?;
    opened.fails_with(&["everybody (public): the schema, 1 tables and views", "revoke all"]);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_database_that_cannot_be_written_is_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let name = fixture.database.url().path().trim_start_matches('/').to_owned();
    fixture
        .database
        .execute(&format!("alter database {name} set default_transaction_read_only = on"))
        .await?;
    let found = Diagnosis::of(&fixture.environment()).await;
    let mut writer = fixture.database.pool.acquire().await?;
    let reset = format!(
        "set default_transaction_read_only = off; alter database {name} reset default_transaction_read_only"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(reset)).execute(&mut *writer).await?;
    drop(writer);
    found?.fails_with(&["the database is read-only", "primary"]);
    fixture.finish([]).await
}
