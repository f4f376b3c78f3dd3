//! Commands that are applied together come to what they come to when each is applied alone.

use anyhow::{Context, Result};
use chrono::{TimeDelta, TimeZone, Utc};
use futures::future::join_all;
use protocol::command::OnConflict;
use protocol::ids::{ConnectionId, JobId, SchemaId, TenantId};
use protocol::job::{JobMode, JobStatus};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use store::batches::{Batches, Cancels, Confirms, Starts};
use store::commands::{CommandIdentity, CommandOwner};
use store::jobs::{CancelOutcome, CancelRequest, CancelTarget, StartOutcome, StartRequest};
use testkit::fixture::Fixture;
use testkit::plan::plan;
use testkit::sample_upstream::{Options, TenantOptions};
use uuid::Uuid;

const CONNECTIONS: usize = 8;
/// Jobs that commands may name, by connection.
const JOBS: usize = 3;

/// A tenant, its connections, and the jobs that may be made of them.
struct World {
    tenant: TenantId,
    connections: Vec<ConnectionId>,
    jobs: Vec<Vec<JobId>>,
}

impl World {
    async fn make(fixture: &Fixture, name: &str) -> Result<Self> {
        let mut world = Self { tenant: TenantId(Uuid::nil()), connections: Vec::new(), jobs: Vec::new() };
        world.tenant = fixture.store.tenants().create(name, 16).await?.id;
        for number in 0..CONNECTIONS {
            let new = store::connections::NewConnection {
                tenant: world.tenant,
                name: format!("connection {number}"),
                source: "ultravox".to_owned(),
                base_url: "http://127.0.0.1:1/".to_owned(),
                settings: json!({}),
            };
            world.connections.push(fixture.put_connection(&new, &json!({ "api_key": "k" })).await?);
            world.jobs.push((0..JOBS).map(|_| JobId::random()).collect());
        }
        Ok(world)
    }

    /// A job or connection by its place, so that two worlds can be compared; and the tenant's name in texts.
    fn neutral(&self, text: &str) -> String {
        let mut text = text.replace(&self.tenant.to_string(), "the tenant");
        for (number, connection) in self.connections.iter().enumerate() {
            text = text.replace(&connection.to_string(), &format!("connection {number}"));
            for (place, job) in self.jobs[number].iter().enumerate() {
                text = text.replace(&job.to_string(), &format!("job {number}.{place}"));
            }
        }
        text
    }

    /// Whatever is stored about its jobs and commands.
    async fn stored(&self, fixture: &Fixture) -> Result<Vec<String>> {
        let sql = "
            select 'job', to_jsonb(j) - array['created_at', 'started_at', 'finished_at', 'cancel_requested_at',
                                              'start_confirmed_at', 'date_to']
                     || jsonb_build_object('started', started_at is not null, 'confirmed', start_confirmed_at is not null,
                                           'finished', finished_at is not null, 'to_now', date_to = created_at)
              from jobs j where tenant_id = $1
            union all
            select 'slice', to_jsonb(s) - array['span_to'] from slices s where tenant_id = $1
            union all
            select 'event', jsonb_build_object('nth', row_number() over (partition by job_id order by id), 'job', job_id,
                       'kind', kind, 'status', status, 'data', data, 'counters', counters, 'traceparent', traceparent,
                       'connection', connection_id)
              from job_events where tenant_id = $1
            union all
            select 'command', to_jsonb(c) - array['received_at'] from commands c where id like '%' || $1 || '%'
            union all
            select 'scope', to_jsonb(s) - array['first_planned_at'] from scopes s join connections c on c.id = s.connection_id
             where c.tenant_id = $1
            union all
            select 'version', to_jsonb(v) - array['planned_at', 'put_at'] from settings_versions v
              join connections c on c.id = v.connection_id where c.tenant_id = $1";
        let rows: Vec<(String, Value)> =
            sqlx::query_as(sql).bind(self.tenant.0).fetch_all(&fixture.database.pool).await?;
        let mut rows: Vec<String> =
            rows.into_iter().map(|(what, row)| self.neutral(&format!("{what} {row}"))).collect();
        rows.sort_unstable();
        Ok(rows)
    }
}

