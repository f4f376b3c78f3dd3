//! A standby of a PostgreSQL: it has what was committed before the commit is answered, and can be promoted.

use super::{LOOK, PATIENCE, PrivatePostgres, succeeded};
use anyhow::{Context, Result, bail};
use sqlx::{Connection, PgConnection};
use tokio::time::{Instant, sleep};

impl PrivatePostgres {
    /// Copies this server, starts the copy as its synchronous standby, and waits until commits wait for it.
    ///
    /// # Errors
    /// When the copy cannot be made, or does not catch up.
    pub async fn standby(&self) -> Result<Self> {
        let (folder, programs) = Self::place()?;
        let mut copy = folder.command(&programs.join("pg_basebackup"));
        copy.args([
            "-D",
            "data",
            "-d",
            self.url()?.as_str(),
            "-R",
            "-X",
            "stream",
            "-c",
            "fast",
            "--no-sync",
        ]);
        succeeded("pg_basebackup", &copy.output().await.context("cannot run pg_basebackup")?)?;
        let (password, settings) = (self.password.clone(), self.settings.clone());
        let standby = Self { server: None, folder, programs, password, port: 0, settings }.started().await?;
        self.wait_for_standbys("*").await?;
        Ok(standby)
    }

    /// Makes it a primary, whatever the old one does, and waits until it takes writes. Its commits wait for nobody until
    /// it has a [standby](Self::standby) of its own.
    ///
    /// # Errors
    /// When it is no standby.
    pub async fn promote(&self) -> Result<()> {
        let mut session = PgConnection::connect(self.url()?.as_str()).await?;
        let promoted: bool = sqlx::query_scalar("select pg_promote()").fetch_one(&mut session).await?;
        session.close().await?;
        anyhow::ensure!(promoted, "the standby was not promoted: {}", self.folder.tail("log"));
        self.set_standbys("").await
    }

    async fn wait_for_standbys(&self, names: &str) -> Result<()> {
        self.set_standbys(names).await?;
        let began = Instant::now();
        let mut session = PgConnection::connect(self.url()?.as_str()).await?;
        let sql =
            "select count(*) from pg_stat_replication where sync_state = 'sync' and state = 'streaming'";
        while began.elapsed() < PATIENCE {
            if sqlx::query_scalar::<_, i64>(sql).fetch_one(&mut session).await? > 0 {
                return Ok(session.close().await?);
            }
            sleep(LOOK).await;
        }
        bail!("the standby does not follow: {}", self.folder.tail("log"))
    }

    /// Whom commits wait for.
    async fn set_standbys(&self, names: &str) -> Result<()> {
        let mut session = PgConnection::connect(self.url()?.as_str()).await?;
        let set = format!("alter system set synchronous_standby_names = '{names}'");
        sqlx::raw_sql(sqlx::AssertSqlSafe(set)).execute(&mut session).await?;
        sqlx::query("select pg_reload_conf()").execute(&mut session).await?;
        Ok(session.close().await?)
    }
}
