//! What chaos is wreaked on: producers, an upstream, tenants and their connections.

use super::Plan;
use super::ledger::Ledger;
use super::producers::Producer;
use super::tally::Tally;
use anyhow::{Context, Result};
use identity::api_key::ApiKey;
use protocol::ids::{ConnectionId, TenantId};
use rand::SeedableRng;
use rand::rngs::StdRng;
use serde_json::json;
use stage::{Expected, Stage};
use std::time::Duration;
use store::connections::NewConnection;
use testkit::proxy::ToServers;
use testkit::sample_upstream::{Options, SampleUpstream, Span, TenantOptions};
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Calls of each connection.
const CALLS: u64 = 600;
/// Before each answer of the upstream.
const DELAY: Duration = Duration::from_millis(20);
/// Connections of a tenant.
const OF_A_TENANT: usize = 2;
/// What the database does not answer for so long, a fault or not, it never will.
const LONGEST: Duration = Duration::from_secs(90);

/// The world.
#[derive(Debug)]
pub(super) struct World<'a> {
    pub(super) stage: &'a Stage,
    pub(super) plan: Plan,
    pub(super) upstream: SampleUpstream,
    pub(super) accounts: Vec<Account>,
    /// Where the API is.
    pub(super) producers: Vec<String>,
    pub(super) programs: Mutex<Vec<Producer>>,
    pub(super) client: reqwest::Client,
    pub(super) tally: Tally,
    pub(super) ledger: Ledger,
    /// Ends the faults, and what tenants do.
    pub(super) stop: CancellationToken,
}

/// A connection, and what it must have in the end.
#[derive(Debug)]
pub(super) struct Account {
    pub(super) connection: ConnectionId,
    pub(super) expected: Expected,
    pub(super) key: String,
    /// The upstream's tenant.
    pub(super) name: String,
}

impl<'a> World<'a> {
    pub(super) async fn create(stage: &'a Stage, plan: Plan) -> Result<Self> {
        let names = (0..plan.connections).map(|number| format!("account-{number}"));
        let mut options = Options::new(names.map(|name| TenantOptions::new(name, CALLS)));
        options.behaviour.delay = DELAY;
        options.count_pages = false;
        let upstream = SampleUpstream::start(options).await?;
        let mut accounts = Vec::new();
        let mut tenant = None;
        for number in 0..plan.connections {
            if number % OF_A_TENANT == 0 {
                tenant = Some(a_tenant(stage, number).await?);
            }
            let (tenant, key) = tenant.as_ref().context("there is a tenant")?;
            let name = format!("account-{number}");
            let new = NewConnection {
                tenant: *tenant,
                name: name.clone(),
                source: "ultravox".to_owned(),
                base_url: upstream.base_url(),
                settings: json!({ "page_size": 20, "slice_days": 1 }),
            };
            let connection = stage.put_connection(&new, &json!({ "api_key": upstream.key(&name) })).await?;
            let expected = upstream.expected(&name, Span::ALL).map(|call| (call.id, call.hash)).collect();
            accounts.push(Account { connection, expected, key: key.clone(), name });
        }
        let mut programs = Vec::new();
        for number in 1..=plan.producers {
            programs.push(Producer::start(stage, number).await?);
        }
        let producers = programs.iter().map(Producer::api).collect();
        let client = reqwest::Client::builder().timeout(Duration::from_secs(30)).build()?;
        Ok(Self {
            stage,
            plan,
            upstream,
            accounts,
            producers,
            programs: Mutex::new(programs),
            client,
            tally: Tally::default(),
            ledger: Ledger::default(),
            stop: CancellationToken::new(),
        })
    }

    /// Random numbers for somebody: the same for the same seed.
    pub(super) fn random(&self, whose: &str) -> StdRng {
        let mut hasher = blake3::Hasher::new();
        hasher.update(&self.plan.seed.to_le_bytes());
        hasher.update(whose.as_bytes());
        StdRng::from_seed(*hasher.finalize().as_bytes())
    }

