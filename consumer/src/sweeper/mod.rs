//! The sweeper: repairs what messages and workers lost. Every process runs one; every duty is idempotent, takes a bounded
//! batch and skips what another process is at, so no leader is needed.

mod duties;

use crate::outbox::Outbox;
use crate::planner::Planner;
use configuration::{CancelConfig, JobsConfig, SweeperConfig};
use duties::DutyError;
use metrics::{counter, gauge, histogram};
use protocol::ids::WorkerId;
use relay::{EventRelay, RelayError};
use runtime::fitness::Fitness;
use runtime::health::Beat;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use store::Store;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// A duty's run is written to the database this often, a failed one at once.
const RECORD_EVERY: Duration = Duration::from_secs(10);
/// Old rows are looked for this often.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Jobs are measured at each so many-th sweep: it reads all of their slices.
const SWEEPS_PER_LIMITS: u32 = 20;

/// The sweeper of a process.
#[derive(Debug)]
pub struct Sweeper {
    /// Who sweeps.
    pub worker: WorkerId,
    /// The store.
    pub store: Store,
    /// Nothing is swept while its database cannot be worked with.
    pub fitness: Fitness,
    /// Rings, pushes aborts, publishes markers.
    pub outbox: Outbox,
    /// Publishes events that others left, and progress.
    pub relay: EventRelay,
    /// Plans jobs whose start command was lost.
    pub planner: Planner,
    /// Intervals and batch.
    pub config: SweeperConfig,
    /// The deadline of a cancel.
    pub cancel: CancelConfig,
    /// What a job may grow to.
    pub jobs: JobsConfig,
}

/// What the sweeper does: two loops side by side, each in its order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Duty {
    Cancels,
    Leases,
    Finish,
    Refill,
    Doorbells,
    Markers,
    Starts,
    Events,
    Limits,
    Removal,
    Prune,
}

impl Duty {
    /// What needs Postgres alone. A cancel's deadline holds whatever the broker does, so nothing here waits for it.
    const OF_POSTGRES: [Self; 6] =
        [Self::Cancels, Self::Leases, Self::Finish, Self::Limits, Self::Removal, Self::Prune];
    /// What publishes, and waits for the broker's confirm.
    const OF_THE_BROKER: [Self; 5] =
        [Self::Refill, Self::Doorbells, Self::Markers, Self::Starts, Self::Events];

    const fn word(self) -> &'static str {
        match self {
            Self::Cancels => "cancels",
            Self::Leases => "leases",
            Self::Finish => "finish",
            Self::Refill => "refill",
            Self::Doorbells => "doorbells",
            Self::Markers => "markers",
            Self::Starts => "starts",
            Self::Events => "events",
            Self::Limits => "limits",
            Self::Removal => "removal",
            Self::Prune => "prune",
        }
    }
}

/// When a duty last ran in this process, and when that was last written down.
#[derive(Clone, Copy, Debug, Default)]
struct Run {
    ran: Option<Instant>,
    recorded: Option<Instant>,
    failing: bool,
}

impl Sweeper {
    /// Sweeps until `ended`.
    pub async fn run(&self, ended: CancellationToken, beats: [Beat; 2]) {
        let [repairs, rings] = beats;
        tokio::join!(
            self.turn(Duty::OF_POSTGRES, &ended, &repairs),
            self.turn(Duty::OF_THE_BROKER, &ended, &rings)
        );
    }

    async fn turn<const N: usize>(&self, duties: [Duty; N], ended: &CancellationToken, beat: &Beat) {
        let mut ticks = tokio::time::interval(self.config.every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut runs = [Run::default(); N];
        loop {
            tokio::select! {
                () = ended.cancelled() => return,
                _ = ticks.tick() => {}
            }
            for (duty, run) in duties.into_iter().zip(&mut runs) {
                beat.touch();
                if !self.fitness.looks_fit() {
                    break;
                }
                if ended.is_cancelled() {
                    return;
                }
                self.sweep(duty, run).await;
                beat.touch();
            }
        }
    }

    async fn sweep(&self, duty: Duty, run: &mut Run) {
        let every = if duty == Duty::Prune {
            PRUNE_EVERY
        } else if duty == Duty::Limits {
            self.config.every * SWEEPS_PER_LIMITS
        } else {
            Duration::ZERO
        };
        if run.ran.is_some_and(|ran| ran.elapsed() < every) {
            return;
        }
        let begun = Instant::now();
        let result = self.perform(duty).await;
        run.ran = Some(begun);
        histogram!("sweeper_duty_seconds", "duty" => duty.word()).record(begun.elapsed().as_secs_f64());
        // The broker's absence is said by whoever rebuilds the connection, once, and the database's by its own watch.
        let said = match &result {
            Err(DutyError::NoBroker) => true,
            Err(DutyError::Store(error) | DutyError::Relay(RelayError::Store(error))) => error.is_outage(),
            Err(DutyError::Publish(_) | DutyError::Relay(RelayError::Publish(_))) | Ok(()) => false,
        };
        let error = result.err().map(|error| error.to_string());
        match &error {
            None => {
                // For a dashboard, not for decisions: this process's clock will do.
                let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |age| age.as_secs_f64());
                gauge!("sweeper_last_success_timestamp_seconds", "duty" => duty.word()).set(now);
            }
            Some(error) => {
                counter!("sweeper_failures_total", "duty" => duty.word()).increment(1);
                if !run.failing && !said {
                    tracing::warn!(
                        duty = duty.word(),
                        error,
                        "a duty of the sweeper failed; it is tried at each sweep"
                    );
                }
            }
        }
        let changed = run.failing != error.is_some();
        run.failing = error.is_some();
        if changed || run.recorded.is_none_or(|recorded| recorded.elapsed() >= RECORD_EVERY) {
            run.recorded = Some(begun);
            if let Err(error) = self.store.sweeps().record(self.worker, duty.word(), error.as_deref()).await {
                tracing::debug!(duty = duty.word(), %error, "the run of a duty was not written down");
            }
        }
    }
}
