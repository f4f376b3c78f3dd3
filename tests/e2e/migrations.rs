//! What `backhaul migrate` makes, what it makes again, and what it needs for that; and the sessions that work on it.

use anyhow::{Context, Result, bail};
use futures::future::try_join_all;
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;
use std::collections::{BTreeMap, HashMap};
use store::{SessionLimits, Store, StoreError};
use testkit::command_line::backhaul;
use testkit::database::Database;
use testkit::fixture::Fixture;
use url::Url;
use uuid::Uuid;

async fn one<T>(database: &Database, sql: &str) -> Result<T>
where
    T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
{
    Ok(sqlx::query_scalar(AssertSqlSafe(sql.to_owned())).fetch_one(&database.pool).await?)
}

/// A role of the server, with a password, and a URL for it.
async fn role(database: &Database) -> Result<(String, Url)> {
    let role = format!("role_{}", Uuid::new_v4().simple());
    database.execute(&format!("create role {role} login password 's3cret'")).await?;
    let mut url = database.url();
    url.set_username(&role).ok().context("a URL with a user")?;
    url.set_password(Some("s3cret")).ok().context("a URL with a password")?;
    Ok((role, url))
}

/// When each file of functions and views was applied.
async fn applied(database: &Database) -> Result<BTreeMap<String, String>> {
    let sql = "select jsonb_object_agg(name, applied_at) from repeatable_migrations";
    Ok(serde_json::from_value(one(database, sql).await?)?)
}

#[tokio::test]
async fn everything_is_in_a_schema_of_its_own_and_goes_with_it() -> Result<()> {
    let database = Database::create_empty().await?;
    let (role, _) = role(&database).await?;
    // As a hosted Postgres does for its own roles.
    let grant = ["tables", "functions"]
        .map(|kind| format!("alter default privileges in schema public grant all on {kind} to {role}"));
    database.execute(&grant.join(";")).await?;
    database.execute(&format!("alter default privileges grant usage on schemas to {role}")).await?;
    let store = Database::store_at(&database.url())?;
    let public = "select (select count(*) from pg_class where relnamespace = 'public'::regnamespace)
                       + (select count(*) from pg_proc where pronamespace = 'public'::regnamespace)
                       + (select count(*) from pg_type where typnamespace = 'public'::regnamespace)";
    let reach = format!(
        "select count(*) filter (where has_table_privilege('{role}', c.oid, 'select, insert, update, delete')),
                count(*)
           from pg_class c
          where c.relnamespace = 'backhaul'::regnamespace and c.relkind in ('r', 'p', 'v')"
    );

    store.migrate().await?;
    assert_eq!(one::<i64>(&database, public).await?, 0);
    let (reached, all): (i64, i64) = sqlx::query_as(AssertSqlSafe(reach)).fetch_one(&database.pool).await?;
    assert!(reached == 0 && all > 30, "{role} may use {reached} of {all} tables");
    let used = format!("select has_schema_privilege('{role}', 'backhaul', 'usage, create')");
    assert!(!one::<bool>(&database, &used).await?);

    store.migrate_down().await?;
    assert_eq!(one::<i64>(&database, public).await?, 0);
    assert!(one::<bool>(&database, "select to_regnamespace('backhaul') is null").await?);
    store.migrate_down().await?;
    store.migrate().await?;
    assert_eq!(store.broken_invariants().await?, Vec::<String>::new());
    store.close().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await?;
    database.remove().await
}

#[tokio::test]
async fn a_file_of_functions_is_applied_again_only_if_its_text_has_changed() -> Result<()> {
    let database = Database::create().await?;
    let store = Database::store_at(&database.url())?;
    let before = applied(&database).await?;
    store.migrate().await?;
    assert_eq!(applied(&database).await?, before);

    let other =
        "drop view calls; update repeatable_migrations set hash = sha256('') where name = '010_calls'";
    database.execute(other).await?;
    store.migrate().await?;
    assert_eq!(one::<i64>(&database, "select count(*) from calls").await?, 0);
    let after = applied(&database).await?;
    let again: Vec<_> = after.keys().filter(|name| after.get(*name) != before.get(*name)).collect();
    assert!(again == ["010_calls"] && after.len() == before.len(), "{before:?} {after:?}");
    store.close().await;
    database.remove().await
}

