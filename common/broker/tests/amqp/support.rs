//! What each test needs: a namespace, a consumer whose deliveries the test holds, and limits to its patience.

use crate::proxy::Proxy;
use async_trait::async_trait;
use broker::{
    Delivery, Destination, Envelope, Intake, Prefetch, Publisher, SettleError, Supervisor, SupervisorOptions,
    SupervisorStatus, connect,
};
use configuration::AmqpConfig;
use lapin::options::{
    BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueDeleteOptions,
};
use lapin::{BasicProperties, Channel, Connection};
use protocol::ids::WorkerId;
use protocol::retry::RetryPolicy;
use protocol::topology::WorkQueue;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Far more than anything here takes, so that a failing test ends.
const PATIENCE: Duration = Duration::from_secs(30);

/// Awaits something that must happen.
pub(crate) async fn soon<T>(happening: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, happening).await.expect("it should have happened by now")
}

/// The first message of a queue, once there is one: what is given back to a quorum queue takes a moment to be there.
pub(crate) async fn first(
    channel: &Channel,
    queue: &str,
    options: BasicGetOptions,
) -> lapin::message::Delivery {
    let there = async {
        loop {
            if let Some(message) = channel.basic_get(queue.into(), options).await.expect("an answer") {
                return message.delivery;
            }
        }
    };
    soon(there).await
}

/// The broker under test, in a fresh namespace, with short delays.
pub(crate) fn config() -> AmqpConfig {
    let url = std::env::var("AMQP_URL").unwrap_or_else(|_| AmqpConfig::default().url);
    AmqpConfig {
        url,
        namespace: format!("test-{}", WorkerId::random()),
        reconnect: RetryPolicy::new(Duration::from_millis(20), Duration::from_millis(200)),
        publish_timeout: Duration::from_secs(20),
        ..AmqpConfig::default()
    }
}

/// A page message.
pub(crate) fn page(body: &str) -> Envelope {
    Envelope::new(Destination::Page, "page", body)
}

/// A namespace, and a connection of the test's own.
pub(crate) struct Bench {
    pub(crate) config: AmqpConfig,
    connection: Connection,
}

impl Bench {
    pub(crate) async fn new() -> Self {
        let bench = Self::undeclared().await;
        let channel = bench.channel().await;
        broker::declare(&bench.config.topology(), &channel, bench.config.call_timeout)
            .await
            .expect("declares");
        bench
    }

    /// The broker has nothing of these names yet.
    pub(crate) async fn undeclared() -> Self {
        let config = config();
        let connection = connect(&config, "test").await.expect("the broker runs");
        Self { config, connection }
    }

    pub(crate) async fn channel(&self) -> Channel {
        soon(self.connection.create_channel()).await.expect("a channel")
    }

    pub(crate) fn publisher(&self) -> Publisher {
        Publisher::start(self.config.clone(), "test publisher", "test")
    }

    pub(crate) async fn proxy(&self) -> Proxy {
        let url = url::Url::parse(&self.config.url).expect("a URL");
        let host = url.host_str().unwrap_or("127.0.0.1");
        Proxy::to(format!("{host}:{}", url.port().unwrap_or(5672))).await
    }

    /// The same namespace, seen through a proxy.
    pub(crate) fn through(&self, proxy: &Proxy) -> AmqpConfig {
        let mut url = url::Url::parse(&self.config.url).expect("a URL");
        url.set_host(Some("127.0.0.1")).expect("takes a host");
        url.set_port(Some(proxy.port)).expect("takes a port");
        AmqpConfig { url: url.to_string(), ..self.config.clone() }
    }

    /// Publishes as a foreign service would, and waits for the confirm.
    pub(crate) async fn publish_raw(&self, exchange: &str, key: &str, body: &[u8]) {
        let channel = self.channel().await;
        soon(channel.confirm_select(ConfirmSelectOptions::default())).await.expect("confirms");
        let options = BasicPublishOptions::default();
        let publish =
            channel.basic_publish(exchange.into(), key.into(), options, body, BasicProperties::default());
        let confirm = soon(publish).await.expect("is written");
        assert!(soon(confirm).await.expect("is confirmed").is_ack());
    }

    /// Takes the first message of a queue.
    pub(crate) async fn get(&self, queue: &str) -> Vec<u8> {
        first(&self.channel().await, queue, BasicGetOptions { no_ack: true }).await.data
    }

    /// Deletes a queue of the fleet's, with what is in it.
    pub(crate) async fn delete(&self, queue: WorkQueue) {
        let (channel, name) = (self.channel().await, self.config.topology().queue(queue));
        let delete = channel.queue_delete(name.into(), QueueDeleteOptions::default());
        soon(delete).await.expect("deletes");
    }

