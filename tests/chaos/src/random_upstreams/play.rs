//! Plays many cases at the same time, says how far it is, and makes what fails smaller.

use super::case::{self, Verdict};
use super::draw::draw;
use super::ground::Ground;
use super::law::Breach;
use super::shrink::simpler;
use super::world::World;
use anyhow::Result;
use benchmarks::{Outcome, say};
use futures::future::try_join_all;
use serde_json::{Value, json};
use stage::Stage;
use std::collections::VecDeque;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// Between two lines about progress.
const LINE_EVERY: Duration = Duration::from_secs(5);
/// So many failures are made smaller; the others are named.
const MADE_SMALLER: usize = 3;
/// So many worlds are tried to make one smaller.
const TRIES: usize = 250;

/// What is to be played.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What worlds are drawn from.
    pub seed: u64,
    /// The numbers of the cases.
    pub cases: Vec<u64>,
    /// A world to play instead.
    pub world: Option<World>,
    /// How many at the same time.
    pub at_once: usize,
    /// Whether what fails is made smaller.
    pub shrink: bool,
    /// Whether all that happened is printed.
    pub verbose: bool,
}

/// What came of it.
#[derive(Debug)]
pub struct Score {
    seed: u64,
    cases: usize,
    jobs: usize,
    pages: u64,
    completed: usize,
    lasted: Duration,
    failed: Vec<(u64, Vec<Breach>)>,
    problems: Vec<String>,
}

#[derive(Debug, Default)]
struct Tally {
    done: usize,
    jobs: usize,
    pages: u64,
    completed: usize,
    failed: Vec<(u64, World, Vec<Breach>)>,
}

/// Plays it, and says what came of it.
///
/// # Errors
/// When a server does not answer. What the law says is in the score.
pub async fn play(stage: &Stage, plan: &Plan) -> Result<Score> {
    let ground = Ground::lay(stage).await?;
    let consumer = ground.consumer().await?;
    let mut looking = stage.session().await?;
    let began = Instant::now();
    say(format_args!("seed {}: {} cases, {} at a time", plan.seed, plan.cases.len(), plan.at_once));
    let tally = Mutex::new(Tally::default());
    let waiting: Mutex<VecDeque<u64>> = Mutex::new(plan.cases.iter().copied().collect());
    let played = async {
        try_join_all((0..plan.at_once).map(|_lane| lane(&ground, plan, &waiting, &tally))).await?;
        let lasted = began.elapsed();
        if plan.shrink {
            make_smaller(&ground, &tally).await?;
        }
        anyhow::Ok(lasted)
    };
    let lasted = tokio::select! {
        played = played => played?,
        looked = ground.watch.look(&mut looking) => return Err(looked.err().unwrap_or_else(|| anyhow::anyhow!("nobody looks"))),
        () = lines(plan, &tally, began) => Duration::ZERO,
    };
    consumer.stop().await?;
    let tally = tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Score {
        seed: plan.seed,
        cases: tally.done,
        jobs: tally.jobs,
        pages: tally.pages,
        completed: tally.completed,
        lasted,
        failed: tally.failed.into_iter().map(|(number, _, breaches)| (number, breaches)).collect(),
        problems: stage.problems().await?,
    })
}

async fn lane(
    ground: &Ground<'_>,
    plan: &Plan,
    waiting: &Mutex<VecDeque<u64>>,
    tally: &Mutex<Tally>,
) -> Result<()> {
    let mut session = ground.stage.session().await?;
    loop {
        let Some(number) = lock(waiting).pop_front() else { return Ok(()) };
        let world = plan.world.clone().unwrap_or_else(|| draw(plan.seed, number));
        let verdict = case::run(ground, &mut session, &world).await?;
        if plan.verbose {
            show(&world, &verdict);
        }
        let mut tally = lock(tally);
        tally.done += 1;
        tally.jobs += verdict.jobs.len();
        tally.pages += verdict.jobs.iter().map(|job| u64::from(job.log.pages)).sum::<u64>();
        tally.completed += verdict.jobs.iter().filter(|job| job.end == super::law::Ended::Completed).count();
        if !verdict.breaches.is_empty() {
            say(format_args!("  ✗ --seed {} --only {number}", plan.seed));
            for breach in &verdict.breaches {
                say(format_args!("      {breach}"));
            }
            tally.failed.push((number, world, verdict.breaches));
        }
    }
}

