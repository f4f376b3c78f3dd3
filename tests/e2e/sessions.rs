//! Sessions with the database that are of no use any more, though nobody closes them: they are given up, and work goes on with
//! new ones.

use anyhow::{Context, Result};
use protocol::ids::ConnectionId;
use protocol::job::JobStatus;
use reqwest::StatusCode;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use std::time::Duration;
use testkit::api::new_key;
use testkit::fixture::{Account, Fixture, amqp_url};
use testkit::process::{Process, Program};
use testkit::sample_upstream::{Options, TenantOptions};
use tokio::time::{Instant, sleep};
use url::Url;

/// The sessions of the programs under test, not the test's own.
const KILL: &str = "select pg_terminate_backend(pid) from pg_stat_activity
                     where datname = current_database() and application_name like 'backhaul%r%'
                       and application_name not like 'backhaul-test%'";

/// A consumer and a producer, each a process.
struct Programs {
    consumer: Process,
    producer: Process,
    key: String,
}

impl Programs {
    async fn start(fixture: &Fixture, account: Account, database: &Url) -> Result<Self> {
        let start = |name: &str| {
            let mut environment = fixture.environment_at(database, &amqp_url());
            environment.insert("BACKHAUL__DATABASE__LOCK_TIMEOUT_MS".to_owned(), "1000".to_owned());
            environment.insert("BACKHAUL__DATABASE__STATEMENT_TIMEOUT_MS".to_owned(), "3000".to_owned());
            let program = Program::built(name)?;
            program.envs(&environment).start()
        };
        let programs = Self {
            consumer: start("consumer")?,
            producer: start("producer")?,
            key: new_key(fixture, account.tenant).await?,
        };
        programs.consumer.ready().await?;
        programs.producer.ready().await?;
        Ok(programs)
    }

    async fn post(&self, connection: ConnectionId) -> Result<StatusCode> {
        let url = format!("http://{}/api/v1/jobs", self.producer.address().await?);
        let body = json!({ "connection_id": connection });
        let sent = reqwest::Client::new().post(url).bearer_auth(&self.key).json(&body).send().await?;
        Ok(sent.status())
    }

    /// How long it takes until a start is accepted.
    async fn until_accepted(&self, connection: ConnectionId) -> Result<Duration> {
        let begun = Instant::now();
        loop {
            let status = self.post(connection).await?;
            if status == StatusCode::ACCEPTED {
                return Ok(begun.elapsed());
            }
            anyhow::ensure!(begun.elapsed() < Duration::from_secs(90), "still {status}");
            sleep(Duration::from_millis(50)).await;
        }
    }

    async fn ready(&self) -> Result<()> {
        self.consumer.ready().await?;
        self.producer.ready().await
    }

