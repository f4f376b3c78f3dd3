//! `make demo`: the whole system on a sample upstream. Four tenants are pulled at once by two consumers; one job is
//! cancelled in the middle and started again, one tenant's jobs are cancelled over and over, one consumer is killed.

mod acts;
mod tenants;

use acts::{Acts, Outcome};
use anyhow::Result;
use stage::{Board, Ended, Fleet, Report, Stage, compare, latencies, milliseconds, run, thousands};
use std::process::ExitCode;
use tenants::{LIMIT_PER_SECOND, Tenant};
use tokio_util::sync::CancellationToken;

#[tokio::main]
async fn main() -> ExitCode {
    run(Box::pin(play())).await
}

async fn play() -> Result<Ended> {
    let stage = Stage::set("demo").await?;
    let board = Board::new(&stage.store);
    board.say("database backhaul_demo and queues demo.* made anew");
    let upstream = tenants::start_upstream(&stage)?;
    let mut fleet = Fleet::start(&stage, 2).await?;
    board.say("up: sample upstream, producer, consumer 1, consumer 2");
    let tenants = tenants::all(&stage, &upstream).await?;
    let calls = tenants.iter().map(|tenant| tenant.expected.len()).sum::<usize>();
    board.say(format!(
        "four tenants with {} calls are started by messages to RabbitMQ",
        thousands(calls.try_into()?)
    ));

    let outcome = Box::pin(perform(&stage, &board, &mut fleet, &tenants)).await?;
    board.say("checking what was stored, record by record");
    let mut report = outcome.report();
    let refused = stage.logged("asked for a pause")?;
    report.fact(
        "rate limit",
        format!("{LIMIT_PER_SECOND} pages/s for each tenant; {refused} answers were 429"),
    );
    report.memory(&fleet.peak_memory());
    for tenant in &tenants {
        let found = compare(&stage.store, tenant.account.connection, &tenant.expected).await?;
        report.check(found.is_exact(), format!("{} at the end: {found}", tenant.account.name));
    }
    report.no_problems(stage.problems().await?);
    let look = stage.where_to_look(&fleet.api().await?, &tenants[0].account, outcome.pulled[0].id)?;
    board.close(&stage.store).await;
    Ok(Ended { stage, fleet: fleet.beside(upstream), report, look })
}

/// All acts at once.
async fn perform(stage: &Stage, board: &Board, fleet: &mut Fleet, tenants: &[Tenant; 4]) -> Result<Outcome> {
    let acts = Acts { stage, board, api: fleet.api().await?, client: reqwest::Client::new() };
    let [first, second, third, fourth] = tenants;
    let (one, two, three) = (acts.start(first).await?, acts.start(second).await?, acts.start(third).await?);
    let others_are_done = CancellationToken::new();
    let others = async {
        let done = tokio::try_join!(
            acts.until_completed(one),
            acts.until_completed(three),
            acts.cancel_and_start_again(second, two),
            acts.kill_a_consumer(fleet, [(first, one), (third, three)]),
        );
        others_are_done.cancel();
        done
    };
    let ((first, third, again, crash), cancels) =
        tokio::try_join!(others, acts.cancel_over_and_over(fourth, &others_are_done))?;
    Ok(Outcome { pulled: [first, third], again, cancels, crash })
}

impl Outcome {
    /// What is known before the last look into the database.
    fn report(&self) -> Report {
        let mut report = Report::default();
        let [first, third] = &self.pulled;
        for job in [first, &self.again.cancelled, &self.again.completed, third] {
            report.jobs(job.name.as_deref().unwrap_or_default(), std::slice::from_ref(job));
        }
        report.jobs("tenant-4", &self.cancels.cancelled);
        report.jobs("tenant-4 again", std::slice::from_ref(&self.cancels.completed));
        let mut all =
            vec![first.clone(), third.clone(), self.again.cancelled.clone(), self.again.completed.clone()];
        all.extend(self.cancels.cancelled.iter().chain([&self.cancels.completed]).cloned());
        report.throughput("throughput", &all);
        let mut over_http = self.cancels.over_http.clone();
        over_http.push(self.again.latency);
        report.fact("cancel over HTTP", latencies(over_http));
        report.fact("cancel by message", latencies(self.cancels.by_message.clone()));
        let crash = &self.crash;
        let (first, last) = (milliseconds(crash.first), milliseconds(crash.last));
        let said = format!("first page {first} after SIGKILL, the last of {} after {last}", crash.held);
        report.fact("takeover", said);
        for (name, cancelled) in [("tenant-2", &self.again.after), ("tenant-4", &self.cancels.after)] {
            report.check(cancelled.is_right(), format!("{name} when cancelled: {cancelled}"));
        }
        report
    }
}