fn show(world: &World, verdict: &Verdict) {
    say(serde_json::to_string_pretty(world).unwrap_or_default());
    for (nth, job) in verdict.jobs.iter().enumerate() {
        let alive = job.records.values().filter(|record| !record.deleted).count();
        say(format_args!(
            "job {nth}, {:?}: {:?}, from {:?} to {}, {} slices, {} pages, {} by id, removed {}, withheld {}, told {:?}, {:?}; \
             {alive} of {} records are there",
            job.mode,
            job.end,
            job.from,
            job.to,
            job.slices,
            job.log.pages,
            job.log.items,
            job.log.removed,
            job.log.withheld.len(),
            job.told,
            job.deletion_left_out,
            job.records.len()
        ));
    }
}

/// Finds the smallest world, as far as it gets, that breaks the same rule.
async fn make_smaller(ground: &Ground<'_>, tally: &Mutex<Tally>) -> Result<()> {
    let failed: Vec<_> = lock(tally).failed.iter().take(MADE_SMALLER).cloned().collect();
    let mut session = ground.stage.session().await?;
    for (number, world, breaches) in failed {
        let Some(rule) = breaches.first().map(|breach| breach.rule) else { continue };
        let (mut smallest, mut found, mut tried) = (world, breaches, 0);
        'smaller: loop {
            for candidate in simpler(&smallest) {
                if tried == TRIES {
                    break 'smaller;
                }
                tried += 1;
                let again = case::run(ground, &mut session, &candidate).await?.breaches;
                if again.iter().any(|breach| breach.rule == rule) {
                    (smallest, found) = (candidate, again);
                    continue 'smaller;
                }
            }
            break;
        }
        say(format_args!("\ncase {number}, made smaller by {tried} tries:"));
        for breach in &found {
            say(format_args!("  {breach}"));
        }
        say(format_args!("{}", told(&smallest)));
    }
    Ok(())
}

/// How a world is played again.
fn told(world: &World) -> String {
    let json = serde_json::to_string(world).unwrap_or_default();
    format!("  make random-upstreams ARGS='--world {}'", json.replace('\'', "'\\''"))
}

async fn lines(plan: &Plan, tally: &Mutex<Tally>, began: Instant) {
    loop {
        sleep(LINE_EVERY).await;
        let tally = lock(tally);
        let (done, of) = (tally.done, plan.cases.len());
        if done < of {
            let rate = f64::from(u32::try_from(done).unwrap_or(u32::MAX)) / began.elapsed().as_secs_f64();
            say(format_args!(
                "{:6.1} s  {done} of {of} cases, {} failed, {rate:.1} a second",
                began.elapsed().as_secs_f64(),
                tally.failed.len()
            ));
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Outcome for Score {
    fn json(&self) -> Value {
        let failed =
            |(number, breaches): &(u64, Vec<Breach>)| json!({ "number": number, "breaches": breaches });
        json!({
            "seed": self.seed,
            "cases": self.cases,
            "jobs": self.jobs,
            "completed": self.completed,
            "pages": self.pages,
            "seconds": self.lasted.as_secs_f64(),
            "failed": self.failed.iter().map(failed).collect::<Vec<_>>(),
            "problems": self.problems,
        })
    }

    fn is_good(&self) -> bool {
        self.failed.is_empty() && self.problems.is_empty()
    }
}

impl fmt::Display for Score {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "seed {}: {} upstreams, {} jobs ({} completed), {} pages in {:.1} s",
            self.seed,
            self.cases,
            self.jobs,
            self.completed,
            self.pages,
            self.lasted.as_secs_f64()
        )?;
        for problem in &self.problems {
            writeln!(f, "✗ {problem}")?;
        }
        for (number, breaches) in &self.failed {
            let first = breaches.first().map(ToString::to_string).unwrap_or_default();
            writeln!(f, "✗ --seed {} --only {number}: {first}", self.seed)?;
        }
        let verdict = if self.is_good() {
            "every difference is explained"
        } else {
            "NOT every difference is explained"
        };
        f.write_str(verdict)
    }
}
