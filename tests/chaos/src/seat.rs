//! A seat of the fleet: there is always a consumer in it, whatever happens to the one before; what happens is decided by
//! the seed. Its connections lead through proxies of its own.

use super::fault::Fault;
use super::world::{World, behind_proxies, patiently};
use anyhow::{Context, Result};
use protocol::ids::WorkerId;
use rand::RngExt;
use rand::rngs::StdRng;
use stage::Member;
use std::time::Duration;
use testkit::proxy::{Direction, FaultProxy, ToServers};
use tokio::time::{Instant, sleep};

/// A recovery that takes longer is noted as not seen; the end decides whether anything came of it.
const LONGEST: Duration = Duration::from_secs(20);
/// A deploy's turn of a consumer.
const ROLLED: &str = "consumer rolled";
/// Between two looks at whether it has recovered.
const LOOK: Duration = Duration::from_millis(10);
/// A consumer that is not ready by then never will be. On a busy machine a restarted broker alone takes a minute.
const BOOT: Duration = Duration::from_secs(240);

/// A seat, and who sits in it.
#[derive(Debug)]
pub(super) struct Seat {
    number: usize,
    boots: u32,
    random: StdRng,
    broker: FaultProxy,
    database: FaultProxy,
    variables: Vec<(&'static str, String)>,
    member: Member,
}

impl Seat {
    pub(super) async fn take(world: &World<'_>, number: usize) -> Result<Self> {
        let ToServers { broker, database, variables } = behind_proxies(world.stage).await?;
        let member = Member::start(world.stage, &format!("consumer {number}.0"), &variables).await?;
        member.process.ready().await?;
        let random = world.random(&format!("seat {number}"));
        Ok(Self { number, boots: 0, random, broker, database, variables, member })
    }

    /// Is hit by one fault after the other, until the chaos stops.
    pub(super) async fn be_hit(&mut self, world: &World<'_>) -> Result<()> {
        loop {
            world.rest(Duration::from_millis(self.random.random_range(100..1500))).await;
            if world.stop.is_cancelled() {
                return Ok(());
            }
            if let Some(status) = self.member.process.ended()? {
                let (name, log) = (&self.member.name, self.member.process.log().display());
                world.tally.problem(format!("{name} ended by itself ({status}): {log}"));
                self.boot(world).await?;
            }
            let fault = Fault::choose(&mut self.random);
            world.tally.fault(fault.words());
            let after = self.hit(world, fault).await?;
            world.tally.recovered(fault.words(), after);
        }
    }

    /// Is replaced in good order, as at a deploy.
    pub(super) async fn roll(&mut self, world: &World<'_>) -> Result<()> {
        world.tally.fault(ROLLED);
        let after = self.hit(world, Fault::Terminate).await?;
        world.tally.recovered(ROLLED, after);
        Ok(())
    }

    /// One fault, until work goes on: how long that took from the moment at which it could.
    async fn hit(&mut self, world: &World<'_>, fault: Fault) -> Result<Option<Duration>> {
        let direction = if self.random.random() { Direction::ToTarget } else { Direction::ToClient };
        let midway = self.random.random_range(50..6000);
        match fault {
            Fault::Kill => {
                let dead = self.member.worker;
                self.member.process.kill().await?;
                self.replace(world, dead).await
            }
            Fault::Terminate => {
                let leaving = self.member.worker;
                self.member.process.terminate()?;
                let status = self.member.process.exit().await?;
                if !status.success() {
                    world
                        .tally
                        .problem(format!("{} did not end well after SIGTERM: {status}", self.member.name));
                }
                self.replace(world, leaving).await
            }
            Fault::Freeze => {
                self.member.process.freeze()?;
                let time = self.some_time(300, 6000);
                world.rest(time).await;
                self.member.process.thaw()?;
                self.works(world).await
            }
            Fault::CutBroker => {
                self.broker.cut().await;
                self.consumes(world).await
            }
            Fault::CutBrokerMidway => {
                self.broker.cut_after(direction, midway);
                let time = self.some_time(200, 1500);
                world.rest(time).await;
                self.broker.resume();
                self.consumes(world).await
            }
            Fault::StallBroker => {
                self.broker.stall_both();
                let time = self.some_time(300, 7000);
                world.rest(time).await;
                self.broker.resume();
                self.consumes(world).await
            }
            Fault::CutDatabase => {
                self.database.cut().await;
                self.works(world).await
            }
            Fault::CutDatabaseMidway => {
                self.database.cut_after(direction, midway);
                let time = self.some_time(200, 1500);
                world.rest(time).await;
                self.database.resume();
                self.works(world).await
            }
            Fault::StallDatabase => {
                self.database.stall_both();
                let time = self.some_time(300, 6000);
                world.rest(time).await;
                self.database.resume();
                self.works(world).await
            }
            Fault::EndSessions => {
                end_sessions(world, self.random.random_range(1..=8)).await;
                self.works(world).await
            }
        }
    }

