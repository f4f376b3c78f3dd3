//! How long a cancel takes: idle, under load, with more jobs than slots, with the push cut off, and with every worker
//! that holds a page stopped.

use super::ground::{Ground, HANGS};
use super::observer::Took;
use super::{Figures, Series, about, say};
use anyhow::Result;
use futures::future::{join_all, try_join_all};
use lapin::options::ExchangeDeleteOptions;
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use stage::{Member, Stage};
use std::time::Duration;
use tokio::time::sleep;

/// Jobs that are cancelled side by side under load.
const LANES: usize = 8;
/// Consumers.
const FLEET: usize = 2;
/// Tenants that keep the fleet busy under load.
const BUSY: usize = 4;
/// The longest call to the broker.
const BROKER_LIMIT: Duration = Duration::from_secs(10);
/// What is aimed at.
const IDLE: Duration = Duration::from_millis(250);
const LOADED: Duration = Duration::from_millis(500);
/// Beyond the interval of renewals, or the deadline.
const RENEWAL_GRACE: Duration = Duration::from_secs(1);
const DEADLINE_GRACE: Duration = Duration::from_secs(2);

/// What is measured, and how often.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Cancels by message, and as many over HTTP, of each of the first three kinds.
    pub cancels: usize,
    /// Cancels of the others, which take seconds each.
    pub slow_cancels: usize,
    /// Pages in flight per consumer.
    pub slots: usize,
    /// `cancel.deadline_ms` where nobody answers.
    pub deadline: Duration,
    /// `leases.renew_every_ms`.
    pub renew_every: Duration,
}

/// How a cancel is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Message,
    Http,
}

impl Way {
    const BOTH: [Self; 2] = [Self::Message, Self::Http];

    async fn cancel(self, ground: &Ground<'_>, job: JobId) -> Result<Took> {
        match self {
            Self::Message => ground.cancel_by_message(job).await,
            Self::Http => ground.cancel_over_http(job).await,
        }
    }
}

type Measured = Vec<(Way, Took)>;

/// Measures all of it.
///
/// # Errors
/// When something does not start, or a job does not come to what it must.
pub async fn measure(stage: &Stage, plan: Plan) -> Result<Figures> {
    let mut figures = Figures { about: about(stage).await?, ..Figures::default() };
    figures.about.push(("settings".to_owned(), settings(plan)));
    let waiting = FLEET * plan.slots * 3;
    let ground = Box::pin(Ground::prepare(stage, waiting, BUSY)).await?;
    let variables = [("BACKHAUL__PAGES__SLOTS", plan.slots.to_string())];
    let fleet = ground.consumers(&["consumer 1", "consumer 2"], &variables).await?;

    say("idle: one job at a time");
    let measured = idle(&ground, plan).await?;
    rows(&mut figures, "idle", IDLE, &measured);

    say(format_args!(
        "under load: {BUSY} other tenants keep every slot busy, {LANES} jobs side by side are cancelled"
    ));
    let (measured, busy) = loaded(&ground, plan).await?;
    rows(&mut figures, "under load", LOADED, &measured);
    figures
        .notes
        .push(format!("under load {busy:.1} of {} slots held a page, on average", FLEET * plan.slots));

    say(format_args!("more jobs than slots: {waiting} jobs, {} slots", FLEET * plan.slots));
    let measured = crowded(&ground, plan, waiting).await?;
    rows(&mut figures, "three jobs per slot", LOADED, &measured);

    say("push cut off: only renewals see a cancel");
    let measured = pushless(&ground, plan).await?;
    rows(&mut figures, "push cut off", plan.renew_every + RENEWAL_GRACE, &measured);
    drop(fleet);

    say("every worker that holds a page stands still (SIGSTOP): only the deadline ends a cancel");
    let measured = Box::pin(frozen(&ground, plan)).await?;
    rows(&mut figures, "workers frozen", plan.deadline + DEADLINE_GRACE, &measured);

    say("every worker that holds a page is killed (SIGKILL), and another one is there");
    let (measured, last) = Box::pin(killed(&ground, plan)).await?;
    rows(&mut figures, "workers killed", plan.deadline + DEADLINE_GRACE, &measured);
    figures.problems = ground.problems().await?;
    drop(last);
    Ok(figures)
}