    /// Sleeps, but not beyond the end of the chaos.
    pub(super) async fn rest(&self, time: Duration) {
        tokio::select! {
            () = sleep(time) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// Waits until no job is open, and everything that was confirmed has been applied or is a dead letter.
    pub(super) async fn until_quiet(&self) -> Result<()> {
        let mut session = self.stage.session().await?;
        let (confirmed, poison) = {
            let promises = self.ledger.promises();
            (promises.confirmed.iter().cloned().collect::<Vec<_>>(), promises.poison.len())
        };
        let sql = "select (select count(*) from jobs where status in ('pending', 'running', 'cancelling'))
                        + (select count(*) from unnest($1::text[]) as a(id)
                            where not exists (select from commands c where c.given = a.id))";
        loop {
            let left: i64 = sqlx::query_scalar(sql).bind(&confirmed).fetch_one(&mut session).await?;
            if left == 0 && usize::try_from(self.stage.dead_letters().await?)? >= poison {
                return Ok(());
            }
            sleep(Duration::from_millis(100)).await;
        }
    }
}

/// Repeats what asks the database until it answers: a fault of the servers may stand in between.
pub(super) async fn patiently<T, E: Into<anyhow::Error>>(
    mut ask: impl AsyncFnMut() -> Result<T, E>,
) -> Result<T> {
    let began = Instant::now();
    loop {
        match ask().await {
            Ok(answer) => return Ok(answer),
            Err(error) if began.elapsed() > LONGEST => return Err(error.into()),
            Err(_away) => sleep(Duration::from_millis(50)).await,
        }
    }
}

/// The way of a process to its servers, with every time scaled down.
pub(super) async fn behind_proxies(stage: &Stage) -> Result<ToServers> {
    let mut way = ToServers::open(&stage.amqp().url, stage.database()).await?;
    way.variables.extend(SCALED.map(|(name, value)| (name, value.to_owned())));
    Ok(way)
}

/// Every time is scaled down, so that minutes show what takes hours.
const SCALED: [(&str, &str); 16] = [
    ("BACKHAUL__AMQP__HEARTBEAT_SECONDS", "2"),
    ("BACKHAUL__AMQP__RECONNECT__INITIAL_MS", "20"),
    ("BACKHAUL__AMQP__RECONNECT__MAX_MS", "500"),
    ("BACKHAUL__DATABASE__CONNECT_TIMEOUT_MS", "2000"),
    ("BACKHAUL__PAGES__SLOTS", "6"),
    ("BACKHAUL__PAGES__BUDGET_MS", "4000"),
    ("BACKHAUL__FETCH__CONNECT_TIMEOUT_MS", "2000"),
    ("BACKHAUL__PAGES__RETRY__INITIAL_MS", "20"),
    ("BACKHAUL__PAGES__RETRY__MAX_MS", "200"),
    ("BACKHAUL__PAGES__MAX_ATTEMPTS", "100"),
    ("BACKHAUL__LEASES__DURATION_MS", "3000"),
    ("BACKHAUL__LEASES__RENEW_EVERY_MS", "600"),
    ("BACKHAUL__CANCEL__DEADLINE_MS", "15000"),
    ("BACKHAUL__SWEEPER__EVERY_MS", "200"),
    ("BACKHAUL__SWEEPER__MARKER_EVERY_MS", "1000"),
    ("BACKHAUL__SHUTDOWN__DRAIN_MS", "5000"),
];

async fn a_tenant(stage: &Stage, number: usize) -> Result<(TenantId, String)> {
    let tenant = stage.store.tenants().create(&format!("tenant-{number}"), 8).await?.id;
    let key = ApiKey::generate();
    stage.store.tenants().create_api_key(tenant, "chaos", &key.hash(), key.prefix()).await?;
    Ok((tenant, key.expose().to_owned()))
}
