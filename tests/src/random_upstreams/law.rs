//! The law: every difference between an upstream and the records is explained.
//!
//! It is asked after each job, of what the upstream has had by then, of what the job said, and of the records. A record is
//! *steady* in a job if it was there, with the same content, from before the job's first request to after its last one. The
//! *time* of a record is the one that the settings read of it. A job *tells* by failing, by a warning, or by a note.
//!
//! - **Invented.** Every stored content is one that the upstream has had, and is stored with its time.
//! - **Lost.** After a completed job, each record that was steady in it, and whose time lies in its span, is stored with
//!   its content. One that is odd (it cannot be read, or is not importable) may be missing if `failed` or the note
//!   `deferred` counts it. Others may be missing if a warning doubts that the walk was whole; or if the note
//!   `moving_list` is there, at most as many as were removed while the job read. What the upstream kept to itself, by a
//!   cap or by a window, is no difference: unless its total, which the settings take for exact, counted it. Nor is what
//!   nobody could find out: settings that look for the next page where there is none, or ask for it by a name that the
//!   upstream does not know, while it clamps its pages and says nothing of what there is.
//! - **Passed over.** An incremental job begins somewhere, and so says that all that is older is known. What is older and
//!   missing must be excused by an earlier job: it was completed, it read that time and a newer record than that, and
//!   the record was not steady in it (it came later, or moved); or that job told of the record; or the upstream kept it to
//!   itself then.
//! - **Killed.** What a job marks deleted was not there all the time that the job took. Nothing explains that.
//! - **Left.** After a completed full sync, what was gone before it began, and is stored with a time in its span, is
//!   deleted, or counted by a warning, or the job says why it deleted nothing.
//! - **Endless.** A job ends in time, and with no more requests than its upstream explains.
//! - **Crying wolf.** A job that reads an upstream which is as its settings say, and holds still, is completed without a
//!   warning.

use super::history::{History, Tick, Version};
use super::times;
use super::upstream::{Log, shown};
use super::world::{Mode, Odd, World};
use common::warning::WarningKind;
use serde::Serialize;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

const MICROS: i64 = 1_000_000;

/// How a job ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// It is completed.
    Completed,
    /// It failed, and said why.
    Failed(String),
    /// It did not end in time.
    Never,
}

/// A job, what it said, and what was stored after it.
#[derive(Clone, Debug)]
pub struct Facts {
    /// What it pulled.
    pub mode: Mode,
    /// The moment before its first request.
    pub began: Tick,
    /// The moment after its last one.
    pub ended: Tick,
    /// How it ended.
    pub end: Ended,
    /// Its span, in microseconds since 1970.
    pub from: Option<i64>,
    /// Its end, which does not belong to it.
    pub to: i64,
    /// How many slices it had.
    pub slices: i64,
    /// What it warned of, and what it noted.
    pub told: BTreeMap<WarningKind, i64>,
    /// Why it deleted nothing, if it was to.
    pub deletion_left_out: Option<String>,
    /// What the upstream noted of it.
    pub log: Log,
    /// The records after it.
    pub records: BTreeMap<String, Stored>,
}

/// A record as it is stored.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Its content.
    pub payload: Value,
    /// When it happened, in microseconds since 1970.
    pub time: Option<i64>,
    /// Whether it is marked deleted.
    pub deleted: bool,
}

/// A rule that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Breach {
    /// Which one.
    pub rule: Rule,
    /// After which job, from 0.
    pub job: usize,
    /// In words.
    pub text: String,
}

/// A rule of the law.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the module says what each is")]
pub enum Rule {
    Invented,
    Lost,
    PassedOver,
    Killed,
    Left,
    Endless,
    CryingWolf,
    /// Settings that fit the upstream were refused.
    Refused,
}

impl fmt::Display for Breach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} after job {}: {}", self.rule, self.job, self.text)
    }
}

/// What says that a walk was not whole.
const DOUBTS: [WarningKind; 9] = [
    WarningKind::Shortfall,
    WarningKind::ShortfallAccepted,
    WarningKind::Repeated,
    WarningKind::TotalFell,
    WarningKind::OverlapLost,
    WarningKind::EmptyPage,
    WarningKind::SamePage,
    WarningKind::BeyondTotal,
    WarningKind::SkippedPages,
];

/// What says that a record is kept though it was not met.
const KEPT: [WarningKind; 4] =
    [WarningKind::Suspected, WarningKind::Unconfirmed, WarningKind::OtherScope, WarningKind::OutsideMet];

