//! Where contestants meet: the same servers and pages for all, and tables of its own for either kind of program.

use super::bare;
use super::contestant::base_url;
use super::corpus::{Corpus, Kind};
use super::meter::Meter;
use crate::jobs::connect;
use anyhow::{Context, Result, ensure};
use futures::TryStreamExt;
use protocol::ids::ConnectionId;
use serde_json::json;
use sqlx::{Connection, Executor, PgConnection};
use stage::Stage;
use std::collections::HashMap;
use testkit::database::NamedDatabase;
use testkit::private::{Private, PrivateNginx};
use url::Url;
use uuid::Uuid;

/// Backhaul's jobs belong to so many tenants.
const TENANTS: u32 = 5;

/// The arena.
#[derive(Debug)]
pub struct Arena<'a> {
    /// Backhaul's database and broker names.
    pub stage: &'a Stage,
    /// A session with it.
    pub session: PgConnection,
    /// The same for the bare programs.
    pub bare: PgConnection,
    /// Its address.
    pub bare_url: Url,
    /// Measures the servers.
    pub meter: Meter,
    /// Where the pages are, without a slash at the end.
    pub upstream: String,
    connections: HashMap<Kind, Vec<ConnectionId>>,
    _bare_database: NamedDatabase,
}

impl<'a> Arena<'a> {
    /// Makes tables and connections.
    ///
    /// # Errors
    /// When a server does not answer.
    pub async fn set_up(
        stage: &'a Stage,
        servers: &Private,
        nginx: &PrivateNginx,
        corpora: &[Corpus],
    ) -> Result<Self> {
        let bare_database = NamedDatabase::create(&servers.postgres.url()?, "backhaul_bench_bare").await?;
        let mut bare_session = PgConnection::connect(bare_database.url.as_str()).await?;
        bare::set_up(&mut bare_session).await?;
        let meter = Meter {
            postgres: servers.postgres.pid().context("PostgreSQL runs")?,
            broker: servers.rabbit.pid().context("RabbitMQ runs")?,
            upstream: nginx.pid().context("nginx runs")?,
        };
        let mut arena = Self {
            stage,
            session: stage.session().await?,
            bare: bare_session,
            bare_url: bare_database.url.clone(),
            meter,
            upstream: nginx.url(),
            connections: HashMap::new(),
            _bare_database: bare_database,
        };
        let mut tenants = Vec::new();
        for number in 0..TENANTS {
            tenants.push(stage.store.tenants().create(&format!("tenant-{number}"), 16).await?.id);
        }
        for corpus in corpora {
            for (job, tenant) in (0..corpus.size.jobs).zip(tenants.iter().cycle()) {
                let name = format!("{}-{job}", corpus.kind.word());
                let url = base_url(&arena.upstream, corpus, job);
                let connection = connect(stage, *tenant, &name, (&url, "key"), json!({})).await?;
                arena.connections.entry(corpus.kind).or_default().push(connection);
            }
        }
        Ok(arena)
    }

    /// The connections of a kind's jobs, in the jobs' order.
    #[must_use]
    pub fn connections(&self, kind: Kind) -> &[ConnectionId] {
        self.connections.get(&kind).map(Vec::as_slice).unwrap_or_default()
    }

    /// Backhaul remembers no job and no worker.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn forget_jobs(&mut self) -> Result<()> {
        self.session.execute("truncate jobs, slices, job_events, commands, workers cascade").await?;
        Ok(())
    }

    /// Backhaul's records are gone. Right before a pass, as those of the bare programs: memory that is free for long may have
    /// been given back to a machine that this one is a guest of, and to have it again is slow.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn forget_records(&mut self) -> Result<()> {
        self.session.execute("truncate records, page_log").await?;
        Ok(())
    }

    /// No pass pays for what the one before left to be written.
    ///
    /// # Errors
    /// When Postgres refuses.
    pub async fn checkpoint(&mut self) -> Result<()> {
        self.session.execute("checkpoint").await?;
        Ok(())
    }

    /// Compares every stored record with the pages: by id and hash, and to which job it belongs.
    ///
    /// # Errors
    /// When any is missing, too many, or different.
    pub async fn check_records(&mut self, bare: bool, corpus: &Corpus) -> Result<()> {
        let numbers: HashMap<Uuid, u32> =
            self.connections(corpus.kind).iter().map(|connection| connection.0).zip(0..).collect();
        let session = if bare { &mut self.bare } else { &mut self.session };
        let mut rows = sqlx::query_as::<_, (Uuid, String, Vec<u8>)>(
            "select connection_id, external_id, hash from records",
        )
        .fetch(session);
        let mut right = 0;
        while let Some((connection, id, hash)) = rows.try_next().await? {
            let job = if bare { bare::job_of(connection) } else { numbers.get(&connection).copied() };
            ensure!(
                job.is_some_and(|job| corpus.has(job, &id, &hash)),
                "record {id} of {connection} is not as the upstream has it: no figure"
            );
            right += 1;
        }
        drop(rows);
        ensure!(right == corpus.records(), "{right} of {} records are stored: no figure", corpus.records());
        if !bare {
            let problems = self.stage.problems().await?;
            ensure!(problems.is_empty(), "{}: no figure", problems.join("; "));
        }
        Ok(())
    }
}
