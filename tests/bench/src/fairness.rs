//! What one tenant's flood does to another's pages, and what a second consumer adds, where the upstream is what takes
//! the time.

use super::goal::{Aim, Findings, Goal};
use super::jobs::{cancel, connect, pages_settled, start};
use super::throughput::meter::{median, p95};
use super::{about, say};
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, TimeDelta, Utc};
use protocol::ids::{ConnectionId, JobId};
use serde_json::json;
use sqlx::PgConnection;
use stage::{Member, Stage, milliseconds};
use std::time::Duration;
use testkit::process::Process;
use testkit::sample_upstream::TenantOptions;
use tokio::time::{Instant, sleep};

/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(240);
/// Slices of a tenant that are rung at a time, as it is by default.
const RUNG: i32 = 16;
/// Between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// Calls of each account of the upstream, one every ten minutes: enough for every flood.
const CALLS_PER_DAY: i64 = 144;

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How often each.
    pub rounds: usize,
    /// Slices of the flood.
    pub slices: u32,
    /// Pages of the small tenant.
    pub pages: i64,
    /// Pages in flight per consumer.
    pub slots: usize,
    /// What an answer of the upstream takes.
    pub delay: Duration,
    /// How long pages are counted for one consumer, and for two.
    pub window: Duration,
}

/// Measures all of it.
///
/// # Errors
/// When something does not start, or a job does not come to what it must.
pub async fn measure(stage: &Stage, plan: Plan) -> Result<Findings> {
    let mut found = Findings { about: about(stage).await?, ..Findings::default() };
    found.about.push((
        "settings".to_owned(),
        format!(
            "{} slots a process, else as by default; every answer of the upstream takes {:?}, a page has one record; {} rounds",
            plan.slots, plan.delay, plan.rounds
        ),
    ));
    let mut ground = Box::pin(Ground::prepare(stage, plan)).await?;
    let mut one = vec![ground.consumer("consumer 1").await?];

    let (mut ratios, mut crowded) = (Vec::new(), Vec::new());
    for round in 1..=plan.rounds {
        let alone = p95(ground.waits_of_small().await?);
        let beside_one = ground.beside_floods(1).await?;
        let beside_three = ground.beside_floods(3).await?;
        say(format_args!(
            "round {round}: p95 from page to page: alone {}, beside a flood {}, beside three {}",
            milliseconds(alone),
            milliseconds(beside_one),
            milliseconds(beside_three)
        ));
        ratios.push(beside_one.as_secs_f64() / alone.as_secs_f64());
        crowded.push(beside_three.as_secs_f64() / alone.as_secs_f64());
    }
    let what = format!("p95 page wait beside a flood of {} slices, to alone", plan.slices);
    found.goals.push(Goal { what, aim: Aim::AtMost(1.5), measured: median(ratios), unit: "" });
    found.notes.push(format!(
        "beside three such floods, whose {} rung slices do not fit into {} slots: {:.2}",
        3 * RUNG,
        plan.slots,
        median(crowded)
    ));

    let mut gains = Vec::new();
    for round in 1..=plan.rounds {
        let floods = ground.flood(4).await?;
        let with_one = ground.rate(plan.window).await?;
        one.push(ground.consumer("consumer 2").await?);
        let with_two = ground.rate(plan.window).await?;
        if let Some(mut second) = one.pop() {
            second.process.terminate()?;
            second.process.exit().await?;
        }
        ground.end(&floods).await?;
        say(format_args!("round {round}: {with_one:.0} pages/s with one consumer, {with_two:.0} with two"));
        gains.push(with_two / with_one);
    }
    let what = "two consumers to one, where the upstream takes the time".to_owned();
    found.goals.push(Goal { what, aim: Aim::AtLeast(1.9), measured: median(gains), unit: "" });
    found.problems = stage.problems().await?;
    drop(one);
    Ok(found)
}

struct Ground<'a> {
    stage: &'a Stage,
    plan: Plan,
    session: PgConnection,
    small: ConnectionId,
    floods: Vec<ConnectionId>,
    first: DateTime<Utc>,
    _upstream: Process,
}

