//! How long it takes until work goes on: after the death of a consumer, a connection that swallows everything, a restart
//! of the broker, and one of Postgres.

use super::ground::Ground;
use super::{Figures, Series, about, say};
use anyhow::{Context, Result, ensure};
use configuration::AmqpConfig;
use futures::future::try_join_all;
use sqlx::PgConnection;
use stage::{Member, Stage};
use std::time::Duration;
use testkit::private::Private;
use testkit::proxy::ToServers;
use tokio::time::{Instant, sleep};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(2);
/// What has not happened by then never will.
const LONGEST: Duration = Duration::from_secs(120);
/// What is aimed at.
const KILLED: Duration = Duration::from_secs(1);
/// RabbitMQ looks once per heartbeat, and gives a connection up that was silent at two looks: after 14 to 21 s.
const HALF_OPEN: Duration = Duration::from_secs(22);
const BROKER: Duration = Duration::from_secs(5);
const POSTGRES: Duration = Duration::from_secs(2);

/// What swallows everything, without a word to anybody.
#[derive(Clone, Copy, Debug)]
enum Cut {
    /// All connections, as when a machine or its network is lost.
    Machine,
    /// The connections to the broker alone. The consumer goes on with its pages meanwhile, and keeps their leases; its
    /// doorbells come to others when the broker gives the connection up.
    Broker,
}

impl Cut {
    fn words(self) -> String {
        let heartbeat = AmqpConfig::default().heartbeat_seconds;
        match self {
            Self::Machine => format!("cut off from broker and Postgres (heartbeat {heartbeat}s)"),
            Self::Broker => format!("cut off from the broker alone (heartbeat {heartbeat}s)"),
        }
    }
}

/// How often each is measured.
#[derive(Clone, Copy, Debug)]
pub struct Plan {
    /// Consumers killed with a page in hand.
    pub kills: usize,
    /// Consumers whose machine is cut off, and as many whose connections to the broker alone go dead.
    pub half_open: usize,
    /// Restarts of the broker.
    pub broker: usize,
    /// Restarts of Postgres.
    pub postgres: usize,
}

/// Measures all of it.
///
/// # Errors
/// When something does not start, or work does not go on at all.
pub async fn measure(stage: &Stage, plan: Plan, servers: &mut Private) -> Result<Figures> {
    let mut figures = Figures { about: about(stage).await?, ..Figures::default() };
    figures.about.push((
        "settings".to_owned(),
        "as they are by default; 2 consumers, and those that are harmed".to_owned(),
    ));
    let ground = Box::pin(Ground::prepare(stage, plan.half_open.max(1), 2)).await?;
    let fleet = ground.consumers(&["consumer 1", "consumer 2"], &[]).await?;

    say(format_args!("{} consumers are killed, each with a page in hand", plan.kills));
    let times = kills(&ground, plan).await?;
    figures.series.push(Series::new("SIGKILL → its page claimed by another", Some(KILLED), times));

    for cut in [Cut::Machine, Cut::Broker] {
        say(format_args!("{} consumers: {}", plan.half_open, cut.words()));
        let times = half_open(&ground, plan, cut).await?;
        let what = format!("{} → its page claimed by another", cut.words());
        figures.series.push(Series::new(what, Some(HALF_OPEN), times));
    }

    say(format_args!("{} restarts of the broker", plan.broker));
    let mut times = Vec::new();
    for round in 0..plan.broker {
        if round % 2 == 0 { servers.rabbit.stop().await } else { servers.rabbit.kill().await }?;
        servers.rabbit.start_again().await?;
        let up = Instant::now();
        try_join_all(fleet.iter().map(|member| member.process.ready())).await?;
        times.push(up.elapsed());
    }
    figures.series.push(Series::new("broker up again → every consumer consumes", Some(BROKER), times));

    say(format_args!("{} restarts of Postgres", plan.postgres));
    let times = postgres(&ground, plan, servers).await?;
    figures.series.push(Series::new("Postgres up again → a page is settled", Some(POSTGRES), times));
    stage.renew_sessions().await;
    figures.problems = ground.problems().await?;
    drop(fleet);
    Ok(figures)
}

