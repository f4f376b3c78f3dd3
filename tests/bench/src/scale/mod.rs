//! Many records on one machine: whether the last are stored as fast as the first, what becomes of the tables, and
//! whether the HTTP API still answers at once. And a soak: whether memory and tables stay as they are.

mod api;
mod ground;
mod memory;
mod tables;

use super::goal::{Aim, Findings, Goal};
use super::jobs::{pages_settled, until_completed};
use super::throughput::meter::{median, resident_memory};
use super::{about, say};
use anyhow::{Result, ensure};
use api::Api;
use chrono::{DateTime, Utc};
use ground::Ground;
use memory::FullMemory;
use protocol::ids::JobId;
use stage::{Stage, thousands};
use std::time::Duration;
use tables::Tables;
use tokio::time::{Instant, sleep};

/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(3600);
/// Between two looks at how far it is.
const LOOK: Duration = Duration::from_millis(250);

/// What is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// How many records are pulled.
    pub records: u64,
    /// Of how many connections, each with a tenant of its own.
    pub connections: u32,
    /// Consumers.
    pub consumers: usize,
    /// Jobs that are over, in the table beside those that run.
    pub old_jobs: u32,
    /// How long the same records are pulled again and again after that.
    pub soak: Option<Duration>,
}

impl Plan {
    /// Sessions of a consumer for its pages: two per core in all of the fleet, since more of them only wait for a core.
    fn sessions(&self) -> Result<usize> {
        Ok((std::thread::available_parallelism()?.get() * 2 / self.consumers.max(1)).max(1))
    }
}

/// Settings of PostgreSQL: durable as it comes, and no smaller than for so many rows is sane. As it comes, its background
/// writer writes 500 buffers in a second; sessions that settled wrote 10,000, those that a table grew by among them.
pub const POSTGRES: [&str; 5] = [
    "shared_buffers=2GB",
    "max_wal_size=8GB",
    "checkpoint_timeout=5min",
    "bgwriter_delay=50ms",
    "bgwriter_lru_maxpages=1000",
];

/// Measures all of it.
///
/// # Errors
/// When something does not start, or a job does not complete.
pub async fn measure(stage: &Stage, plan: Plan) -> Result<Findings> {
    let mut found = Findings { about: about(stage).await?, ..Findings::default() };
    found.about.push((
        "settings".to_owned(),
        format!(
            "{} records of some 850 bytes in pages of 100, {} tenants with a connection each, a producer, and {} consumers with database.max_connections = {}, else as by default; {}",
            thousands(i64::try_from(plan.records)?),
            plan.connections,
            plan.consumers,
            plan.sessions()?,
            POSTGRES.join(", ")
        ),
    ));
    let _full = FullMemory::of_this_machine().await?;
    let mut ground = Box::pin(Ground::prepare(stage, plan)).await?;
    let api = Api::of(&ground, plan.old_jobs).await?;
    let fleet = ground.fleet(plan).await?;
    let workers: Vec<_> = fleet.iter().map(|member| member.process.pid()).collect();

    let jobs = ground.start_all().await?;
    // A start is applied a moment after it was published.
    let published = Instant::now();
    while stage.store.jobs().get(jobs[0], None).await?.is_none() {
        ensure!(published.elapsed() < LONGEST, "the first job is not accepted");
        sleep(LOOK).await;
    }
    let watch = api.watch(jobs[0]).await?;
    let (progress, answers) = watch.until(fill(&mut ground, &jobs, plan)).await?;
    answers.report(&mut found);
    rates(&progress, plan, &mut found);
    let tables = Tables::read(&mut ground.session).await?;
    found.notes.extend(tables.lines());
    for (member, pid) in fleet.iter().zip(&workers) {
        let resident = resident_memory(*pid).unwrap_or_default() >> 20;
        found.notes.push(format!("{}: {resident} MiB resident at the end", member.name));
    }
    if let Some(lasts) = plan.soak {
        soak(&mut ground, &workers, lasts, &mut found).await?;
    }
    found.problems = ground.problems(plan).await?;
    drop(fleet);
    Ok(found)
}

/// When so many pages were settled.
type Progress = Vec<(Instant, i64)>;

async fn fill(ground: &mut Ground<'_>, jobs: &[JobId], plan: Plan) -> Result<Progress> {
    let wanted = i64::try_from(plan.records / 100)?;
    let mut progress = vec![(Instant::now(), 0)];
    let mut said = 0;
    loop {
        sleep(LOOK).await;
        let pages = pages_settled(&mut ground.session).await?;
        progress.push((Instant::now(), pages));
        if pages * 10 / wanted.max(1) > said {
            said = pages * 10 / wanted.max(1);
            say(format_args!("{} pages, {said} tenths", thousands(pages)));
        }
        if over(ground, jobs).await? {
            break;
        }
        ensure!(progress[0].0.elapsed() < LONGEST, "only {pages} pages are settled");
    }
    until_completed(&mut ground.session, jobs, LOOK).await?;
    Ok(progress)
}