/// Two worlds: in the first, commands are applied alone, in the second together.
async fn worlds(fixture: &Fixture) -> Result<[World; 2]> {
    Ok([World::make(fixture, "alone").await?, World::make(fixture, "together").await?])
}

/// What is drawn for a command, without the ids of a world.
#[derive(Clone, Copy, Debug)]
struct Drawn {
    connection: usize,
    job: usize,
    identity: u32,
    other: u32,
    flag: bool,
}

impl Drawn {
    fn draw(random: &mut StdRng) -> Self {
        Self {
            connection: random.random_range(0..CONNECTIONS),
            job: random.random_range(0..JOBS),
            identity: random.random_range(0..5),
            other: random.random_range(0..12),
            flag: random.random(),
        }
    }

    /// Identifiers are a connection's own: whose comes first among connections is open.
    fn identity(self, world: &World, owner: CommandOwner) -> Option<CommandIdentity> {
        let (id, request) = (format!("c{}/{}", self.connection, self.job), [u8::from(self.flag); 32]);
        match self.identity {
            0 => None,
            1 => Some(CommandIdentity::Given { owner, id, request }),
            2 => Some(CommandIdentity::Given { owner: CommandOwner::Tenant(world.tenant), id, request }),
            3 => Some(CommandIdentity::Key { tenant: world.tenant, key: id, request }),
            _ => Some(CommandIdentity::Content {
                hash: format!("{}/{id}", world.tenant),
                redelivered: self.flag,
            }),
        }
    }

    fn start(self, world: &World) -> StartRequest {
        let connection = world.connections[self.connection];
        let day = |day| Utc.with_ymd_and_hms(2025, 1, day, 0, 0, 0).single();
        // Nothing in common with the others, among which it has no place.
        let nowhere = self.other == 0;
        StartRequest {
            job: if nowhere { JobId::random() } else { world.jobs[self.connection][self.job] },
            connection: if nowhere { ConnectionId(Uuid::nil()) } else { connection },
            tenant: match self.other {
                1 => Some(TenantId(Uuid::nil())),
                2 => Some(world.tenant),
                _ => None,
            },
            date_from: day(if self.other == 3 { 9 } else { 2 }).filter(|_| self.other != 6),
            date_to: day(4).filter(|_| self.other != 7),
            mode: if self.other == 8 { JobMode::Incremental } else { JobMode::Range },
            on_conflict: match self.other {
                9 => OnConflict::Supersede,
                10 => OnConflict::UseExisting,
                _ => OnConflict::Reject,
            },
            name: self.flag.then(|| "named".to_owned()),
            requested_by: Some("somebody".to_owned()),
            command: self.identity(world, CommandOwner::Connection(connection)).filter(|_| !nowhere),
            schema: (self.other == 4).then(|| SchemaId(Uuid::nil())),
            documents: Vec::new(),
        }
    }

    fn cancel(self, world: &World) -> CancelRequest {
        let (job, connection) = (world.jobs[self.connection][self.job], world.connections[self.connection]);
        let (target, owner) = if self.other < 8 {
            (CancelTarget::Job(job), CommandOwner::Job(job))
        } else {
            (CancelTarget::Connection(connection), CommandOwner::Connection(connection))
        };
        CancelRequest {
            target,
            tenant: (self.other == 1).then_some(TenantId(Uuid::nil())),
            reason: self.flag.then(|| "because".to_owned()),
            requested_by: Some("somebody".to_owned()),
            command: self.identity(world, owner),
            keep_if_unknown: self.other.is_multiple_of(2),
        }
    }
}