    fn some_time(&mut self, least: u64, most: u64) -> Duration {
        Duration::from_millis(self.random.random_range(least..most))
    }

    /// Somebody else sits down, while the pages of the one before come into other hands.
    async fn replace(&mut self, world: &World<'_>, gone: WorkerId) -> Result<Option<Duration>> {
        let began = Instant::now();
        let (booted, taken_over) = tokio::join!(self.boot(world), taken_over(world, gone, began));
        booted?;
        taken_over
    }

    async fn boot(&mut self, world: &World<'_>) -> Result<()> {
        self.boots += 1;
        let name = format!("consumer {}.{}", self.number, self.boots);
        self.member = Member::start(world.stage, &name, &self.variables).await?;
        self.member.process.ready_within(BOOT).await.with_context(|| format!("{name} does not consume"))
    }

    /// Until it is connected anew and says that it is ready.
    async fn consumes(&self, world: &World<'_>) -> Result<Option<Duration>> {
        let began = Instant::now();
        while began.elapsed() < LONGEST {
            if self.broker.open() > 0 && matches!(self.member.process.get("/readyz").await, Ok((200, _))) {
                return Ok(Some(began.elapsed()));
            }
            if world.stop.is_cancelled() {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
        Ok(None)
    }

    /// Until it has settled another page.
    async fn works(&self, world: &World<'_>) -> Result<Option<Duration>> {
        let began = Instant::now();
        let before = self.settled().await;
        while began.elapsed() < LONGEST {
            if self.settled().await > before {
                return Ok(Some(began.elapsed()));
            }
            if world.stop.is_cancelled() {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
        Ok(None)
    }

    async fn settled(&self) -> Option<u64> {
        let (_status, text) = self.member.process.get("/metrics").await.ok()?;
        let line = text.lines().find(|line| line.starts_with("pages_settled_total"))?;
        line.rsplit(' ').next()?.parse().ok()
    }

    /// Waits until it consumes, all faults being over.
    pub(super) async fn recover(&mut self, world: &World<'_>) -> Result<()> {
        self.broker.resume();
        self.database.resume();
        if self.member.process.ended()?.is_some() {
            self.boot(world).await?;
        }
        self.member.process.ready_within(BOOT).await
    }

    /// Ends in good order.
    pub(super) async fn leave(&mut self, world: &World<'_>) -> Result<()> {
        self.member.process.terminate()?;
        let status = self.member.process.exit().await?;
        if !status.success() {
            world.tally.problem(format!("{} did not end well: {status}", self.member.name));
        }
        Ok(())
    }
}

/// Until a worker that is gone holds no page any more.
async fn taken_over(world: &World<'_>, gone: WorkerId, began: Instant) -> Result<Option<Duration>> {
    while began.elapsed() < LONGEST {
        if patiently(async || world.stage.store.workers().pages_held_by(gone).await).await?.is_empty() {
            return Ok(Some(began.elapsed()));
        }
        sleep(LOOK).await;
    }
    Ok(None)
}

/// Ends some sessions of the programs, whatever they are doing.
async fn end_sessions(world: &World<'_>, number: i64) {
    let sql = "select count(pg_terminate_backend(pid)) from (
                   select pid from pg_stat_activity
                    where datname = current_database() and application_name like 'backhaul%'
                    order by random() limit $1) chosen";
    let Ok(mut session) = world.stage.session().await else { return };
    let ended = sqlx::query_scalar::<_, i64>(sql).bind(number).fetch_one(&mut session).await;
    tracing::debug!(?ended, "sessions were terminated");
}