async fn over(ground: &mut Ground<'_>, jobs: &[JobId]) -> Result<bool> {
    let ids: Vec<_> = jobs.iter().map(|job| job.0).collect();
    let sql = "select count(*) from jobs where id = any($1) and finished_at is not null";
    let over: i64 = sqlx::query_scalar(sql).bind(ids).fetch_one(&mut ground.session).await?;
    Ok(over == i64::try_from(jobs.len())?)
}

/// Pages per second of each tenth, and the last to the first.
fn rates(progress: &Progress, plan: Plan, found: &mut Findings) {
    let (Some((began, _)), Some((ended, pages))) = (progress.first(), progress.last()) else { return };
    let at = |wanted: f64| {
        let reached = progress.windows(2).find(|pair| number(pair[1].1) >= wanted)?;
        let [(before, done), (after, more)] = [reached[0], reached[1]];
        let part = (wanted - number(done)) / number(more - done).max(1.0);
        Some((before - *began).as_secs_f64() + part * (after - before).as_secs_f64())
    };
    let tenths: Vec<f64> =
        (0..=10).filter_map(|tenth| at(number(*pages) / 10.0 * f64::from(tenth))).collect();
    let rates: Vec<f64> = tenths.windows(2).map(|pair| number(*pages) / 10.0 / (pair[1] - pair[0])).collect();
    let [first, second, .., before_last, last] = rates[..] else { return };
    // The first tenth begins with planning, the last ends with slices that run out: the neighbours tell whether it is that.
    let what = |which: &str| format!("pages/s in the {which}");
    let ratio = last / first;
    found.goals.push(Goal {
        what: what("last tenth, to the first"),
        aim: Aim::AtLeast(0.9),
        measured: ratio,
        unit: "",
    });
    let ratio = before_last / second;
    found.goals.push(Goal {
        what: what("ninth tenth, to the second"),
        aim: Aim::AtLeast(0.9),
        measured: ratio,
        unit: "",
    });
    let seconds = (*ended - *began).as_secs_f64();
    let tenths: Vec<_> = rates.iter().map(|rate| format!("{rate:.0}")).collect();
    found.notes.push(format!(
        "{} records in {seconds:.0} s: {:.0} pages/s; by tenths {}",
        thousands(i64::try_from(plan.records).unwrap_or(i64::MAX)),
        number(*pages) / seconds,
        tenths.join(" ")
    ));
}

/// Pulls the same again and again, and compares memory and tables of the last third with those of the first.
async fn soak(ground: &mut Ground<'_>, workers: &[u32], lasts: Duration, found: &mut Findings) -> Result<()> {
    say(format_args!("soaking for {lasts:?}"));
    let (began, mut samples, mut rounds) = (Instant::now(), Vec::new(), 0);
    while began.elapsed() < lasts {
        let jobs = ground.start_all().await?;
        rounds += 1;
        loop {
            sleep(LOOK * 8).await;
            let memory: Vec<_> = workers.iter().filter_map(|pid| resident_memory(*pid)).collect();
            let largest = memory.into_iter().max().unwrap_or_default();
            let slices: i64 = sqlx::query_scalar("select pg_total_relation_size('slices')")
                .fetch_one(&mut ground.session)
                .await?;
            samples.push((number(i64::try_from(largest >> 10)?) * 1024.0, number(slices)));
            ensure!(began.elapsed() < lasts + LONGEST, "the last round of the soak does not end");
            if over(ground, &jobs).await? {
                break;
            }
        }
        until_completed(&mut ground.session, &jobs, LOOK).await?;
    }
    let third = samples.len() / 3;
    let of = |samples: &[(f64, f64)]| median(samples.iter().map(|sample| sample.0).collect());
    let (first, last) = (of(&samples[..third.max(1)]), of(&samples[samples.len() - third.max(1)..]));
    let what = format!("memory of a consumer in the last third of {} s, to the first", lasts.as_secs());
    found.goals.push(Goal { what, aim: Aim::AtMost(1.1), measured: last / first, unit: "" });
    let mib = |bytes: f64| bytes / 1_048_576.0;
    let slices = |sample: Option<&(f64, f64)>| sample.map(|sample| mib(sample.1)).unwrap_or_default();
    let told = format!(
        "soak: {rounds} rounds of all jobs; {:.0} MiB resident at first, {:.0} MiB at last (medians of thirds); slices {:.1} → {:.1} MiB, of {rounds} times as many rows",
        mib(first),
        mib(last),
        slices(samples.first()),
        slices(samples.last())
    );
    // At once: what is checked at the end may not come to its end.
    say(&told);
    found.notes.push(told);
    found.notes.extend(Tables::read(&mut ground.session).await?.lines());
    Ok(())
}

fn number(whole: i64) -> f64 {
    // Far below where a float has gaps between whole numbers.
    whole.to_string().parse().unwrap_or_default()
}

/// The span of the upstream's calls.
type Times = (DateTime<Utc>, DateTime<Utc>);