fn settings(plan: Plan) -> String {
    format!(
        "{FLEET} consumers, {} slots each, one producer; leases renewed every {:?}; deadline {:?} (workers frozen or killed), else 180 s; every cancelled page hangs {HANGS:?} upstream",
        plan.slots, plan.renew_every, plan.deadline
    )
}

fn rows(figures: &mut Figures, what: &str, goal: Duration, measured: &Measured) {
    for (way, from) in [(Way::Message, "publish"), (Way::Http, "HTTP call")] {
        let of = |time: fn(&Took) -> Duration| {
            measured.iter().filter(|(of, _)| *of == way).map(|(_, took)| time(took)).collect::<Vec<_>>()
        };
        if measured.iter().any(|(of, _)| *of == way) {
            let stored =
                Series::new(format!("{what}: {from} → finished_at"), Some(goal), of(|took| took.stored));
            let seen =
                Series::new(format!("{what}: {from} → seen by a poll"), Some(goal), of(|took| took.seen));
            figures.series.extend([stored, seen]);
        }
    }
}

async fn idle(ground: &Ground<'_>, plan: Plan) -> Result<Measured> {
    let mut measured = Vec::new();
    for _cancel in 0..plan.cancels {
        for way in Way::BOTH {
            let job = ground.start_and_hang(ground.hanging[0]).await?;
            measured.push((way, way.cancel(ground, job).await?));
        }
    }
    Ok(measured)
}

async fn loaded(ground: &Ground<'_>, plan: Plan) -> Result<(Measured, f64)> {
    let lane = async |lane: usize| {
        let mut measured = Vec::new();
        for _cancel in 0..plan.cancels.div_ceil(LANES) {
            for way in Way::BOTH {
                let job = ground.start_and_hang(ground.hanging[lane]).await?;
                measured.push((way, way.cancel(ground, job).await?));
            }
        }
        anyhow::Ok(measured)
    };
    let mut leases = Vec::new();
    let lanes = async {
        let full = i64::try_from(FLEET * plan.slots)? * 3 / 4;
        let mut session = ground.stage.session().await?;
        while ground.leased(&mut session).await? < full {
            sleep(Duration::from_millis(50)).await;
        }
        anyhow::Ok(try_join_all((0..LANES).map(lane)).await?.concat())
    };
    let sample = async {
        let mut session = ground.stage.session().await?;
        loop {
            sleep(Duration::from_millis(300)).await;
            leases.push(i32::try_from(ground.leased(&mut session).await?)?);
        }
    };
    let measured: Result<Measured> = tokio::select! {
        measured = lanes => measured,
        failed = join_all(ground.fast.iter().map(|fast| keep_busy(ground, *fast))) => {
            failed.into_iter().collect::<Result<Vec<()>>>().map(|_never| Vec::new())
        }
        failed = sample => failed,
    };
    for fast in &ground.fast {
        ground.end(*fast).await?;
    }
    let busy =
        leases.iter().copied().map(f64::from).sum::<f64>() / f64::from(u32::try_from(leases.len())?.max(1));
    Ok((measured?, busy))
}

/// A job after the other, until this is dropped.
async fn keep_busy(ground: &Ground<'_>, connection: ConnectionId) -> Result<()> {
    loop {
        let job = ground.start(connection, Some(Ground::beginning()?)).await?;
        while ground.stage.store.jobs().get(job, None).await?.is_none_or(|view| !view.status.is_terminal()) {
            sleep(Duration::from_millis(500)).await;
        }
    }
}

