//! What production should have: three RabbitMQ nodes, and a PostgreSQL with a synchronous standby, each behind one
//! address. The nodes are on machines of their own, as far as the network goes.

use super::network::Network;
use super::{PrivatePostgres, PrivateRabbit};
use crate::proxy::Forwarder;
use crate::servers::Servers;
use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;
use uuid::Uuid;

/// A queue has elected a leader by then.
const GROWS_WITHIN: Duration = Duration::from_secs(60);
/// Nodes of the broker.
const NODES: u8 = 3;

/// The cluster. Nodes are named by their numbers, from 0.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<PrivateRabbit>,
    network: Network,
    brokers: Forwarder,
    primary: PrivatePostgres,
    standby: Option<PrivatePostgres>,
    database: Forwarder,
}

impl Cluster {
    /// Starts it; half a minute.
    ///
    /// # Errors
    /// Without root, without `ip`, or when a server does not start.
    pub async fn start() -> Result<Self> {
        let network = Network::lay(NODES)?;
        let (nodes, databases) = tokio::try_join!(nodes(&network), async {
            let primary = PrivatePostgres::start().await?;
            let standby = primary.standby().await?;
            anyhow::Ok((primary, standby))
        })?;
        let brokers = Forwarder::start(nodes.iter().map(PrivateRabbit::socket).collect()).await?;
        let (primary, standby) = databases;
        let database = Forwarder::start(vec![primary.socket()]).await?;
        Ok(Self { nodes, network, brokers, primary, standby: Some(standby), database })
    }

    /// The two addresses.
    ///
    /// # Errors
    /// None: they are ours.
    pub fn servers(&self) -> Result<Servers> {
        let mut database: Url = self.primary.url()?;
        database.set_port(Some(self.database.address().port())).ok().context("the address takes no port")?;
        Ok(Servers { database, amqp: format!("amqp://guest:guest@{}/%2f", self.brokers.address()) })
    }

    /// How many nodes there are.
    #[must_use]
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Kills nodes at once, and starts them again after a while.
    ///
    /// # Errors
    /// When they do not start again.
    pub async fn kill(&mut self, nodes: &[usize], down: Duration) -> Result<()> {
        let mut killed: Vec<_> =
            self.nodes.iter_mut().enumerate().filter(|(number, _)| nodes.contains(number)).collect();
        try_join_all(killed.iter_mut().map(|(_, node)| node.kill())).await?;
        sleep(down).await;
        try_join_all(killed.iter_mut().map(|(_, node)| node.start_again())).await.map(drop)
    }

    /// Stops nodes' processes for a while, where they stand.
    ///
    /// # Errors
    /// When one does not run.
    pub async fn pause(&self, nodes: &[usize], time: Duration) -> Result<()> {
        for node in nodes {
            self.nodes[*node].signal(Signal::STOP)?;
        }
        sleep(time).await;
        nodes.iter().try_for_each(|node| self.nodes[*node].signal(Signal::CONT))
    }

    /// Pulls nodes' cables for a while: nobody reaches them.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub async fn unplug(&self, nodes: &[usize], time: Duration) -> Result<()> {
        nodes.iter().try_for_each(|node| self.network.unplug(*node))?;
        sleep(time).await;
        nodes.iter().try_for_each(|node| self.network.plug_in(*node))
    }

    /// For a while a node and the others do not hear each other, but clients reach all of them.
    ///
    /// # Errors
    /// When `ip` refuses.
    pub async fn part(&self, node: usize, time: Duration) -> Result<()> {
        self.network.part(node)?;
        sleep(time).await;
        self.network.join(node)
    }

    /// Takes a node's member from a queue.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn shrink(&self, queue: &str, node: usize) -> Result<()> {
        self.change_members("delete_member", queue, node).await
    }

    /// Gives a queue a member on a node, which gets what the others have.
    ///
    /// # Errors
    /// When the broker refuses for a minute; it does as long as the queue has no leader.
    pub async fn grow(&self, queue: &str, node: usize) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.change_members("add_member", queue, node).await {
                Err(_not_yet) if began.elapsed() < GROWS_WITHIN => sleep(Duration::from_millis(200)).await,
                grown => return grown,
            }
        }
    }

    async fn change_members(&self, verb: &str, queue: &str, node: usize) -> Result<()> {
        let by = &self.nodes[(node + 1) % self.nodes.len()];
        let arguments = [verb, "--vhost", "/", queue, &self.nodes[node].name()];
        by.tool("rabbitmq-queues", &arguments).await.map(drop)
    }

    /// Promotes the standby while the old primary goes on for a while, for whoever is connected to it; then that one is
    /// killed, and the new primary gets a standby.
    ///
    /// # Errors
    /// When a step fails.
    pub async fn fail_over(&mut self, unfenced: Duration) -> Result<()> {
        let new = self.standby.take().context("there is no standby")?;
        new.promote().await?;
        self.database.lead_to(vec![new.socket()]);
        let mut old = std::mem::replace(&mut self.primary, new);
        sleep(unfenced).await;
        old.kill().await?;
        drop(old);
        self.standby = Some(self.primary.standby().await?);
        Ok(())
    }
}

/// As deploy/rabbitmq/cluster.conf has it: what was delivered through a node that is gone comes back after 5 s, not after a
/// minute. Clients come from another machine.
const SETTINGS: &str = "quorum_queue.initial_cluster_size = 3\nconsumer_disconnected_timeout = 5000\n\
                        cluster_formation.peer_discovery_backend = classic_config\nloopback_users = none\n";

async fn nodes(network: &Network) -> Result<Vec<PrivateRabbit>> {
    let cookie = Uuid::new_v4().simple().to_string();
    let addresses: Vec<Ipv4Addr> = (0..NODES).map(|number| network.address(number)).collect();
    let mut settings = SETTINGS.to_owned();
    for (number, address) in addresses.iter().enumerate() {
        settings += &format!("cluster_formation.classic_config.nodes.{} = rabbit@{address}\n", number + 1);
    }
    let mut nodes = Vec::new();
    for (number, address) in addresses.into_iter().enumerate() {
        nodes.push(PrivateRabbit::on_machine(&network.namespace(number), address, &cookie, &settings)?);
    }
    try_join_all(nodes.iter_mut().map(PrivateRabbit::start_again)).await?;
    let status = nodes[0].control(&["cluster_status"]).await?;
    let missing = nodes.iter().map(PrivateRabbit::name).find(|name| !status.contains(name));
    ensure!(missing.is_none(), "{missing:?} is not in the cluster: {status}");
    Ok(nodes)
}

impl PrivatePostgres {
    fn socket(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
    }
}
