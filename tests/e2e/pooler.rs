//! A pooler between the programs and the database: one that gives a session's server to others between its transactions is
//! refused in words, one that does not is no hindrance.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::json;
use std::time::Duration;
use store::{SessionLimits, Store, StoreError};
use testkit::command_line::backhaul;
use testkit::fixture::{Fixture, amqp_url};
use testkit::private::PrivatePgbouncer;
use testkit::process::Program;

const REFUSED: &str = "pool_mode = session";

#[tokio::test]
async fn transaction_mode_is_found_out_and_refused() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let pooler = PrivatePgbouncer::start(&fixture.database.url(), "transaction").await?;
    let url = pooler.before(&fixture.database.url())?;
    let environment = fixture.environment_at(&url, &amqp_url());
    for name in ["consumer", "producer"] {
        let program = Program::built(name)?;
        let mut program = program.envs(&environment).start()?;
        program.line(REFUSED).await?;
        let (status, said) = program.get("/readyz").await?;
        assert!(status == 503 && said.contains(REFUSED), "{name}: {status} {said}");
        program.terminate()?;
        assert!(program.exit().await?.success());
    }
    let ran = backhaul(&environment, &["doctor"]).await?;
    assert!(ran.code == Some(1) && ran.stdout.contains(REFUSED), "{}", ran.stdout);
    let ran = backhaul(&environment, &["admin", "tenant", "list"]).await?;
    assert!(ran.code == Some(1) && ran.stderr.contains(REFUSED), "{}", ran.stderr);
    fixture.finish([]).await
}

#[tokio::test]
async fn session_mode_is_like_no_pooler() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let pooler = PrivatePgbouncer::start(&fixture.database.url(), "session").await?;
    let url = pooler.before(&fixture.database.url())?;
    let consumer = fixture.consumer_with(fixture.settings_at(&url, &amqp_url())?).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;

    // A time-out holds: the statement waits for a lock, and not for ever.
    let limits = SessionLimits { lock_timeout: Duration::from_millis(300), ..SessionLimits::default() };
    let store = Store::new(url.as_str(), "backhaul-test", 2, limits)?;
    assert_eq!(store.inspection().settings_not_in_effect().await?, Vec::<String>::new());
    let mut held = fixture.database.pool.begin().await?;
    sqlx::query("lock table tenants").execute(&mut *held).await?;
    let error = store.tenants().create("other", 1).await.err().context("nobody held the table")?;
    assert!(
        matches!(error, StoreError::Unavailable(_)) && error.sqlstate().as_deref() == Some("55P03"),
        "{error}"
    );
    held.rollback().await?;
    let ran = backhaul(&fixture.environment_at(&url, &amqp_url()), &["doctor"]).await?;
    assert!(ran.stdout.contains("✓ database: the settings of a session"), "{}", ran.stdout);
    assert_eq!(ran.code, Some(0), "{}", ran.stdout);
    store.close().await;
    fixture.finish([consumer]).await
}