    async fn until_both_say(&self, why: &str) -> Result<()> {
        for program in [&self.consumer, &self.producer] {
            let begun = Instant::now();
            loop {
                let (status, said) = program.get("/readyz").await?;
                if status == 503 && said.contains(why) {
                    break;
                }
                anyhow::ensure!(begun.elapsed() < Duration::from_secs(60), "{status}: {said}");
                sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    async fn end(mut self) -> Result<()> {
        for program in [&mut self.consumer, &mut self.producer] {
            program.terminate()?;
            anyhow::ensure!(program.exit().await?.success());
        }
        Ok(())
    }
}

async fn two_tenants() -> Result<(Fixture, Account, Account)> {
    let tenants = [TenantOptions::new("acme", 60), TenantOptions::new("later", 30)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let account = fixture.account("acme", json!({})).await?;
    let later = fixture.account("later", json!({})).await?;
    Ok((fixture, account, later))
}

/// The two jobs come to their ends with all that their tenants have.
async fn both_completed(fixture: Fixture, programs: Programs, tenants: [(Account, &str); 2]) -> Result<()> {
    programs.ready().await?;
    fixture.until_sql("select bool_and(status = 'completed') and count(*) = 2 from jobs").await?;
    for (account, name) in tenants {
        fixture.exact(account, name).await?;
    }
    programs.end().await?;
    fixture.finish([]).await
}

/// A failover behind one address: sessions that were opened while the server could not be written stay read-only for good.
#[tokio::test]
async fn sessions_that_began_read_only_are_given_up() -> Result<()> {
    let (fixture, account, later) = two_tenants().await?;
    let programs = Programs::start(&fixture, later, &fixture.database.url()).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;

    // Sessions keep what they began with, so this one stays able to write.
    let mut writer = fixture.database.pool.acquire().await?;
    let name = fixture.database.url().path().trim_start_matches('/').to_owned();
    let read_only = |on| format!("alter database {name} set default_transaction_read_only = {on}");
    writer.execute(AssertSqlSafe(read_only(true))).await?;
    writer.execute(KILL).await?;
    fixture.upstream.release();
    programs.until_both_say("read-only").await?;
    // Every session of the producer's pool.
    let posts = (0..4).map(|_| programs.post(later.connection));
    for status in futures::future::try_join_all(posts).await? {
        assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE);
    }
    writer.execute(AssertSqlSafe(read_only(false))).await?;
    drop(writer);

    let begun = Instant::now();
    fixture.until(job, |view| view.pages_settled > 0).await?;
    let (settled, accepted) = (begun.elapsed(), programs.until_accepted(later.connection).await?);
    assert!(settled.max(accepted) < Duration::from_secs(10), "{settled:?} {accepted:?}");
    fixture.until_over(job, JobStatus::Completed).await?;
    both_completed(fixture, programs, [(account, "acme"), (later, "later")]).await
}

/// A firewall forgets connections: what is sent on them is dropped without a word. New ones work.
#[tokio::test]
async fn sessions_that_have_fallen_silent_are_given_up() -> Result<()> {
    let (fixture, account, later) = two_tenants().await?;
    let (proxy, database) = fixture.database_proxy().await?;
    let programs = Programs::start(&fixture, later, &database).await?;
    fixture.upstream.hold();
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // Several sessions of the producer's pool.
    let posts = (0..4).map(|_| programs.post(ConnectionId::random()));
    futures::future::try_join_all(posts).await?;
    proxy.forget();
    let begun = Instant::now();
    fixture.upstream.release();
    let accepted = programs.until_accepted(later.connection).await?;
    let settled = fixture.until(job, |view| view.pages_settled > 0).await.map(|_view| begun.elapsed());
    let settled = settled.context("no page was settled")?;
    assert!(settled.max(accepted) < Duration::from_secs(20), "{settled:?} {accepted:?}");
    fixture.until_over(job, JobStatus::Completed).await?;
    both_completed(fixture, programs, [(account, "acme"), (later, "later")]).await
}

/// A column gets another type under a running fleet: Postgres refuses the plans that sessions have kept, each time anew.
#[tokio::test]
async fn a_plan_that_does_not_fit_the_table_any_more_is_made_anew() -> Result<()> {
    let (fixture, account, later) = two_tenants().await?;
    let programs = Programs::start(&fixture, later, &fixture.database.url()).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!(programs.post(later.connection).await?, StatusCode::ACCEPTED);
    fixture.until_sql("select bool_and(status = 'completed') and count(*) = 2 from jobs").await?;

    let alter = "alter table connections alter column base_url type varchar(2000);
                 alter table jobs alter column name type varchar(2000)";
    fixture.database.execute(alter).await?;
    // At the first try, though the sessions that the producer has kept know the table as it was.
    let list = format!("http://{}/api/v1/jobs", programs.producer.address().await?);
    for _ in 0..4 {
        let sent = reqwest::Client::new().get(&list).bearer_auth(&programs.key).send().await?;
        assert_eq!(sent.status(), StatusCode::OK);
    }
    assert_eq!(programs.post(later.connection).await?, StatusCode::ACCEPTED);
    let again = fixture.publish_start(account.connection).await?;
    fixture.until_over(again, JobStatus::Completed).await?;
    fixture.until_sql("select bool_and(status = 'completed') and count(*) = 4 from jobs").await?;
    assert_eq!(programs.consumer.get("/readyz").await?.0, 200);
    programs.end().await?;
    fixture.finish([]).await
}