/// Plans what is pending, in one statement or one after the other.
async fn plan_all(fixture: &Fixture, world: &World, together: bool) -> Result<()> {
    let pending: Vec<Uuid> = sqlx::query_scalar(
        "select id from jobs where tenant_id = $1 and status = 'pending' order by connection_id",
    )
    .bind(world.tenant.0)
    .fetch_all(&fixture.database.pool)
    .await?;
    let pending: Vec<JobId> = pending.into_iter().map(JobId).collect();
    if together {
        let planned = fixture.store.jobs().plan_together(&pending, |it, _shown| plan(it, None).ok()).await?;
        assert_eq!(planned.len(), pending.len());
        return Ok(());
    }
    for job in pending {
        let plannable = fixture.store.jobs().plannable(job).await?.context("pending")?;
        assert!(fixture.store.jobs().plan(&plannable, &plan(&plannable, None)?).await?);
    }
    Ok(())
}

/// What came of a command in both worlds.
fn the_same<T: std::fmt::Debug>(worlds: &[World; 2], drawn: Drawn, alone: &T, together: &T) {
    let [alone, together] =
        [worlds[0].neutral(&format!("{alone:?}")), worlds[1].neutral(&format!("{together:?}"))];
    assert_eq!(alone, together, "{drawn:?}");
}

async fn start_all(fixture: &Fixture, worlds: &[World; 2], drawn: &[Drawn]) -> Result<()> {
    let [alone, together] = worlds;
    let starts = Batches::new(Starts { store: fixture.store.clone(), confirmed: false });
    let applied = join_all(drawn.iter().map(|it| starts.apply(it.start(together)))).await;
    for (drawn, outcome) in drawn.iter().zip(applied) {
        let expected: StartOutcome = fixture.store.jobs().start(&drawn.start(alone)).await?;
        the_same(worlds, *drawn, &expected, &outcome?);
    }
    Ok(())
}

async fn cancel_all(fixture: &Fixture, worlds: &[World; 2], drawn: &[Drawn]) -> Result<()> {
    let [alone, together] = worlds;
    let cancels = Batches::new(Cancels { store: fixture.store.clone() });
    let applied = join_all(drawn.iter().map(|it| cancels.apply(it.cancel(together)))).await;
    for (drawn, outcome) in drawn.iter().zip(applied) {
        let expected: CancelOutcome = fixture.store.jobs().cancel(&drawn.cancel(alone)).await?;
        the_same(worlds, *drawn, &expected, &outcome?);
    }
    Ok(())
}

#[tokio::test]
async fn together_or_alone_commands_come_to_the_same() -> Result<()> {
    for seed in 0..6 {
        let fixture = Fixture::with_calls(1).await?;
        let worlds = worlds(&fixture).await?;
        let mut random = StdRng::seed_from_u64(seed);
        for round in 0..4 {
            let drawn: Vec<_> = (0..24).map(|_| Drawn::draw(&mut random)).collect();
            // Cancels are ordered among those with one target; here each has one connection's job only once.
            if round % 2 == 0 {
                start_all(&fixture, &worlds, &drawn).await.with_context(|| format!("seed {seed}"))?;
                plan_all(&fixture, &worlds[0], false).await?;
                plan_all(&fixture, &worlds[1], true).await?;
            } else {
                let mut seen = [false; CONNECTIONS];
                let once: Vec<_> = drawn
                    .into_iter()
                    .filter(|it| !std::mem::replace(&mut seen[it.connection], true))
                    .collect();
                cancel_all(&fixture, &worlds, &once).await.with_context(|| format!("seed {seed}"))?;
            }
            let [alone, together] = &worlds;
            let (alone, together) = (alone.stored(&fixture).await?, together.stored(&fixture).await?);
            for (alone, together) in alone.iter().zip(&together) {
                assert_eq!(alone, together, "seed {seed}, round {round}");
            }
            assert_eq!(alone.len(), together.len(), "seed {seed}, round {round}");
        }
        fixture.finish([]).await?;
    }
    Ok(())
}

