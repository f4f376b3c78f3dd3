//! Faults of the servers themselves, where they are private.

use super::fault::ServerFault;
use super::world::{World, patiently};
use anyhow::Result;
use rand::RngExt;
use std::time::Duration;
use testkit::private::{Cluster, Private};
use tokio::time::{Instant, sleep};

/// A recovery that takes longer is noted as not seen.
const LONGEST: Duration = Duration::from_secs(30);

/// The servers that may be harmed.
#[derive(Debug)]
pub enum Harmed<'a> {
    /// None: they belong to others.
    Nothing,
    /// Both.
    Private(&'a mut Private),
    /// Each node and database of a cluster.
    Cluster(&'a mut Cluster),
}

/// Harms the servers now and then, until the chaos stops.
pub(super) async fn harm(world: &World<'_>, harmed: Harmed<'_>) -> Result<()> {
    match harmed {
        Harmed::Nothing => Ok(()),
        Harmed::Private(private) => harm_private(world, private).await,
        Harmed::Cluster(cluster) => super::cluster::harm(world, cluster).await,
    }
}

async fn harm_private(world: &World<'_>, private: &mut Private) -> Result<()> {
    let mut random = world.random("servers");
    loop {
        world.rest(Duration::from_millis(random.random_range(8_000..25_000))).await;
        if world.stop.is_cancelled() {
            return Ok(());
        }
        let fault = ServerFault::choose(&mut random);
        world.tally.fault(fault.words());
        let (kill, down) = (random.random_bool(0.5), Duration::from_millis(random.random_range(0..4000)));
        match fault {
            ServerFault::RestartPostgres => {
                if kill {
                    private.postgres.kill().await?;
                } else {
                    private.postgres.stop().await?;
                }
                sleep(down).await;
                private.postgres.start_again().await?;
            }
            ServerFault::RestartBroker => {
                if kill {
                    private.rabbit.kill().await?;
                } else {
                    private.rabbit.stop().await?;
                }
                sleep(down).await;
                private.rabbit.start_again().await?;
            }
            ServerFault::CloseConnections => {
                private.rabbit.control(&["close_all_connections", "chaos"]).await?;
            }
        }
        let after = works(world).await?;
        world.tally.recovered(fault.words(), after);
    }
}

/// Until somebody has settled another page.
async fn works(world: &World<'_>) -> Result<Option<Duration>> {
    let began = Instant::now();
    let before = settled(world).await?;
    while began.elapsed() < LONGEST {
        if settled(world).await? > before {
            return Ok(Some(began.elapsed()));
        }
        sleep(Duration::from_millis(20)).await;
    }
    Ok(None)
}

async fn settled(world: &World<'_>) -> Result<i64> {
    patiently(async || {
        let mut session = world.stage.session().await?;
        anyhow::Ok(sqlx::query_scalar("select count(*) from page_log").fetch_one(&mut session).await?)
    })
    .await
}