#[tokio::test]
async fn files_of_functions_are_applied_together_or_not_at_all() -> Result<()> {
    let database = Database::create().await?;
    let store = Database::store_at(&database.url())?;
    let refused = "drop view calls; drop function broken_states();
                   create function broken_states() returns int language sql as 'select 1';
                   update repeatable_migrations set hash = sha256('') where name in ('010_calls', '140_broken_states')";
    database.execute(refused).await?;
    let Err(error) = store.migrate().await else { bail!("a function of another type was replaced") };
    let told = error.to_string();
    assert!(told.contains("140_broken_states.sql") && told.contains("return type"), "{told}");
    assert!(one::<bool>(&database, "select to_regclass('calls') is null").await?);
    database.execute("drop function broken_states()").await?;
    store.migrate().await?;
    assert_eq!(store.broken_invariants().await?, Vec::<String>::new());
    store.close().await;
    database.remove().await
}

#[tokio::test]
async fn processes_that_migrate_at_once_take_turns() -> Result<()> {
    let database = Database::create_empty().await?;
    let stores: Vec<_> = (0..4).map(|_| Database::store_at(&database.url())).collect::<Result<_>>()?;
    try_join_all(stores.iter().map(Store::migrate)).await?;
    assert_eq!(one::<i64>(&database, "select count(*) from _sqlx_migrations").await?, 3);
    for store in &stores {
        assert_eq!(store.broken_invariants().await?, Vec::<String>::new());
        store.close().await;
    }
    database.remove().await
}

#[tokio::test]
async fn no_time_out_cuts_a_migration() -> Result<()> {
    let database = Database::create_empty().await?;
    let look = "create table public.met (timeouts text);
                create function public.look() returns event_trigger language plpgsql as $$ begin
                    insert into public.met
                    select string_agg(setting, ' ' order by name) from pg_settings
                     where name in ('lock_timeout', 'statement_timeout', 'idle_in_transaction_session_timeout');
                end $$;
                create event trigger look on ddl_command_end execute function public.look();
                do $$ begin
                    execute format('alter database %I set statement_timeout = ''1h''', current_database());
                end $$";
    database.execute(look).await?;
    let store = Database::store_at(&database.url())?;
    store.migrate().await?;
    let met: Vec<String> = one(&database, "select array_agg(distinct timeouts) from public.met").await?;
    assert_eq!(met, ["0 0 0"]);
    store.close().await;
    database.remove().await
}

#[tokio::test]
async fn a_schema_that_was_made_for_this_user_is_enough() -> Result<()> {
    let database = Database::create_empty().await?;
    let (role, url) = role(&database).await?;
    let store = Database::store_at(&url)?;
    let Err(error @ StoreError::MayNotMigrate { .. }) = store.migrate().await else {
        bail!("{role} made a schema")
    };
    let line = format!("create schema backhaul authorization {role};");
    assert!(error.to_string().contains(&line), "{error}");
    // Somebody else's is of no use.
    database.execute("create schema backhaul").await?;
    let Err(error) = store.migrate().await else { bail!("{role} migrated another's schema") };
    let lines = [format!("grant usage, create on schema backhaul to {role};"), format!(" to {role};")];
    assert!(lines.iter().all(|line| error.to_string().contains(line)), "{error}");
    database.execute("drop schema backhaul").await?;
    database.execute(&format!("create schema backhaul authorization {role}")).await?;
    for _twice in 0..2 {
        store.migrate().await?;
    }
    assert_eq!(store.broken_invariants().await?, Vec::<String>::new());
    store.migrate_down().await?;
    store.close().await;
    database.execute(&format!("drop owned by {role}; drop role {role}")).await?;
    database.remove().await
}

