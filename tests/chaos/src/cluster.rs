//! Faults of a cluster, one after the other, each kind as often as the others. After each it is measured how long it
//! takes until a command is applied that was published, as a message, after the fault was over.

use super::fault::ClusterFault;
use super::post::Sent;
use super::world::{World, patiently};
use anyhow::Result;
use protocol::command::CancelCommand;
use protocol::ids::JobId;
use protocol::topology::WorkQueue;
use rand::RngExt;
use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use std::time::Duration;
use testkit::private::Cluster;
use tokio::time::{Instant, sleep};

/// After a majority has come back, work must go on within this, in half of the cases.
const GOAL: Duration = Duration::from_secs(10);
/// A recovery that takes longer is noted as not seen.
const LONGEST: Duration = Duration::from_secs(60);
/// How long the old primary goes on for those who are connected to it.
const UNFENCED: Duration = Duration::from_secs(5);

pub(super) async fn harm(world: &World<'_>, cluster: &mut Cluster) -> Result<()> {
    let mut random = world.random("cluster");
    let mut faults = Vec::new();
    let mut after_majorities = Vec::new();
    loop {
        world.rest(Duration::from_millis(random.random_range(2_000..6_000))).await;
        if world.stop.is_cancelled() {
            judge(world, after_majorities);
            return Ok(());
        }
        if faults.is_empty() {
            faults = ClusterFault::ALL.to_vec();
            faults.shuffle(&mut random);
        }
        let Some(fault) = faults.pop() else { continue };
        world.tally.fault(fault.words());
        let small = happens(world, cluster, fault, &mut random).await?;
        let after = applies(world).await?;
        if let Some((queue, node)) = small {
            cluster.grow(&queue, node).await?;
        }
        world.tally.recovered(fault.words(), after);
        if fault.of_the_majority() {
            after_majorities.push(after.unwrap_or(LONGEST));
        }
    }
}

/// Returns when it is over; with a queue, and the node on which it still has to get its member again.
async fn happens(
    world: &World<'_>,
    cluster: &mut Cluster,
    fault: ClusterFault,
    random: &mut StdRng,
) -> Result<Option<(String, usize)>> {
    let mut nodes: Vec<usize> = (0..cluster.nodes()).collect();
    nodes.shuffle(random);
    let majority = &nodes[..nodes.len() / 2 + 1];
    let (one, time) = (&nodes[..1], Duration::from_millis(random.random_range(1_000..12_000)));
    match fault {
        ClusterFault::KillNode => cluster.kill(one, time).await?,
        ClusterFault::PauseNode => cluster.pause(one, time).await?,
        ClusterFault::UnplugNode => cluster.unplug(one, time).await?,
        ClusterFault::PartNode => cluster.part(one[0], time).await?,
        ClusterFault::KillMajority => cluster.kill(majority, time).await?,
        ClusterFault::PauseMajority => cluster.pause(majority, time).await?,
        ClusterFault::UnplugMajority => cluster.unplug(majority, time).await?,
        ClusterFault::KillQueueMajority => {
            let queue = some_queue(world, random);
            cluster.shrink(&queue, nodes[0]).await?;
            cluster.kill(&nodes[1..2], time).await?;
            return Ok(Some((queue, nodes[0])));
        }
        ClusterFault::GrowQueue => {
            let queue = some_queue(world, random);
            cluster.shrink(&queue, nodes[0]).await?;
            sleep(time).await;
            cluster.grow(&queue, nodes[0]).await?;
        }
        ClusterFault::FailOver => cluster.fail_over(UNFENCED).await?,
    }
    Ok(None)
}

fn some_queue(world: &World<'_>, random: &mut StdRng) -> String {
    let queues = [WorkQueue::Starts, WorkQueue::Cancels, WorkQueue::Pages];
    world.stage.amqp().topology().queue(queues[random.random_range(0..queues.len())])
}

/// Until a command that is published now has been applied.
async fn applies(world: &World<'_>) -> Result<Option<Duration>> {
    let began = Instant::now();
    let probe = Sent::cancel(CancelCommand { job_id: Some(JobId::random()), ..CancelCommand::default() });
    while began.elapsed() < LONGEST {
        // What was not confirmed is published again; the same command is applied once.
        probe.publish(world).await;
        let confirmed = world.ledger.promises().confirmed.contains(probe.id());
        while confirmed && began.elapsed() < LONGEST {
            if applied(world, probe.id()).await? {
                return Ok(Some(began.elapsed()));
            }
            sleep(Duration::from_millis(20)).await;
        }
    }
    Ok(None)
}

async fn applied(world: &World<'_>, id: &str) -> Result<bool> {
    patiently(async || {
        let mut session = world.stage.session().await?;
        let sql = "select exists (select from commands where given = $1)";
        anyhow::Ok(sqlx::query_scalar(sql).bind(id).fetch_one(&mut session).await?)
    })
    .await
}

fn judge(world: &World<'_>, mut after: Vec<Duration>) {
    after.sort_unstable();
    if let Some(median) = after.get(after.len() / 2)
        && *median > GOAL
    {
        world.tally.problem(format!(
            "after the return of a majority it took {median:.1?} (median) until a command was applied, not {GOAL:?}"
        ));
    }
}
