//! How long the HTTP API takes to answer while the fleet writes, with many jobs in the table.

use super::ground::Ground;
use crate::bench::Series;
use crate::bench::goal::{Aim, Findings, Goal};
use crate::process::Process;
use anyhow::{Result, ensure};
use common::ids::JobId;
use producer::api_key::ApiKey;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// Between two requests.
const EVERY: Duration = Duration::from_millis(20);

/// A producer, and a key.
pub(super) struct Api {
    producer: Process,
    client: reqwest::Client,
    key: ApiKey,
    old: Vec<uuid::Uuid>,
}

/// What answers took: of the status of a job that runs, of one that is over, and of a page of the list.
#[derive(Default)]
pub(super) struct Answers {
    running: Vec<Duration>,
    over: Vec<Duration>,
    listed: Vec<Duration>,
}

impl Api {
    /// Starts a producer, and puts so many jobs into the table that are over.
    pub(super) async fn of(ground: &Ground<'_>, old_jobs: u32) -> Result<Self> {
        let stage = ground.stage;
        let producer = stage.program("producer")?.log(stage.logs.join("producer.log")).start()?;
        let key = ApiKey::generate();
        stage.store.create_api_key(ground.first_tenant, "bench", &key.hash(), key.prefix()).await?;
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
        Ok(Self { producer, client: reqwest::Client::new(), key, old })
    }

    pub(super) const fn watch(&self, running: JobId) -> Watch<'_> {
        Watch { api: self, running }
    }

    async fn get(&self, path: &str) -> Result<Duration> {
        let url = format!("http://{}/api/v1/jobs{path}", self.producer.address().await?);
        let began = Instant::now();
        let answer = self.client.get(url).bearer_auth(self.key.expose()).send().await?;
        let status = answer.status();
        answer.bytes().await?;
        let took = began.elapsed();
        ensure!(status.as_u16() == 200, "{path} answers {status}");
        Ok(took)
    }

    pub(super) fn report(&self, answers: Answers, found: &mut Findings) {
        let jobs = self.old.len();
        tracing::debug!(jobs, "of those that are over were asked for");
        let ms = |time: Option<Duration>| time.unwrap_or_default().as_secs_f64() * 1000.0;
        for (what, times) in [
            ("status of a running job", answers.running),
            ("status of a job that is over", answers.over),
            ("a page of the list of jobs", answers.listed),
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
    }
}

/// Asks again and again.
pub(super) struct Watch<'a> {
    api: &'a Api,
    running: JobId,
}

impl Watch<'_> {
    /// Until the work is done. A request that fails ends it, too.
    pub(super) async fn until<T>(
        &self,
        work: &mut (impl Future<Output = Result<T>> + Unpin),
    ) -> (Result<T>, Answers) {
        let mut answers = Answers::default();
        let done = {
            let asking = self.ask(&mut answers);
            tokio::pin!(asking);
            tokio::select! {
                done = work => done,
                Err(error) = &mut asking => Err(error),
            }
        };
        (done, answers)
    }

    async fn ask(&self, answers: &mut Answers) -> Result<()> {
        let mut ticks = interval(EVERY);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for round in 0_usize.. {
            ticks.tick().await;
            match round % 3 {
                0 => answers.running.push(self.api.get(&format!("/{}", self.running)).await?),
                1 => {
                    let Some(old) = self.api.old.get(round % self.api.old.len().max(1)) else { continue };
                    answers.over.push(self.api.get(&format!("/{old}")).await?);
                }
                _ => answers.listed.push(self.api.get("?limit=100").await?),
            }
        }
        Ok(())
    }
}