/// One identifier for two connections' starts, in one batch: the first has it.
#[tokio::test]
async fn one_identifier_in_one_batch_stands_for_one_request() -> Result<()> {
    let fixture = Fixture::with_calls(1).await?;
    let world = World::make(&fixture, "acme").await?;
    let starts = Batches::new(Starts { store: fixture.store.clone(), confirmed: true });
    let request = |number: usize| {
        let drawn = Drawn { connection: number, job: 0, identity: 0, other: 11, flag: true };
        let connection = world.connections[number];
        let request = [u8::try_from(number).unwrap_or_default(); 32];
        let owner = CommandOwner::Connection(connection);
        let command = Some(CommandIdentity::Given { owner, id: "nightly".to_owned(), request });
        StartRequest { command, ..drawn.start(&world) }
    };
    let outcomes = join_all((0..CONNECTIONS).map(|number| starts.apply(request(number)))).await;
    let outcomes = outcomes.into_iter().collect::<Result<Vec<_>, _>>()?;
    let accepted = outcomes.iter().filter(|outcome| matches!(outcome, StartOutcome::Accepted(_))).count();
    let reused = outcomes.iter().filter(|outcome| matches!(outcome, StartOutcome::KeyReused)).count();
    assert_eq!((accepted, reused), (1, CONNECTIONS - 1));
    fixture.finish([]).await
}

/// Two batches that meet at the same connections never wait for each other, and one job is made for each.
#[tokio::test]
async fn batches_that_meet_make_one_job_for_each_connection() -> Result<()> {
    let fixture = Fixture::with_calls(1).await?;
    let world = World::make(&fixture, "acme").await?;
    for _round in 0..10 {
        let fleet: Vec<_> =
            (0..3).map(|_| Batches::new(Starts { store: fixture.store.clone(), confirmed: true })).collect();
        let request = |number| {
            let drawn = Drawn { connection: number, job: 0, identity: 0, other: 11, flag: true };
            StartRequest { job: JobId::random(), ..drawn.start(&world) }
        };
        let all =
            fleet.iter().flat_map(|starts| (0..CONNECTIONS).map(|number| starts.apply(request(number))));
        let outcomes = join_all(all).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let accepted = outcomes.iter().filter(|outcome| matches!(outcome, StartOutcome::Accepted(_))).count();
        assert_eq!(accepted, CONNECTIONS, "{outcomes:?}");
        let fleet: Vec<_> = (0..3).map(|_| Batches::new(Cancels { store: fixture.store.clone() })).collect();
        let cancel = |number: usize| CancelRequest {
            target: CancelTarget::Connection(world.connections[number]),
            tenant: None,
            reason: None,
            requested_by: None,
            command: None,
            keep_if_unknown: true,
        };
        let all =
            fleet.iter().flat_map(|cancels| (0..CONNECTIONS).map(|number| cancels.apply(cancel(number))));
        let outcomes = join_all(all).await.into_iter().collect::<Result<Vec<_>, _>>()?;
        let ended =
            outcomes.iter().filter(|outcome| matches!(outcome, CancelOutcome::Cancelled { .. })).count();
        assert_eq!(ended, CONNECTIONS, "{outcomes:?}");
    }
    fixture.finish([]).await
}

