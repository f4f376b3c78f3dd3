//! A database with several addresses: the one that can be written is worked with, and one that hangs costs two seconds.

use anyhow::{Context, Result, bail};
use std::time::Duration;
use store::{SessionLimits, Store};
use testkit::command_line::backhaul;
use testkit::database::Database;
use testkit::fixture::{Fixture, amqp_url};
use testkit::proxy::FaultProxy;
use tokio::time::Instant;
use url::Url;

/// The address of these hosts.
fn several(url: &Url, hosts: &[String]) -> Result<String> {
    let one = format!("{}:{}", url.host_str().context("a host")?, url.port().unwrap_or(5432));
    let text = url.as_str().replace(&one, &hosts.join(","));
    Ok(format!(
        "{text}{}target_session_attrs=read-write&sslmode=disable",
        if text.contains('?') { '&' } else { '?' }
    ))
}

#[tokio::test]
async fn the_host_that_can_be_written_is_found() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let url = fixture.database.url();
    let (hanging, _) = FaultProxy::before(&url, 5432).await?;
    hanging.stall_both();
    let here = format!("{}:{}", url.host_str().context("a host")?, url.port().unwrap_or(5432));
    let hosts = ["127.0.0.1:1".to_owned(), hanging.address().to_string(), here];
    let all = several(&url, &hosts)?;
    let limits = SessionLimits { acquire_timeout: Duration::from_secs(10), ..SessionLimits::default() };
    let store = Store::new(&all, "backhaul-test", 2, limits)?;
    let begun = Instant::now();
    store.ping().await?;
    assert!(begun.elapsed() >= Duration::from_secs(2), "the one that hangs was not tried");
    // The next session knows.
    store.retire_sessions();
    let begun = Instant::now();
    store.ping().await?;
    assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    store.close().await;

    let mut environment = fixture.environment_at(&url, &amqp_url());
    environment.insert("BACKHAUL__DATABASE__URL".to_owned(), all.clone());
    environment.insert("BACKHAUL__DATABASE__CONNECT_TIMEOUT_MS".to_owned(), "10000".to_owned());
    let ran = backhaul(&environment, &["doctor"]).await?;
    let shown = ran.stdout.lines().find(|line| line.contains("PostgreSQL")).unwrap_or_default();
    assert!(hosts.iter().all(|host| shown.contains(host)), "{}", ran.stdout);
    if let Some(password) = url.password() {
        assert!(!ran.stdout.contains(password), "{}", ran.stdout);
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn a_host_that_can_only_be_read_is_passed_by() -> Result<()> {
    let (reading, writing) = (Database::create().await?, Database::create().await?);
    let name = reading.url().path().trim_start_matches('/').to_owned();
    reading.execute(&format!("alter database {name} set default_transaction_read_only = on")).await?;
    let read_only = "select current_setting('transaction_read_only')";
    assert_eq!(sqlx::query_scalar::<_, String>(read_only).fetch_one(&writing.pool).await?, "off");

    // One host of which each session can only be read: said as what it is.
    let store = Database::store_at(&reading.url())?;
    let Err(error) = store.tenants().create("acme", 1).await else { bail!("it was written") };
    assert_eq!(error.sqlstate().as_deref(), Some("25006"));
    store.close().await;
    reading.remove().await?;
    writing.remove().await
}