impl<'a> Ground<'a> {
    async fn prepare(stage: &'a Stage, plan: Plan) -> Result<Self> {
        let calls = i64::from(plan.slices).max(plan.pages) * CALLS_PER_DAY;
        let upstream = stage
            .program("sample-upstream")?
            .arg("--listen")
            .arg("127.0.0.1:0")
            .arg(format!("--calls={calls}"))
            .arg("--tenants=1")
            .arg(format!("--delay-ms={}", plan.delay.as_millis()))
            .log(stage.logs.join("sample-upstream.log"))
            .start()?;
        let url = format!("http://{}", upstream.address().await?);
        let account = (url.as_str(), "key-tenant-1");
        let settings =
            json!({ "page_size": 1, "slice_days": 1, "max_slices": plan.slices, "sort": "created" });
        let mut floods = Vec::new();
        for number in 0..4 {
            let tenant = stage.store.tenants().create(&format!("flood-{number}"), RUNG).await?.id;
            floods.push(connect(stage, tenant, "flood", account, settings.clone()).await?);
        }
        let tenant = stage.store.tenants().create("small", RUNG).await?.id;
        let small = connect(stage, tenant, "small", account, settings).await?;
        let first = TenantOptions::numbered(1, 1).pop().context("there is a tenant")?.first;
        Ok(Self { stage, plan, session: stage.session().await?, small, floods, first, _upstream: upstream })
    }

    async fn consumer(&self, name: &str) -> Result<Member> {
        let variables = [("BACKHAUL__PAGES__SLOTS", self.plan.slots.to_string())];
        let member = Member::start(self.stage, name, &variables).await?;
        member.process.ready().await?;
        Ok(member)
    }

    /// From page to page of a job of one slice.
    async fn waits_of_small(&mut self) -> Result<Vec<Duration>> {
        // Without a beginning it is one slice.
        let to = self.first + TimeDelta::days(self.plan.pages);
        let job = start(self.stage, self.small, None, Some(to)).await?;
        let began = Instant::now();
        loop {
            let sql = "select settled_at from page_log where job_id = $1 order by page";
            let times: Vec<DateTime<Utc>> =
                sqlx::query_scalar(sql).bind(job.0).fetch_all(&mut self.session).await?;
            if i64::try_from(times.len())? >= self.plan.pages {
                self.end(&[job]).await?;
                return Ok(times.windows(2).filter_map(|pair| (pair[1] - pair[0]).to_std().ok()).collect());
            }
            ensure!(began.elapsed() < LONGEST, "the small tenant has only {} pages", times.len());
            sleep(LOOK * 10).await;
        }
    }

    async fn beside_floods(&mut self, floods: usize) -> Result<Duration> {
        let jobs = self.flood(floods).await?;
        let waits = self.waits_of_small().await?;
        self.end(&jobs).await?;
        Ok(p95(waits))
    }

    /// Starts so many floods, and waits until they have every slot they can get.
    async fn flood(&mut self, floods: usize) -> Result<Vec<JobId>> {
        let to = self.first + TimeDelta::days(i64::from(self.plan.slices));
        let mut jobs = Vec::new();
        for connection in &self.floods[..floods] {
            jobs.push(start(self.stage, *connection, Some(self.first), Some(to)).await?);
        }
        let most = i64::try_from((usize::try_from(RUNG)? * floods).min(self.plan.slots))?;
        let began = Instant::now();
        loop {
            let leased = "select count(*) from slices where lease_token is not null";
            let leased: i64 = sqlx::query_scalar(leased).fetch_one(&mut self.session).await?;
            let cut = "select count(*) from slices where job_id = any($1)";
            let ids: Vec<_> = jobs.iter().map(|job| job.0).collect();
            let cut: i64 = sqlx::query_scalar(cut).bind(ids).fetch_one(&mut self.session).await?;
            if leased >= most * 9 / 10 && cut == i64::from(self.plan.slices) * i64::try_from(floods)? {
                return Ok(jobs);
            }
            ensure!(began.elapsed() < LONGEST, "a flood holds {leased} of {most} slots, with {cut} slices");
            sleep(LOOK).await;
        }
    }

    async fn rate(&mut self, window: Duration) -> Result<f64> {
        let (before, began) = (pages_settled(&mut self.session).await?, Instant::now());
        sleep(window).await;
        let pages = pages_settled(&mut self.session).await? - before;
        Ok(f64::from(u32::try_from(pages)?) / began.elapsed().as_secs_f64())
    }

    async fn end(&mut self, jobs: &[JobId]) -> Result<()> {
        for job in jobs {
            cancel(self.stage, *job).await?;
        }
        let ids: Vec<_> = jobs.iter().map(|job| job.0).collect();
        let began = Instant::now();
        loop {
            let sql = "select count(*) from jobs where id = any($1) and finished_at is null";
            let open: i64 = sqlx::query_scalar(sql).bind(&ids).fetch_one(&mut self.session).await?;
            if open == 0 {
                return Ok(());
            }
            ensure!(began.elapsed() < LONGEST, "a job does not end");
            sleep(LOOK).await;
        }
    }
}