#[tokio::test]
async fn a_session_sets_what_it_needs_and_asks_for_nothing_that_a_pooler_refuses() -> Result<()> {
    let database = Database::create().await?;
    let look = "create table met (tenant text, session jsonb, at_start text[]);
                create function look() returns trigger language plpgsql as $$ begin
                    insert into met
                    select new.name, jsonb_object_agg(name, setting) filter (where source = 'session'),
                           array_agg(name::text order by name) filter (where source = 'client')
                      from pg_settings;
                    return new;
                end $$;
                create trigger look before insert on tenants for each row execute function look()";
    database.execute(look).await?;
    let limits = SessionLimits::default();
    let (url, name) = (database.url(), "backhaul-test");
    let stores = [
        ("anew", Store::new(url.as_str(), name, 1, limits)?),
        ("once", Store::for_pages(url.as_str(), name, 1, limits)?),
    ];
    let mut wanted = json!({
        "search_path": "backhaul", "lock_timeout": "5000", "statement_timeout": "30000",
        "idle_in_transaction_session_timeout": "10000", "jit": "off", "plan_cache_mode": "force_custom_plan",
    });
    for (tenant, store) in stores {
        store.tenants().create(tenant, 16).await?;
        let (session, at_start): (Value, Vec<String>) =
            sqlx::query_as("select session, at_start from met where tenant = $1")
                .bind(tenant)
                .fetch_one(&database.pool)
                .await?;
        assert_eq!(session, wanted);
        assert_eq!(at_start, ["DateStyle", "TimeZone", "application_name", "client_encoding"]);
        wanted["plan_cache_mode"] = json!("force_generic_plan");
        wanted["enable_seqscan"] = json!("off");
        store.close().await;
    }
    database.remove().await
}

/// Postgres looks into a schema of the user's own name first. Ours is named, so that there is one world and no second.
#[tokio::test]
async fn a_schema_that_is_named_as_the_user_is_not_looked_into() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    fixture.account("acme", json!({})).await?;
    let role: String = one(&fixture.database, "select current_user::text").await?;
    let named = format!("create schema \"{role}\"");
    fixture.database.execute(&named).await?;
    let environment = fixture.environment();
    let migrated = backhaul(&environment, &["migrate"]).await?;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let listed = backhaul(&environment, &["admin", "tenant", "list"]).await?;
    assert!(listed.stdout.contains("acme"), "{}", listed.stdout);
    let doctor = backhaul(&environment, &["doctor"]).await?;
    assert!(doctor.stdout.contains("the schema backhaul has exactly this version"), "{}", doctor.stdout);
    let elsewhere = "select count(*) from pg_class c join pg_namespace n on n.oid = c.relnamespace
                      where n.nspname not in ('backhaul', 'pg_catalog', 'information_schema', 'pg_toast')";
    assert_eq!(one::<i64>(&fixture.database, elsewhere).await?, 0);
    fixture.finish([]).await
}

/// Neither the server nor the client ends a migration that takes longer than a statement may; and whoever waits sees which one
/// it is.
#[tokio::test]
async fn a_migration_that_takes_long_is_told_and_not_cut() -> Result<()> {
    let database = Database::create_empty().await?;
    let slow = "create function public.slow() returns event_trigger language plpgsql as $$ begin
                    if not exists (select from pg_class where relname = 'slept') then
                        create table public.slept ();
                        perform pg_sleep(4);
                    end if;
                end $$;
                create event trigger slow on ddl_command_end when tag in ('CREATE VIEW', 'CREATE FUNCTION', 'CREATE TYPE')
                    execute function public.slow()";
    database.execute(slow).await?;
    let environment = HashMap::from([
        ("BACKHAUL__DATABASE__URL".to_owned(), database.url().to_string()),
        ("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS".to_owned(), "500".to_owned()),
        ("BACKHAUL__DATABASE__STATEMENT_TIMEOUT_MS".to_owned(), "1000".to_owned()),
        ("BACKHAUL__DATABASE__IDLE_IN_TRANSACTION_TIMEOUT_MS".to_owned(), "1000".to_owned()),
    ]);
    let migrated = backhaul(&environment, &["migrate"]).await?;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    assert_eq!(one::<i64>(&database, "select count(*) from pg_class where relname = 'slept'").await?, 1);
    for part in [
        "migration 1 (schema) is applied …",
        "migration 1 is applied, in ",
        "migration 3 (fleet) is applied …",
    ] {
        assert!(migrated.stderr.contains(part), "{}", migrated.stderr);
    }
    let again = backhaul(&environment, &["migrate"]).await?;
    assert_eq!((again.code, again.stderr.as_str()), (Some(0), ""));
    database.remove().await
}
