//! One boot of a consumer process, put together: from the settings to its last ack.

use crate::canary::Canary;
use crate::commands::Commands;
use crate::in_flight::InFlight;
use crate::intake::ConsumerIntake;
use crate::open_sources::{OpenSources, Opener};
use crate::outbox::Outbox;
use crate::page::{Claimer, PageHandler, Releaser, Settler};
use crate::planner::Planner;
use crate::renewal::Renewal;
use crate::slots::Slots;
use crate::sweeper::Sweeper;
use crate::troubles;
use broker::{Prefetch, Publisher, Supervisor, SupervisorOptions, SupervisorStatus};
use configuration::{DatabaseConfig, Settings};
use protocol::ids::WorkerId;
use protocol::retry::RetryPolicy;
use protocol::topology::WorkQueue;
use relay::EventRelay;
use runtime::fitness::Fitness;
use runtime::health::Health;
use runtime::serve::{self, Leaving, serve_within};
use runtime::warn_unless_outage;
use sources::Fetcher;
use std::sync::Arc;
use std::time::Duration;
use store::traces::Traces;
use store::workers::Boot;
use store::{SessionLimits, Store, StoreError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Starts, and cancels, that one process has in hand: those that wait for a session of the database are applied together.
const COMMANDS_AT_ONCE: u16 = 256;
/// Messages without a queue that one process has in hand.
const UNROUTED_AT_ONCE: u16 = 4;
/// Starts have database connections to themselves, and so have cancels: neither waits behind the other, or behind pages. One is
/// for those that are applied together, one for those that are not.
const RESERVED: u32 = 2;
/// Connections for all that is neither a command nor a page: the sweeper's two loops, events, the worker's own row.
const BESIDE: u32 = 2;
/// The part of the drain's time in which pages may still finish; then they are handed over.
const FINISH_PART: u32 = 5;
/// Between two tries to register.
const REGISTER: RetryPolicy = RetryPolicy::new(Duration::from_millis(500), Duration::from_secs(10));
/// A loop that has not turned for so long is stuck.
const STUCK_AFTER: Duration = Duration::from_secs(120);

/// A consumer process.
#[derive(Debug)]
pub struct Worker {
    id: WorkerId,
    settings: Settings,
    store: Store,
    publisher: Publisher,
    intake: Arc<ConsumerIntake>,
    sweeper: Sweeper,
    boot: Boot,
}

impl Worker {
    /// Puts a worker together. Nothing connects before it runs.
    ///
    /// # Errors
    /// When the settings cannot be worked with.
    pub fn new(settings: Settings) -> anyhow::Result<Self> {
        Self::opening_with(settings, sources::open)
    }

    /// The same with other sources than those there are.
    ///
    /// # Errors
    /// As [`Worker::new`].
    pub fn opening_with(settings: Settings, opener: Opener) -> anyhow::Result<Self> {
        crate::warnings::describe();
        let id = WorkerId::random();
        let name = format!("backhaul/consumer {id}");
        let open = |how: OpenStore, connections| open_store(how, &settings.database, &name, connections);
        let store = open(Store::new, BESIDE)?;
        let starts = open(Store::new, RESERVED)?.sharing_transitions_with(&store);
        let cancels = open(Store::new, RESERVED)?.sharing_transitions_with(&store);
        let for_pages =
            open(Store::for_pages, settings.database.max_connections)?.sharing_transitions_with(&store);
        let publisher =
            Publisher::start(settings.amqp.clone(), &format!("{name} publishing"), "backhaul-consumer");
        let traces = Traces::new(store.clone());
        let outbox = Outbox::new(publisher.clone(), settings.amqp.topology(), traces);
        let in_flight = InFlight::default();
        let fitness = Fitness::new(&settings.database, &name, &store)?;
        let fetcher = Arc::new(Fetcher::new(settings.fetch.clone(), usize::from(settings.pages.slots))?);
        let keyring = settings.credentials.keyring()?;
        let keys = keyring.ids().collect();
        let pages = PageHandler {
            worker: id,
            store: for_pages.clone(),
            claimer: Claimer::new(for_pages.clone(), &settings.database),
            settler: Settler::new(for_pages.clone(), &settings.database, &settings.leases),
            releaser: Releaser::new(for_pages.clone()),
            outbox: outbox.clone(),
            fetcher,
            sources: OpenSources::new(keyring, opener),
            fitness: fitness.clone(),
            in_flight: in_flight.clone(),
            slots: Arc::new(Slots::new(usize::from(settings.pages.slots))),
            pages: settings.pages.clone(),
            leases: settings.leases.clone(),
        };
        let intake = ConsumerIntake {
            pages: Arc::new(pages),
            commands: Commands::new(starts, cancels, outbox.clone()),
            store: store.clone(),
            fitness: fitness.clone(),
            outbox: outbox.clone(),
            renewal: Arc::new(Renewal::new(for_pages, id, in_flight, settings.leases.clone())),
            canary: Canary::default(),
        };
        let relay = EventRelay::new(store.clone(), publisher.clone(), i64::from(settings.sweeper.batch));
        let sweeper = Sweeper {
            worker: id,
            store: store.clone(),
            fitness,
            planner: Planner::new(store.clone(), outbox.clone()),
            outbox,
            relay,
            config: settings.sweeper.clone(),
            cancel: settings.cancel.clone(),
            jobs: settings.jobs.clone(),
        };
        let boot = Boot {
            host: rustix::system::uname().nodename().to_string_lossy().into_owned(),
            pid: std::process::id(),
            namespace: settings.amqp.namespace.clone(),
            keys,
        };
        Ok(Self { id, settings, store, publisher, intake: Arc::new(intake), sweeper, boot })
    }

    /// Who this worker is.
    #[must_use]
    pub const fn id(&self) -> WorkerId {
        self.id
    }

    /// Works until `shutdown`: then takes nothing more, lets pages in flight finish for a while, hands the others over,
    /// and ends in good order.
    ///
    /// # Errors
    /// When the listener fails.
    pub async fn run(
        self,
        listener: TcpListener,
        mut health: Health,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let prefetch = |queue, limit| Prefetch { queue, limit };
        let options = SupervisorOptions {
            connection_name: format!("backhaul/consumer {} consuming", self.id),
            worker: self.id,
            queues: vec![
                prefetch(WorkQueue::Pages, self.settings.pages.slots),
                prefetch(WorkQueue::Starts, COMMANDS_AT_ONCE),
                prefetch(WorkQueue::Cancels, COMMANDS_AT_ONCE),
                prefetch(WorkQueue::Unrouted, UNROUTED_AT_ONCE),
            ],
            drain_timeout: self.settings.shutdown.drain,
        };
        let supervisor = Supervisor::new(self.settings.amqp.clone(), options, self.intake.clone());
        let status = supervisor.status();
        let ended = CancellationToken::new();
        let loops = TaskTracker::new();
        let renewal_beat = health.beat("renewal", STUCK_AFTER);
        let sweeper_beats = [health.beat("sweeper", STUCK_AFTER), health.beat("sweeper_rings", STUCK_AFTER)];
        let router = self.readiness(health, status.clone()).router();

        let (renewal, canary) = (self.intake.renewal.clone(), self.intake.canary.clone());
        let (outbox, doubted, until) = (self.intake.outbox.clone(), supervisor.doubted(), ended.clone());
        let (store, id) = (self.store.clone(), self.id);
        loops.spawn(troubles::write_down(store, id, status.clone(), ended.clone()));
        loops.spawn(async move { renewal.run(until, renewal_beat).await });
        let until = ended.clone();
        loops.spawn(async move { canary.run(outbox, status, doubted, until).await });
        let (slots, publisher) = (self.intake.pages.slots.clone(), self.publisher.clone());
        let (quantum, until) = (self.settings.pages.quantum, ended.clone());
        if !quantum.is_zero() {
            loops.spawn(async move { slots.watch(&publisher, quantum, until).await });
        }
        let (relay, until) = (self.sweeper.relay.clone(), ended.clone());
        loops.spawn(async move { relay.run(until).await });
        let (sweeper, until) = (self.sweeper, shutdown.clone());
        loops.spawn(async move { sweeper.run(until, sweeper_beats).await });
        let limits = serve::ServeLimits::from(&self.settings.http);
        let leaving = Leaving::at_once(ended.clone());
        let server = tokio::spawn(serve_within(limits, listener, router, leaving));
        let in_flight = self.intake.pages.in_flight.clone();
        let (drain, begun) = (self.settings.shutdown.drain, shutdown.clone());
        loops.spawn(async move {
            begun.cancelled().await;
            tokio::time::sleep(drain / FINISH_PART).await;
            in_flight.hand_back_all();
        });
        let (store, id, until) = (self.store.clone(), self.id, ended.clone());
        let boot = self.boot;
        loops.spawn(async move { register(&store, id, &boot, until).await });
        let (fitness, until) = (self.intake.fitness.clone(), ended.clone());
        loops.spawn(async move { fitness.run(until).await });

        // Nothing is taken that could only be held.
        let fit = tokio::select! {
            () = self.intake.fitness.fit() => true,
            () = shutdown.cancelled() => false,
        };
        if fit {
            supervisor.run(shutdown).await;
        }
        tracing::info!("nothing is in hand any more");
        ended.cancel();
        loops.close();
        self.publisher.close().await;
        if let Err(error) = self.store.workers().stopped(self.id).await {
            tracing::warn!(%error, "the end of this worker was not written down");
        }
        self.intake.pages.store.close().await;
        self.store.close().await;
        server.await??;
        Ok(())
    }

    fn readiness(&self, health: Health, status: watch::Receiver<SupervisorStatus>) -> Health {
        let (canary, outbox) = (self.intake.canary.clone(), self.intake.outbox.clone());
        let fitness = self.intake.fitness.clone();
        health
            .check("database", move || fitness.check())
            .check("consuming", move || {
                let status = status.borrow();
                let troubles: Vec<_> =
                    status.troubles.iter().filter(|it| !it.is_spare).map(ToString::to_string).collect();
                match (status.consuming, troubles.is_empty()) {
                    (true, true) => Ok(()),
                    (false, true) => Err("the consumers are not registered with the broker yet".to_owned()),
                    (_, false) => Err(troubles.join("; ")),
                }
            })
            .check("canary", move || canary.check())
            .check("publishing", move || match outbox.is_open() {
                true => Ok(()),
                false => Err("there is no connection to publish on, or the broker blocks it".to_owned()),
            })
    }
}

type OpenStore = fn(&str, &str, u32, SessionLimits) -> Result<Store, StoreError>;

fn open_store(
    how: OpenStore,
    database: &DatabaseConfig,
    name: &str,
    connections: u32,
) -> Result<Store, StoreError> {
    how(database.url.expose(), name, connections, SessionLimits::from(database))
}

/// Tells who this worker is, as soon as the database answers. Nothing waits for it: people see it, and the blame for
/// poison pages needs it.
async fn register(store: &Store, id: WorkerId, boot: &Boot, ended: CancellationToken) {
    for delay in REGISTER.delays() {
        match store.workers().started(id, boot).await {
            Ok(()) => return,
            Err(error) => warn_unless_outage!(error, "this worker could not be registered yet"),
        }
        tokio::select! {
            () = ended.cancelled() => return,
            () = tokio::time::sleep(delay) => {}
        }
    }
}