    /// Deletes the namespace. A test that fails before leaves it behind, under a name that says what it is.
    pub(crate) async fn clean(self) {
        let channel = self.channel().await;
        let topology = self.config.topology();
        for queue in broker::queue_names(&topology) {
            let options = QueueDeleteOptions::default();
            soon(channel.queue_delete(queue.into(), options)).await.expect("deletes");
        }
        for exchange in broker::exchange_names(&topology) {
            let options = ExchangeDeleteOptions::default();
            soon(channel.exchange_delete(exchange.into(), options)).await.expect("deletes");
        }
        soon(self.connection.close(200, "done".into())).await.expect("closes");
    }
}

/// A delivery that the test settles. The supervisor counts it as in hand until this is dropped.
pub(crate) struct Held {
    pub(crate) delivery: Delivery,
    pub(crate) epoch: CancellationToken,
    _in_hand: oneshot::Sender<()>,
}

impl Held {
    pub(crate) async fn ack(self) {
        self.try_ack().await.expect("is acked");
    }

    pub(crate) async fn try_ack(self) -> Result<(), SettleError> {
        self.delivery.ack().await
    }

    pub(crate) async fn hand_back(self) {
        self.delivery.hand_back().await.expect("is handed back");
    }
}

struct HandOut {
    deliveries: mpsc::UnboundedSender<Held>,
    subscribed: mpsc::UnboundedSender<()>,
}

#[async_trait]
impl Intake for HandOut {
    async fn deliver(&self, delivery: Delivery, epoch: CancellationToken) {
        let (in_hand, dropped) = oneshot::channel();
        let held = Held { delivery, epoch, _in_hand: in_hand };
        match self.deliveries.send(held) {
            Ok(()) => {
                let _nothing_is_ever_sent = dropped.await;
            }
            Err(mpsc::error::SendError(held)) => held.hand_back().await, // The test is stopping it.
        }
    }

    async fn subscribed(&self) {
        let _nobody_may_wait_for_it = self.subscribed.send(());
    }
}

/// A running supervisor that hands its deliveries to the test.
pub(crate) struct Consumer {
    pub(crate) shutdown: CancellationToken,
    deliveries: mpsc::UnboundedReceiver<Held>,
    subscribed: mpsc::UnboundedReceiver<()>,
    status: watch::Receiver<SupervisorStatus>,
    running: JoinHandle<()>,
}

impl Consumer {
    pub(crate) fn start(config: &AmqpConfig, prefetch: u16) -> Self {
        Self::start_with(config, prefetch, PATIENCE)
    }

    pub(crate) fn start_with(config: &AmqpConfig, prefetch: u16, drain_timeout: Duration) -> Self {
        let shutdown = CancellationToken::new();
        let (hand_deliveries, deliveries) = mpsc::unbounded_channel();
        let (hand_subscribed, subscribed) = mpsc::unbounded_channel();
        let options = SupervisorOptions {
            connection_name: "test consumer".to_owned(),
            worker: WorkerId::random(),
            queues: WorkQueue::ALL.map(|queue| Prefetch { queue, limit: prefetch }).to_vec(),
            drain_timeout,
        };
        let intake = HandOut { deliveries: hand_deliveries, subscribed: hand_subscribed };
        let supervisor = Supervisor::new(config.clone(), options, Arc::new(intake));
        let status = supervisor.status();
        let running = tokio::spawn(supervisor.run(shutdown.clone()));
        Self { shutdown, deliveries, subscribed, status, running }
    }

    /// Waits until there is a new connection, and all consumers are registered with it.
    pub(crate) async fn subscribed(&mut self) {
        soon(self.subscribed.recv()).await.expect("is running");
        self.until(|status| status.consuming).await;
    }

    /// Waits until its status is like that.
    pub(crate) async fn until(&mut self, like: impl FnMut(&SupervisorStatus) -> bool) {
        drop(soon(self.status.wait_for(like)).await.expect("is running"));
    }

    pub(crate) async fn next(&mut self) -> Held {
        soon(self.deliveries.recv()).await.expect("is running")
    }

    pub(crate) fn status(&self) -> SupervisorStatus {
        self.status.borrow().clone()
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.running.is_finished()
    }

    /// Shuts down, handing back what the test has not asked for.
    pub(crate) async fn stop(mut self) {
        self.shutdown.cancel();
        self.deliveries.close();
        while let Some(held) = self.deliveries.recv().await {
            held.hand_back().await;
        }
        soon(self.running).await.expect("ends without a panic");
        assert_eq!((self.status.borrow().connected, self.status.borrow().consuming), (false, false));
    }
}
