//! The rules of the law, one by one.

use super::{Breach, Ended, Facts, Rule, Stored};
use crate::random_upstreams::history::{History, Version};
use crate::random_upstreams::times;
use crate::random_upstreams::upstream::shown;
use crate::random_upstreams::world::{Mode, Odd, Order, World};
use protocol::warning::WarningKind;
use std::collections::{BTreeMap, BTreeSet};

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

/// Who judges.
pub(super) struct Court<'a> {
    world: &'a World,
    history: &'a History,
    jobs: &'a [Facts],
    /// Records of which a job told that it missed them, or that it could not store them.
    told: BTreeSet<String>,
    breaches: Vec<Breach>,
}

impl<'a> Court<'a> {
    pub(super) fn new(world: &'a World, history: &'a History, jobs: &'a [Facts]) -> Self {
        Self { world, history, jobs, told: BTreeSet::new(), breaches: Vec::new() }
    }

    pub(super) fn breaches(self) -> Vec<Breach> {
        self.breaches
    }

    /// Judges a job, after all before it.
    pub(super) fn judge(&mut self, job: usize) {
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
                    self.suspected_for_ever(job, facts);
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
                    let time = self.world.time.map(|_format| times::read(self.world, version));
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
        let time = times::read(self.world, version);
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
            let withheld = facts.log.withheld.contains(&id) && !self.world.total_is_kept()
                || facts.log.hidden.contains(&id);
            match excuse(self.world, &version) {
                _ if withheld || self.world.hides() => {}
                Some(kind) => {
                    *odd.entry(kind).or_default() += 1;
                    self.told.insert(id);
                }
                None => missing.push(id),
            }
        }
        let failed = odd.get(&WarningKind::Failed).copied().unwrap_or_default();
        for (kind, count) in odd {
            let told = facts.told.get(&kind).copied().unwrap_or_default();
            // What is odd may be missing for the other reasons, too.
            if told < count && !doubted && !facts.told.contains_key(&WarningKind::MovingList) {
                let text = format!("{count} records could not be stored, and {} counts {told}", kind.word());
                self.breach(Rule::Lost, job, text);
            }
        }
        let moved = facts.told.contains_key(&WarningKind::MovingList);
        let failed = facts.told.get(&WarningKind::Failed).copied().unwrap_or_default() - failed;
        if missing.is_empty()
            || doubted
            || usize::try_from(failed).is_ok_and(|failed| missing.len() <= failed)
        {
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
            let time = times::read(self.world, version);
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
        let time = times::read(self.world, version);
        let read = earlier.end == Ended::Completed
            && earlier.from.is_none_or(|from| from <= time)
            && time < earlier.to
            && earlier.log.newest.is_some_and(|newest| time <= newest);
        let withheld = earlier.log.withheld.contains(id) && !self.world.total_is_kept()
            || earlier.log.hidden.contains(id);
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

    /// What two full syncs in a row did not meet, and nothing else keeps.
    fn suspected_for_ever(&mut self, job: usize, facts: &Facts) {
        let Some(before) = job.checked_sub(1).map(|before| &self.jobs[before]) else { return };
        let clean = |facts: &Facts| {
            let other =
                |kind: &WarningKind| *kind != WarningKind::Suspected && *kind != WarningKind::DroppedByMargin;
            facts.mode == Mode::Full
                && facts.end == Ended::Completed
                && facts.from.is_none()
                && facts.deletion_left_out.is_none()
                && !facts.told.keys().any(other)
        };
        if !clean(before) || !clean(facts) || self.world.item {
            return;
        }
        let gone = |id: &str| self.history.is_gone(id, before.began, facts.ended);
        let left = facts.records.iter().filter(|(id, stored)| {
            !stored.deleted && gone(id) && before.records.get(*id).is_some_and(|stored| !stored.deleted)
        });
        let left: Vec<_> = left.map(|(id, _)| id.clone()).collect();
        if !left.is_empty() {
            let text = format!(
                "{} records are gone since two full syncs, and suspected: {}",
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
        // Where no page is like another, it takes some time to see that none brings anything new.
        let shuffled = if self.world.order == Order::Unstable { 8 * records + 512 } else { 128 };
        let most = facts.slices * (4 * (records / page + 4) + shuffled) + 130 + 10 * troubles;
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
        // Where a cap or a window hides much, a full sync may well refuse to delete it.
        let refuses = matches!(&facts.end, Ended::Failed(cause) if cause.contains("deleting more than half"));
        if facts.end != Ended::Completed && !refuses || !warned.is_empty() {
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
