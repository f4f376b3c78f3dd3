//! What was measured, as a table.

use super::Plan;
use super::things::THINGS;
use crate::Outcome;
use crate::throughput::meter::median;
use serde_json::{Value, json};
use std::fmt;
use std::time::Duration;

/// Not more than this times what it takes alone.
const GOAL: f64 = 1.5;
/// No process may have more memory than this, in MiB.
const MEMORY_GOAL: f64 = 256.0;

/// A thing, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thing(pub(super) usize);

impl fmt::Display for Thing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(THINGS.get(self.0).copied().unwrap_or_default())
    }
}

/// What each thing took, p95, alone and beside one mischief.
#[derive(Debug)]
pub(super) struct Beside {
    pub(super) mischief: &'static str,
    pub(super) alone: [Duration; THINGS.len()],
    pub(super) beside: [Duration; THINGS.len()],
    /// The most that a process has had until then, in bytes.
    pub(super) memory: u64,
}

impl Beside {
    fn ratio(&self, thing: usize) -> f64 {
        self.beside[thing].as_secs_f64() / self.alone[thing].as_secs_f64().max(f64::EPSILON)
    }

    pub(super) fn worst(&self) -> (Thing, f64) {
        let ratios = (0..THINGS.len()).map(|thing| (Thing(thing), self.ratio(thing)));
        ratios.max_by(|(_, one), (_, other)| one.total_cmp(other)).unwrap_or((Thing(0), 0.0))
    }
}

/// One round of one build.
#[derive(Debug)]
pub(super) struct Round {
    pub(super) besides: Vec<Beside>,
}

/// The rounds of each build.
#[derive(Debug)]
pub struct Compared {
    plan: Plan,
    builds: Vec<(String, Vec<Round>)>,
}

impl Compared {
    pub(super) fn new(builds: Vec<String>, plan: Plan) -> Self {
        Self { plan, builds: builds.into_iter().map(|name| (name, Vec::new())).collect() }
    }

    pub(super) fn add(&mut self, build: &str, round: Round) {
        if let Some((_, rounds)) = self.builds.iter_mut().find(|(name, _)| name == build) {
            rounds.push(round);
        }
    }

    fn mischiefs(&self) -> Vec<&'static str> {
        let first = self.builds.first().and_then(|(_, rounds)| rounds.first());
        first.map(|round| round.besides.iter().map(|beside| beside.mischief).collect()).unwrap_or_default()
    }
}

/// Of a mischief: the thing that suffers most, by the median of the rounds' ratios.
fn worst(rounds: &[Round], mischief: usize) -> (Thing, f64) {
    let ratio =
        |thing: usize| median(rounds.iter().map(|round| round.besides[mischief].ratio(thing)).collect());
    let ratios = (0..THINGS.len()).map(|thing| (Thing(thing), ratio(thing)));
    ratios.max_by(|(_, one), (_, other)| one.total_cmp(other)).unwrap_or((Thing(0), 0.0))
}

/// The most memory that a process has had, in MiB.
fn memory(rounds: &[Round]) -> f64 {
    let most = rounds.iter().flat_map(|round| &round.besides).map(|beside| beside.memory >> 20).max();
    f64::from(u32::try_from(most.unwrap_or_default()).unwrap_or(u32::MAX))
}

impl fmt::Display for Compared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { samples, rounds } = self.plan;
        writeln!(
            f,
            "p95 of what a tenant does beside another's mischief, to p95 alone: the worst of {} things, each done {samples} \
             times; medians of {rounds} rounds; one consumer, one producer\n",
            THINGS.len()
        )?;
        for (build, rounds) in &self.builds {
            writeln!(f, "| {build}: beside | worst ratio (goal ≤ {GOAL}) | of |\n|---|---|---|")?;
            for (number, mischief) in self.mischiefs().into_iter().enumerate() {
                let (thing, ratio) = worst(rounds, number);
                writeln!(f, "| {mischief} | {ratio:.2} | {thing} |")?;
            }
            writeln!(f, "| memory of a process, MiB (goal ≤ {MEMORY_GOAL}) | {} | |\n", memory(rounds))?;
        }
        if self.builds.len() < 2 {
            writeln!(f, "Nothing to compare with: say BASE=COMMIT, in a clone that has its history.")?;
        }
        Ok(())
    }
}

impl Outcome for Compared {
    fn json(&self) -> Value {
        let ms = |times: &[Duration]| times.iter().map(|time| time.as_secs_f64() * 1e3).collect::<Vec<_>>();
        let beside = |beside: &Beside| {
            json!({
                "mischief": beside.mischief, "alone_p95_ms": ms(&beside.alone), "beside_p95_ms": ms(&beside.beside),
                "memory_mib": beside.memory >> 20,
            })
        };
        let builds: Vec<_> = self
            .builds
            .iter()
            .map(|(name, rounds)| {
                let rounds: Vec<Vec<_>> =
                    rounds.iter().map(|round| round.besides.iter().map(beside).collect()).collect();
                json!({ "build": name, "rounds": rounds })
            })
            .collect();
        json!({ "things": THINGS, "samples": self.plan.samples, "builds": builds })
    }

    fn is_good(&self) -> bool {
        true
    }
}
