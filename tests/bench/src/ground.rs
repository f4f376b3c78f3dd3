//! What cancels and recoveries are measured on: a producer and consumers as processes, connections whose pages hang,
//! and others whose pages are fast.

use super::jobs;
use super::observer::{Asked, Observer, Took};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use identity::api_key::ApiKey;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobStatus;
use serde_json::json;
use stage::{Expected, Member, Stage, compare};
use std::time::Duration;
use store::connections::NewConnection;
use store::jobs::{JobFilter, JobView};
use testkit::process::Process;
use testkit::sample_upstream::{self, Answer, Options, SampleUpstream, TenantOptions};
use tokio::time::{Instant, sleep};

/// Between two looks at how far a job is.
const LOOK: Duration = Duration::from_millis(10);
/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(120);
/// Calls of a hanging connection: three pages.
const CALLS: u64 = 300;
/// Calls of a fast connection: enough to be busy for long.
const FAST_CALLS: u64 = 200_000;
/// What an answer of the fast upstream takes.
const FAST_MS: u32 = 20;
/// The time that a page hangs upstream.
pub(super) const HANGS: Duration = Duration::from_secs(10);

/// The ground.
#[derive(Debug)]
pub struct Ground<'a> {
    /// Database and broker.
    pub stage: &'a Stage,
    /// Connections whose every page hangs.
    pub hanging: Vec<ConnectionId>,
    /// Connections whose pages are fast.
    pub fast: Vec<ConnectionId>,
    observer: Observer,
    upstream: SampleUpstream,
    fast_upstream: Process,
    producer: Process,
    client: reqwest::Client,
    key: ApiKey,
}

impl<'a> Ground<'a> {
    /// Makes so many connections of either kind, and starts a producer.
    ///
    /// # Errors
    /// When something does not start.
    pub async fn prepare(stage: &'a Stage, hanging: usize, fast: usize) -> Result<Self> {
        let producer = stage.program("producer")?.log(stage.logs.join("producer.log")).start()?;
        let mut options = Options::new([TenantOptions::new("hangs", CALLS)]);
        options.count_pages = false;
        let upstream = SampleUpstream::start(options).await?;
        upstream.script_times(|_asked| true, Answer::After(HANGS), u64::MAX);
        let mut program = stage.program("sample-upstream")?.arg("--listen").arg("127.0.0.1:0");
        for (name, value) in [
            ("--tenants", "1".to_owned()),
            ("--calls", FAST_CALLS.to_string()),
            ("--delay-ms", FAST_MS.to_string()),
        ] {
            program = program.arg(name).arg(value);
        }
        let fast_upstream = program.log(stage.logs.join("sample-upstream.log")).start()?;

        let tenant = stage.store.tenants().create("measured", 10_000).await?.id;
        let key = ApiKey::generate();
        stage.store.tenants().create_api_key(tenant, "bench", &key.hash(), key.prefix()).await?;
        let mut ground = Self {
            stage,
            hanging: Vec::new(),
            fast: Vec::new(),
            observer: Observer::start(stage.database()).await?,
            key,
            client: reqwest::Client::new(),
            upstream,
            producer,
            fast_upstream,
        };
        let hangs = (ground.upstream.base_url(), ground.upstream.key("hangs").to_owned());
        for number in 0..hanging {
            let connection = ground.connect(tenant, &format!("hangs-{number}"), &hangs).await?;
            ground.hanging.push(connection);
        }
        let address = ground.fast_upstream.address().await?;
        let quick = (format!("http://{address}"), "key-tenant-1".to_owned());
        for number in 0..fast {
            // A tenant each: they compete as tenants do.
            let tenant = stage.store.tenants().create(&format!("fast-{number}"), 8).await?.id;
            let connection = ground.connect(tenant, "fast", &quick).await?;
            ground.fast.push(connection);
        }
        ground.producer.ready().await?;
        Ok(ground)
    }

    /// Starts consumers with these variables, and waits until they consume.
    ///
    /// # Errors
    /// When one does not become ready.
    pub async fn consumers(&self, names: &[&str], variables: &[(&str, String)]) -> Result<Vec<Member>> {
        let mut members = Vec::new();
        for name in names {
            members.push(Member::start(self.stage, name, variables).await?);
        }
        for member in &members {
            member.process.ready().await?;
        }
        Ok(members)
    }

    /// Publishes a start.
    ///
    /// # Errors
    /// When the broker does not confirm it.
    pub async fn start(&self, connection: ConnectionId, from: Option<DateTime<Utc>>) -> Result<JobId> {
        jobs::start(self.stage, connection, from, None).await
    }