async fn crowded(ground: &Ground<'_>, plan: Plan, waiting: usize) -> Result<Measured> {
    let lanes = 4;
    let running = async |connection: ConnectionId| {
        let job = ground.start(connection, None).await?;
        ground.until(job, |view| view.status != JobStatus::Pending).await?;
        anyhow::Ok(job)
    };
    let lane = async |lane: usize| {
        let ours = &ground.hanging[lane * waiting / lanes..(lane + 1) * waiting / lanes];
        let mut jobs = try_join_all(ours.iter().map(|connection| running(*connection))).await?;
        let mut measured = Vec::new();
        for _cancel in 0..plan.cancels.div_ceil(lanes) {
            for way in Way::BOTH {
                let chosen = rand::random_range(0..jobs.len());
                measured.push((way, way.cancel(ground, jobs[chosen]).await?));
                jobs[chosen] = running(ours[chosen]).await?;
            }
        }
        anyhow::Ok(measured)
    };
    let measured = try_join_all((0..lanes).map(lane)).await?.concat();
    for connection in &ground.hanging {
        ground.end(*connection).await?;
    }
    Ok(measured)
}

/// The exchange of aborts is deleted and declared again: the bindings of the workers' queues are gone with it.
async fn pushless(ground: &Ground<'_>, plan: Plan) -> Result<Measured> {
    let cut = ground.stage.with_broker(async |stage, channel| {
        let topology = stage.amqp().topology();
        channel.exchange_delete(topology.aborts().into(), ExchangeDeleteOptions::default()).await?;
        Ok(broker::declare(&topology, channel, BROKER_LIMIT).await?)
    });
    cut.await?;
    let lanes = (FLEET * plan.slots).min(plan.slow_cancels);
    let lane = async |lane: usize| {
        let mut measured = Vec::new();
        for round in 0..plan.slow_cancels.div_ceil(lanes) {
            let way = Way::BOTH[(lane + round) % 2];
            let job = ground.start_and_hang(ground.hanging[lane]).await?;
            // Not all within one interval of the renewals.
            sleep(plan.renew_every.mul_f64(rand::random_range(0.0..0.9))).await;
            measured.push((way, way.cancel(ground, job).await?));
        }
        anyhow::Ok(measured)
    };
    Ok(try_join_all((0..lanes).map(lane)).await?.concat())
}

/// By HTTP only: a message might be given to a worker that stands still, until the broker misses its heartbeats.
async fn frozen(ground: &Ground<'_>, plan: Plan) -> Result<Measured> {
    let (fleet, jobs) = holders(ground, plan).await?;
    for member in &fleet {
        member.process.freeze()?;
    }
    let other = ground.consumers(&["heir of the frozen"], &deadline(plan)).await?;
    let cancels = jobs.iter().map(async |job| Ok((Way::Http, Way::Http.cancel(ground, *job).await?)));
    let measured = try_join_all(cancels).await;
    drop((fleet, other));
    measured
}

async fn killed(ground: &Ground<'_>, plan: Plan) -> Result<(Measured, Vec<Member>)> {
    let (mut fleet, jobs) = holders(ground, plan).await?;
    let other = ground.consumers(&["heir of the killed"], &deadline(plan)).await?;
    for member in &mut fleet {
        member.process.kill().await?;
    }
    let ways = Way::BOTH.into_iter().cycle();
    let cancels =
        jobs.iter().zip(ways).map(async |(job, way)| anyhow::Ok((way, way.cancel(ground, *job).await?)));
    Ok((try_join_all(cancels).await?, other))
}

/// Consumers of their own, and jobs whose pages they hold.
async fn holders(ground: &Ground<'_>, plan: Plan) -> Result<(Vec<Member>, Vec<JobId>)> {
    let fleet = ground.consumers(&["holder 1", "holder 2"], &deadline(plan)).await?;
    let enough = (FLEET * plan.slots).min(plan.slow_cancels);
    let jobs = ground.hanging[..enough].iter().map(|connection| ground.start_and_hang(*connection));
    let jobs = try_join_all(jobs).await?;
    Ok((fleet, jobs))
}

fn deadline(plan: Plan) -> [(&'static str, String); 2] {
    [
        ("BACKHAUL__PAGES__SLOTS", plan.slots.to_string()),
        ("BACKHAUL__CANCEL__DEADLINE_MS", plan.deadline.as_millis().to_string()),
    ]
}