async fn kills(ground: &Ground<'_>, plan: Plan) -> Result<Vec<Duration>> {
    let connection = *ground.hanging.first().context("there is a hanging connection")?;
    let mut times = Vec::new();
    for number in 0..plan.kills {
        let mut member = ground.consumers(&[&format!("victim {number}")], &[]).await?.remove(0);
        // A page goes to one of three; until it is the victim's, it is another one's.
        loop {
            let job = ground.start_and_hang(connection).await?;
            if !ground.stage.store.workers().pages_held_by(member.worker).await?.is_empty() {
                tracing::debug!(%job, "is in the victim's hands");
                break;
            }
            ground.end(connection).await?;
        }
        let held = ground.stage.store.workers().pages_held_by(member.worker).await?;
        member.process.kill().await?;
        let began = Instant::now();
        while ground.stage.store.workers().pages_taken_over(member.worker, &held).await? == 0 {
            ensure!(began.elapsed() < LONGEST, "nobody takes the page of victim {number} over");
            sleep(LOOK).await;
        }
        times.push(began.elapsed());
        ground.end(connection).await?;
    }
    Ok(times)
}

async fn half_open(ground: &Ground<'_>, plan: Plan, cut: Cut) -> Result<Vec<Duration>> {
    let victims = (0..plan.half_open).map(async |number| {
        let way = ToServers::open(&ground.stage.amqp().url, ground.stage.database()).await?;
        let name = format!("{cut:?} {number}");
        let member = Member::start(ground.stage, &name, &way.variables).await?;
        member.process.ready().await?;
        anyhow::Ok((way, member))
    });
    let victims = try_join_all(victims).await?;
    // Started until each victim has a page; a page goes to whoever is next.
    let began = Instant::now();
    let mut held = Vec::new();
    loop {
        ensure!(
            began.elapsed() < LONGEST,
            "the pages do not come into the hands of those that are to be cut off"
        );
        for connection in &ground.hanging {
            ground.end(*connection).await?;
        }
        try_join_all(ground.hanging.iter().map(|connection| ground.start_and_hang(*connection))).await?;
        held.clear();
        for (_way, member) in &victims {
            held.push(ground.stage.store.workers().pages_held_by(member.worker).await?);
        }
        if held.iter().any(|pages| !pages.is_empty()) {
            break;
        }
    }
    let began = Instant::now();
    for (way, _member) in &victims {
        way.broker.stall_both();
        if matches!(cut, Cut::Machine) {
            way.database.stall_both();
        }
    }
    let mut times = Vec::new();
    let waits = victims.iter().zip(&held).filter(|(_, held)| !held.is_empty());
    let waits = waits.map(async |((_way, member), held)| {
        while ground.stage.store.workers().pages_taken_over(member.worker, held).await?
            < i64::try_from(held.len())?
        {
            ensure!(began.elapsed() < LONGEST, "nobody takes the pages of {} over", member.name);
            sleep(LOOK * 5).await;
        }
        anyhow::Ok(began.elapsed())
    });
    times.extend(try_join_all(waits).await?);
    drop(victims);
    for connection in &ground.hanging {
        ground.end(*connection).await?;
    }
    Ok(times)
}

async fn postgres(ground: &Ground<'_>, plan: Plan, servers: &mut Private) -> Result<Vec<Duration>> {
    for connection in &ground.fast {
        ground.start(*connection, Some(Ground::beginning()?)).await?;
    }
    let mut times = Vec::new();
    for round in 0..plan.postgres {
        let mut session = ground.stage.session().await?;
        let (began, start) = (Instant::now(), settled(&mut session).await?);
        while settled(&mut session).await? < start + 20 {
            ensure!(began.elapsed() < LONGEST, "nothing is settled");
            sleep(LOOK * 10).await;
        }
        if round % 2 == 0 { servers.postgres.stop().await } else { servers.postgres.kill().await }?;
        servers.postgres.start_again().await?;
        let mut session = ground.stage.session().await?;
        let before = settled(&mut session).await?;
        let up = Instant::now();
        while settled(&mut session).await? == before {
            ensure!(up.elapsed() < LONGEST, "nothing is settled after a restart of Postgres");
            sleep(LOOK).await;
        }
        times.push(up.elapsed());
    }
    Ok(times)
}

async fn settled(session: &mut PgConnection) -> Result<i64> {
    Ok(sqlx::query_scalar("select count(*) from page_log").fetch_one(session).await?)
}