    /// Waits until a job is as `enough` says.
    ///
    /// # Errors
    /// When it never is.
    pub async fn until(&self, job: JobId, mut enough: impl FnMut(&JobView) -> bool) -> Result<JobView> {
        let started = Instant::now();
        loop {
            let view = self.stage.store.jobs().get(job, None).await?;
            if let Some(view) = view.filter(&mut enough) {
                return Ok(view);
            }
            ensure!(started.elapsed() < LONGEST, "job {job} does not come to what is waited for");
            sleep(LOOK).await;
        }
    }

    /// Starts a job of a hanging connection, and waits until its page is in somebody's hands.
    ///
    /// # Errors
    /// When that does not happen.
    pub async fn start_and_hang(&self, connection: ConnectionId) -> Result<JobId> {
        let job = self.start(connection, None).await?;
        self.until(job, |view| view.slices.leased > 0).await?;
        Ok(job)
    }

    /// Cancels by a message, and waits for the end.
    ///
    /// # Errors
    /// When the broker does not confirm it, or the job does not end.
    pub async fn cancel_by_message(&self, job: JobId) -> Result<Took> {
        let asked = Asked::now();
        let end = self.observer.end_of(job, asked);
        let (published, took) = tokio::join!(jobs::cancel(self.stage, job), end);
        published?;
        took
    }

    /// Cancels over HTTP, and waits for the end.
    ///
    /// # Errors
    /// When the producer refuses, or the job does not end.
    pub async fn cancel_over_http(&self, job: JobId) -> Result<Took> {
        let url = format!("http://{}/api/v1/jobs/{job}/cancel", self.producer.address().await?);
        let call =
            self.client.post(url).bearer_auth(self.key.expose()).json(&json!({ "reason": "measured" }));
        let asked = Asked::now();
        let end = self.observer.end_of(job, asked);
        let (answer, took) = tokio::join!(call.send(), end);
        answer?.error_for_status()?;
        took
    }

    /// Cancels whatever a connection does, and waits until it is over. By the jobs' ids: a cancel of the connection that
    /// found nothing to do could still meet the next job.
    ///
    /// # Errors
    /// When it does not end.
    pub async fn end(&self, connection: ConnectionId) -> Result<()> {
        let filter = JobFilter { connection: Some(connection), limit: 10, ..JobFilter::default() };
        let mut open = self.stage.store.jobs().list(&filter).await?;
        open.retain(|job| !job.status.is_terminal());
        for job in open {
            jobs::cancel(self.stage, job.id).await?;
            self.until(job.id, |view| view.status.is_terminal()).await?;
        }
        Ok(())
    }

    async fn connect(
        &self,
        tenant: TenantId,
        name: &str,
        upstream: &(String, String),
    ) -> Result<ConnectionId> {
        let (base_url, key) = upstream;
        let connection = NewConnection {
            tenant,
            name: name.to_owned(),
            source: "ultravox".to_owned(),
            base_url: base_url.clone(),
            settings: json!({ "page_size": 100, "slice_days": 7 }),
        };
        self.stage.put_connection(&connection, &json!({ "api_key": key })).await
    }

    /// How many slices are leased at this moment.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn leased(&self, session: &mut sqlx::PgConnection) -> Result<i64> {
        let sql = "select count(*) from slices where lease_token is not null";
        Ok(sqlx::query_scalar(sql).fetch_one(session).await?)
    }

    /// Cancels whatever is left, lets one connection be pulled to its end, and looks for whatever is wrong: broken
    /// invariants, dead letters, records that differ. Some consumer must run.
    ///
    /// # Errors
    /// When a server does not answer, or a job does not end.
    pub async fn problems(&self) -> Result<Vec<String>> {
        self.upstream.clear_scripts();
        for connection in self.hanging.iter().chain(&self.fast) {
            self.end(*connection).await?;
        }
        let mut problems = Vec::new();
        if let Some(first) = self.hanging.first() {
            let expected = self.upstream.expected("hangs", sample_upstream::Span::ALL);
            let expected: Expected = expected.map(|call| (call.id, call.hash)).collect();
            let job = self.start(*first, None).await?;
            let view = self.until(job, |view| view.status.is_terminal()).await?;
            let found = compare(&self.stage.store, *first, &expected).await?;
            if view.status != JobStatus::Completed || !found.is_exact() {
                problems.push(format!("a last job is {}: {found}", view.status));
            }
        }
        problems.extend(self.stage.problems().await?);
        Ok(problems)
    }

    /// The earliest call of the fast upstream.
    ///
    /// # Errors
    /// None in practice.
    pub fn beginning() -> Result<DateTime<Utc>> {
        TenantOptions::numbered(1, 1).pop().map(|tenant| tenant.first).context("there is a tenant")
    }
}