/// Judges all jobs of a case.
#[must_use]
pub fn judge(world: &World, history: &History, jobs: &[Facts]) -> Vec<Breach> {
    let mut court = Court { world, history, jobs, told: BTreeSet::new(), breaches: Vec::new() };
    for job in 0..jobs.len() {
        court.judge(job);
    }
    court.breaches
}

struct Court<'a> {
    world: &'a World,
    history: &'a History,
    jobs: &'a [Facts],
    /// Records of which a job told that it missed them, or that it could not store them.
    told: BTreeSet<String>,
    breaches: Vec<Breach>,
}

impl Court<'_> {
    fn judge(&mut self, job: usize) {
        let facts = &self.jobs[job];
        self.invented(job, facts);
        self.killed(job, facts);
        self.endless(job, facts);
        match &facts.end {
            Ended::Completed => {
                self.lost(job, facts);
                self.passed_over(job, facts);
                if facts.mode == Mode::Full {
                    self.left(job, facts);
                }
            }
            Ended::Failed(_) | Ended::Never => {}
        }
        self.crying_wolf(job, facts);
    }

    fn breach(&mut self, rule: Rule, job: usize, text: String) {
        self.breaches.push(Breach { rule, job, text });
    }

    fn invented(&mut self, job: usize, facts: &Facts) {
        for (id, stored) in &facts.records {
            let versions = self.history.records.get(id).into_iter().flatten();
            let mut same = versions.filter(|version| shown(self.world, id, version) == stored.payload);
            match same.next_back() {
                None => {
                    let text = format!("{id} is stored as {}, which it never was", stored.payload);
                    self.breach(Rule::Invented, job, text);
                }
                Some(version) => {
                    let time = self.world.time.map(|_format| times::read(self.world, version) * MICROS);
                    if stored.time != time {
                        let text =
                            format!("{id} is stored with the time {:?}, and not {time:?}", stored.time);
                        self.breach(Rule::Invented, job, text);
                    }
                }
            }
        }
    }

    fn killed(&mut self, job: usize, facts: &Facts) {
        let before = job.checked_sub(1).map(|before| &self.jobs[before].records);
        for (id, stored) in facts.records.iter().filter(|(_, stored)| stored.deleted) {
            let was = before.and_then(|before| before.get(id)).is_some_and(|before| before.deleted);
            if !was && self.history.lives(id, facts.began, facts.ended) {
                let text = format!("{id} is marked deleted, and lives: {}", stored.payload);
                self.breach(Rule::Killed, job, text);
            }
        }
    }

    /// The records that a job must have stored.
    fn promised(&self, facts: &Facts) -> Vec<(String, Version)> {
        let steady = self.history.records.keys().filter_map(|id| {
            let version = self.history.steady(id, facts.began, facts.ended)?;
            self.is_in(version, facts).then(|| (id.clone(), version.clone()))
        });
        steady.collect()
    }

    fn is_in(&self, version: &Version, facts: &Facts) -> bool {
        let time = times::read(self.world, version) * MICROS;
        facts.from.is_none_or(|from| from <= time) && time < facts.to
    }

    fn is_stored(&self, facts: &Facts, id: &str, version: &Version) -> bool {
        let content = |stored: &Stored| !stored.deleted && stored.payload == shown(self.world, id, version);
        facts.records.get(id).is_some_and(content)
    }

    fn lost(&mut self, job: usize, facts: &Facts) {
        let doubted = facts.told.keys().any(|kind| DOUBTS.contains(kind));
        let (mut odd, mut missing) = (BTreeMap::<WarningKind, i64>::new(), Vec::new());
        for (id, version) in self.promised(facts) {
            if self.is_stored(facts, &id, &version) {
                continue;
            }
            let withheld = facts.log.withheld.contains(&id) && !self.world.total_is_kept();
            match excuse(self.world, &version) {
                _ if withheld || self.world.hides() => {}
                Some(kind) => {
                    *odd.entry(kind).or_default() += 1;
                    self.told.insert(id);
                }
                None => missing.push(id),
            }
        }
        for (kind, count) in odd {
            let told = facts.told.get(&kind).copied().unwrap_or_default();
            // What is odd may be missing for the other reasons, too.
            if told < count && !doubted && !facts.told.contains_key(&WarningKind::MovingList) {
                let text = format!("{count} records could not be stored, and {} counts {told}", kind.word());
                self.breach(Rule::Lost, job, text);
            }
        }
        let moved = facts.told.contains_key(&WarningKind::MovingList);
        if missing.is_empty() || doubted {
            return;
        }
        if moved && missing.len() <= facts.log.removed as usize {
            self.told.extend(missing);
            return;
        }
        let text = format!(
            "{} records were in the list all the time and are not stored as they are: {}; told was {:?}, removed meanwhile {}",
            missing.len(),
            some(&missing),
            facts.told,
            facts.log.removed
        );
        self.breach(Rule::Lost, job, text);
    }

    fn passed_over(&mut self, job: usize, facts: &Facts) {
        let Some(from) = facts.from.filter(|_| facts.mode == Mode::Incremental) else { return };
        let mut missing = Vec::new();
        for id in self.history.records.keys() {
            let Some(version) = self.history.steady(id, facts.began, facts.ended) else { continue };
            let time = times::read(self.world, version) * MICROS;
            let stored = facts.records.get(id).is_some_and(|stored| !stored.deleted);
            if stored
                || from <= time
                || self.world.hides()
                || self.told.contains(id)
                || excuse(self.world, version).is_some()
            {
                continue;
            }
            if !self.jobs[..job].iter().any(|earlier| self.excuses(earlier, id, version)) {
                missing.push(id.clone());
            }
        }
        if !missing.is_empty() {
            let text = format!(
                "the job begins at {from}, and {} records before that are not stored, though no job read past them: {}",
                missing.len(),
                some(&missing)
            );
            self.breach(Rule::PassedOver, job, text);
        }
    }

    /// Whether an earlier job could believe that it had met all of that time, though it had not met this record.
    fn excuses(&self, earlier: &Facts, id: &str, version: &Version) -> bool {
        let time = times::read(self.world, version) * MICROS;
        let read = earlier.end == Ended::Completed
            && earlier.from.is_none_or(|from| from <= time)
            && time < earlier.to
            && earlier.log.newest.is_some_and(|newest| time <= (newest + self.world.misread()) * MICROS);
        let withheld = earlier.log.withheld.contains(id) && !self.world.total_is_kept();
        earlier.end == Ended::Completed
            && (withheld || read && self.history.steady(id, earlier.began, earlier.ended).is_none())
    }

    fn left(&mut self, job: usize, facts: &Facts) {
        let in_span = |stored: &Stored| {
            stored.time.is_none_or(|time| facts.from.is_none_or(|from| from <= time) && time < facts.to)
        };
        let left: Vec<_> = facts
            .records
            .iter()
            .filter(|(id, stored)| {
                !stored.deleted && in_span(stored) && self.history.is_gone(id, facts.began, facts.ended)
            })
            .map(|(id, _)| id.clone())
            .collect();
        let counted: i64 = KEPT.iter().filter_map(|kind| facts.told.get(kind)).sum();
        if facts.deletion_left_out.is_none() && left.len() > usize::try_from(counted).unwrap_or_default() {
            let text = format!(
                "{} records are gone, and not deleted: {}; {counted} are counted as kept",
                left.len(),
                some(&left)
            );
            self.breach(Rule::Left, job, text);
        }
    }

    fn endless(&mut self, job: usize, facts: &Facts) {
        let records = i64::try_from(self.history.records.len()).unwrap_or(i64::MAX);
        let page = i64::from(self.world.page()).max(2) - 1;
        let troubles = i64::try_from(self.world.troubles.len()).unwrap_or_default();
        let most = facts.slices * 4 * (records / page + 4) + 130 + 10 * troubles;
        if facts.end == Ended::Never || i64::from(facts.log.pages) > most {
            let text = format!(
                "{} requests for pages (at most {most} are explained); the job {:?}",
                facts.log.pages, facts.end
            );
            self.breach(Rule::Endless, job, text);
        }
    }

    fn crying_wolf(&mut self, job: usize, facts: &Facts) {
        if !self.world.is_as_said(job) {
            return;
        }
        let warned: Vec<_> =
            facts.told.keys().filter(|kind| !kind.is_note() && !KEPT.contains(kind)).collect();
        if facts.end != Ended::Completed || !warned.is_empty() {
            let text =
                format!("the upstream is as its settings say, and the job {:?}, {warned:?}", facts.end);
            self.breach(Rule::CryingWolf, job, text);
        }
    }
}

/// What tells that a record could not be stored, if it cannot be.
fn excuse(world: &World, version: &Version) -> Option<WarningKind> {
    match version.odd? {
        Odd::Timeless | Odd::Unreadable => world.time.is_some().then_some(WarningKind::Failed),
        Odd::Unstorable => Some(WarningKind::Failed),
        Odd::Unfinished => Some(WarningKind::Deferred),
        Odd::Twice => None,
    }
}

fn some(ids: &[String]) -> String {
    let more = if ids.len() > 5 { " …" } else { "" };
    format!("{}{more}", ids[..ids.len().min(5)].join(", "))
}
