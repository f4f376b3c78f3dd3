//! How long the HTTP API takes to answer while the fleet writes, with many jobs in the table.

use super::ground::Ground;
use crate::Series;
use crate::goal::{Aim, Findings, Goal};
use anyhow::{Result, bail, ensure};
use identity::api_key::ApiKey;
use protocol::ids::JobId;
use sqlx::PgConnection;
use std::time::Duration;
use testkit::database::session;
use testkit::process::Process;
use tokio::sync::oneshot;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};
use tokio_util::sync::{CancellationToken, DropGuard};
use url::Url;
use uuid::Uuid;

/// Between two requests.
const EVERY: Duration = Duration::from_millis(20);

/// A producer, and what it is asked with.
pub(super) struct Api {
    producer: Process,
    key: ApiKey,
    old: Vec<Uuid>,
    database: Url,
}

/// What answers took: of the status of a job that runs, of one that is over, and of a page of the list. And of what can be
/// had for nothing, which tells how long the others waited for a core: the producer's `/healthz`, and `select 1`.
#[derive(Default)]
pub(super) struct Answers {
    running: Vec<Duration>,
    over: Vec<Duration>,
    listed: Vec<Duration>,
    alive: Vec<Duration>,
    one: Vec<Duration>,
}

impl Api {
    /// Starts a producer, and puts so many jobs into the table that are over.
    pub(super) async fn of(ground: &Ground<'_>, old_jobs: u32) -> Result<Self> {
        let stage = ground.stage;
        let producer = stage.program("producer")?.log(stage.logs.join("producer.log")).start()?;
        let key = ApiKey::generate();
        stage.store.tenants().create_api_key(ground.first_tenant, "bench", &key.hash(), key.prefix()).await?;
        let fill = "with made as ( \
                        insert into jobs (id, tenant_id, connection_id, status, date_to, created_at, start_confirmed_at, \
                                          started_at, finished_at) \
                        select gen_random_uuid(), $1, $2, 'completed', now(), now() - n * interval '1 minute', now(), \
                               now() - n * interval '1 minute', now() from generate_series(1, $3) n \
                        returning id) \
                    , cut as ( \
                        insert into slices (job_id, slice, tenant_id, connection_id, span_to, status, total) \
                        select id, 0, $1, $2, now(), 'done', 0 from made) \
                    select id from made limit 100";
        let mut session = stage.session().await?;
        let old = sqlx::query_scalar(fill)
            .bind(ground.first_tenant.0)
            .bind(ground.connections[0].0)
            .bind(i32::try_from(old_jobs)?)
            .fetch_all(&mut session)
            .await?;
        sqlx::query("analyze jobs, slices").execute(&mut session).await?;
        producer.ready().await?;
        Ok(Self { producer, key, old, database: stage.database().clone() })
    }

    /// Begins to ask, on a thread of its own, so that no answer waits for another thread of this program.
    pub(super) async fn watch(&self, running: JobId) -> Result<Watch> {
        let asker = Asker {
            client: reqwest::Client::new(),
            jobs: format!("http://{}/api/v1/jobs", self.producer.address().await?),
            alive: format!("http://{}/healthz", self.producer.address().await?),
            key: self.key.expose().to_owned(),
            running,
            old: self.old.clone(),
        };
        let (stop, database) = (CancellationToken::new(), self.database.clone());
        let (tell, answers) = oneshot::channel();
        let stopped = stop.clone();
        std::thread::Builder::new().name("asker".to_owned()).spawn(move || {
            // Where nobody waits for it any more, nobody has to be told.
            drop(tell.send(asker.run(&database, &stopped)));
        })?;
        Ok(Watch { stop: stop.drop_guard(), answers })
    }
}

impl Answers {
    pub(super) fn report(self, found: &mut Findings) {
        let ms = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1000.0;
        for (what, times) in [
            ("status of a running job", self.running),
            ("status of a job that is over", self.over),
            ("a page of the list of jobs", self.listed),
        ] {
            let count = times.len();
            let times = Series::new(what, None, times);
            found.goals.push(Goal {
                what: format!("{what}, p99 while the fleet writes"),
                aim: Aim::AtMost(10.0),
                measured: ms(times.percentile(99)),
                unit: "ms",
            });
            found.notes.push(format!("{what}: {count} answers, p50 {:.1} ms", ms(times.percentile(50))));
        }
        for (what, times) in [("/healthz of the producer", self.alive), ("select 1", self.one)] {
            let times = Series::new(what, None, times);
            let [half, most] = [50, 99].map(|part| ms(times.percentile(part)));
            found.notes.push(format!("meanwhile {what}: p50 {half:.1} ms, p99 {most:.1} ms"));
        }
    }
}

/// Somebody who asks.
pub(super) struct Watch {
    stop: DropGuard,
    answers: oneshot::Receiver<Result<Answers>>,
}

impl Watch {
    /// Until the work is done. A request that fails ends it, too.
    pub(super) async fn until<T>(self, work: impl Future<Output = Result<T>>) -> Result<(T, Answers)> {
        let Self { stop, mut answers } = self;
        let done = tokio::select! {
            done = work => done?,
            failed = &mut answers => {
                failed??;
                bail!("nobody asks any more")
            }
        };
        drop(stop);
        Ok((done, answers.await??))
    }
}

struct Asker {
    client: reqwest::Client,
    jobs: String,
    alive: String,
    key: String,
    running: JobId,
    old: Vec<Uuid>,
}

impl Asker {
    fn run(&self, database: &Url, stopped: &CancellationToken) -> Result<Answers> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let (mut answers, mut session) = (Answers::default(), session(database).await?);
            stopped.run_until_cancelled(self.ask(&mut answers, &mut session)).await.transpose()?;
            Ok(answers)
        })
    }

    async fn ask(&self, answers: &mut Answers, session: &mut PgConnection) -> Result<()> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for old in self.old.iter().cycle() {
            answers.running.push(self.get(&mut ticks, &format!("{}/{}", self.jobs, self.running)).await?);
            answers.over.push(self.get(&mut ticks, &format!("{}/{old}", self.jobs)).await?);
            answers.listed.push(self.get(&mut ticks, &format!("{}?limit=100", self.jobs)).await?);
            answers.alive.push(self.get(&mut ticks, &self.alive).await?);
            ticks.tick().await;
            let began = Instant::now();
            sqlx::query("select 1").execute(&mut *session).await?;
            answers.one.push(began.elapsed());
        }
        bail!("there is no job that is over")
    }

    async fn get(&self, ticks: &mut Interval, url: &str) -> Result<Duration> {
        ticks.tick().await;
        let began = Instant::now();
        let answer = self.client.get(url).bearer_auth(&self.key).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        let took = began.elapsed();
        ensure!(status.as_u16() == 200, "{url} answers {status}");
        Ok(took)
    }
}