/// A producer notes the confirms of starts that a consumer meets and plans at the same time, in orders of their own.
#[tokio::test]
async fn notes_of_confirms_and_starts_that_are_known_never_deadlock() -> Result<()> {
    let fixture = Fixture::with_calls(1).await?;
    let world = World::make(&fixture, "acme").await?;
    let accepting = Batches::new(Starts { store: fixture.store.clone(), confirmed: false });
    let receiving = Batches::new(Starts { store: fixture.store.clone(), confirmed: true });
    let confirms = Batches::new(Confirms { store: fixture.store.clone() });
    let cancels = Batches::new(Cancels { store: fixture.store.clone() });
    for _round in 0..20 {
        let jobs: Vec<JobId> = (0..CONNECTIONS).map(|_| JobId::random()).collect();
        let request = |number: usize| {
            let drawn = Drawn { connection: number, job: 0, identity: 0, other: 11, flag: true };
            StartRequest { job: jobs[number], ..drawn.start(&world) }
        };
        let accepted = join_all((0..CONNECTIONS).map(|number| accepting.apply(request(number)))).await;
        for (job, outcome) in jobs.iter().zip(accepted) {
            assert_eq!(outcome?, StartOutcome::Accepted(*job));
        }
        let (noted, known, planned) = tokio::join!(
            join_all(jobs.iter().map(|job| confirms.apply(*job))),
            join_all((0..CONNECTIONS).rev().map(|number| receiving.apply(request(number)))),
            fixture.store.jobs().plan_together(&jobs, |it, _shown| plan(it, None).ok()),
        );
        noted.into_iter().collect::<Result<Vec<_>, _>>()?;
        for outcome in known {
            assert!(matches!(outcome?, StartOutcome::Known(_)));
        }
        planned?;
        let cancel = |job: &JobId| CancelRequest {
            target: CancelTarget::Job(*job),
            tenant: None,
            reason: None,
            requested_by: None,
            command: None,
            keep_if_unknown: false,
        };
        for outcome in join_all(jobs.iter().map(|job| cancels.apply(cancel(job)))).await {
            assert!(matches!(outcome?, CancelOutcome::Cancelled { .. }));
        }
    }
    fixture
        .until_sql("select deadlocks = 0 from pg_stat_database where datname = current_database()")
        .await?;
    fixture.finish([]).await
}

/// A burst through the broker: every start makes its job, every cancel ends it, and statements are shared.
#[tokio::test]
async fn a_burst_of_commands_shares_statements() -> Result<()> {
    const TENANTS: u64 = 60;
    let names: Vec<_> = (0..TENANTS).map(|number| format!("tenant-{number}")).collect();
    let fixture = Fixture::start(Options::new(names.iter().map(|name| TenantOptions::new(name, 5)))).await?;
    fixture.upstream.hold();
    let mut accounts = Vec::new();
    for name in &names {
        accounts.push(fixture.account(name, json!({})).await?);
    }
    let jobs: Vec<JobId> = join_all(accounts.iter().map(|account| fixture.publish_start(account.connection)))
        .await
        .into_iter()
        .collect::<Result<_>>()?;
    let consumer = fixture.consumer_program()?.env("BACKHAUL__PAGES__SLOTS", TENANTS.to_string()).start()?;
    consumer.ready().await?;
    fixture.upstream.until(|seen| seen.held == TENANTS).await;
    let cancels = jobs.iter().map(|job| fixture.publish_cancel(*job, "seen enough"));
    join_all(cancels).await.into_iter().collect::<Result<Vec<_>>>()?;
    for job in &jobs {
        fixture.until_over(*job, JobStatus::Cancelled).await?;
    }
    let (_, metrics) = consumer.get("/metrics").await?;
    assert!(metrics.contains("command_batches_total{"), "{metrics}");
    drop(consumer);
    fixture.upstream.release();
    fixture.finish([]).await
}

/// The time that a job over everything ends at is that of its start.
#[tokio::test]
async fn a_start_without_an_end_ends_now() -> Result<()> {
    let fixture = Fixture::with_calls(1).await?;
    let world = World::make(&fixture, "acme").await?;
    let before = fixture.store.clock().await?;
    let starts = Batches::new(Starts { store: fixture.store.clone(), confirmed: true });
    let request = |number| {
        let drawn = Drawn { connection: number, job: 0, identity: 0, other: 11, flag: true };
        StartRequest { date_from: None, date_to: None, ..drawn.start(&world) }
    };
    let outcomes = join_all((0..CONNECTIONS).map(|number| starts.apply(request(number)))).await;
    for outcome in outcomes {
        let StartOutcome::Accepted(job) = outcome? else { anyhow::bail!("not accepted") };
        let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
        let to = view.date_to;
        assert!(to >= before && to < before + TimeDelta::minutes(1), "{to}");
    }
    fixture.finish([]).await
}
