//! What an upstream has had, from its beginning on: every content of every record, and when.

use super::world::{Change, Odd, World};
use std::collections::BTreeMap;

/// In milliseconds.
const MINUTE: i64 = 60_000;

/// A moment of a case: it grows with every request and every change.
pub type Tick = u64;

/// One content of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// From when on.
    pub since: Tick,
    /// Whether it is there; the last content of what is gone says no.
    pub there: bool,
    /// When it was created, in milliseconds since 1970.
    pub created: i64,
    /// When it was last changed.
    pub updated: i64,
    /// Which content it is.
    pub revision: u32,
    /// What is odd about it.
    pub odd: Option<Odd>,
}

/// All records that an upstream ever had.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// The contents of each record, in their order.
    pub records: BTreeMap<String, Vec<Version>>,
    /// Now.
    pub tick: Tick,
    made: u32,
}

/// What a change did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moved {
    /// How many records are gone.
    pub gone: u32,
    /// How many have another content.
    pub touched: u32,
}

impl History {
    /// An upstream at its beginning. `midnight` is the last one, in milliseconds since 1970.
    #[must_use]
    pub fn begin(world: &World, midnight: i64) -> Self {
        let mut history = Self { tick: 1, ..Self::default() };
        let spacing = i64::from(world.spacing) * MINUTE;
        // The last one is at midnight or a little later, so that some are where days and slices meet.
        let first =
            midnight - spacing * i64::from(world.records.saturating_sub(1)) + i64::from(world.fraction);
        for place in 0..world.records {
            history.add(first + spacing * i64::from(place), world.odd.get(&place).copied());
        }
        history
    }

    fn add(&mut self, created: i64, odd: Option<Odd>) {
        let version = Version { since: self.tick, there: true, created, updated: created, revision: 1, odd };
        self.records.insert(format!("r{:04}", self.made), vec![version]);
        self.made += 1;
    }

    /// The content of a record at this moment.
    #[must_use]
    pub fn at(&self, id: &str, tick: Tick) -> Option<&Version> {
        self.records.get(id)?.iter().rev().find(|version| version.since <= tick)
    }

    /// The content that a record had through the whole time, if it was there and did not change.
    #[must_use]
    pub fn steady(&self, id: &str, from: Tick, to: Tick) -> Option<&Version> {
        let version = self.at(id, to)?;
        (version.there && version.since <= from).then_some(version)
    }

    /// Whether a record was there through the whole time, changed or not.
    #[must_use]
    pub fn lives(&self, id: &str, from: Tick, to: Tick) -> bool {
        let there = |versions: &Vec<Version>| {
            let within = versions.iter().filter(|version| version.since > from && version.since <= to);
            within.into_iter().all(|version| version.there)
        };
        self.at(id, from).is_some_and(|version| version.there) && self.records.get(id).is_some_and(there)
    }

    /// Whether a record was gone through the whole time.
    #[must_use]
    pub fn is_gone(&self, id: &str, from: Tick, to: Tick) -> bool {
        self.at(id, to).is_some_and(|version| !version.there && version.since <= from)
    }

    /// What is there now.
    pub fn present(&self) -> impl Iterator<Item = (&str, &Version)> {
        self.records.iter().filter_map(|(id, versions)| {
            let version = versions.last().filter(|version| version.there)?;
            Some((id.as_str(), version))
        })
    }

    /// Changes it, at this moment by the upstream's clock.
    pub fn change(&mut self, change: Change, now: i64, midnight: i64) -> Moved {
        self.tick += 1;
        match change {
            Change::New(count) => (0..count).for_each(|_nth| self.add(now, None)),
            Change::Late(count, minutes) => {
                let first = midnight - minutes * MINUTE;
                (0..count).for_each(|nth| self.add(first + i64::from(nth) * MINUTE, None));
            }
            Change::Ahead(minutes) => self.add(now + i64::from(minutes) * MINUTE, None),
            Change::Gone(count, place) => {
                let chosen = self.chosen(count, place);
                let gone = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
                chosen.into_iter().for_each(|id| self.next(&id, |version| version.there = false));
                return Moved { gone, touched: 0 };
            }
            Change::Touched(count, place) => {
                let chosen = self.chosen(count, place);
                let touched = u32::try_from(chosen.len()).unwrap_or(u32::MAX);
                for id in chosen {
                    self.next(&id, |version| {
                        version.updated = now;
                        version.revision += 1;
                    });
                }
                return Moved { gone: 0, touched };
            }
            Change::Finished => {
                let unfinished = self.present().filter(|(_, version)| version.odd == Some(Odd::Unfinished));
                let ids: Vec<_> = unfinished.map(|(id, _)| id.to_owned()).collect();
                for id in ids {
                    self.next(&id, |version| {
                        (version.odd, version.updated) = (None, now);
                        version.revision += 1;
                    });
                }
            }
        }
        Moved::default()
    }

    /// So many records from a place on, as a change names them.
    #[must_use]
    pub fn chosen(&self, count: u32, place: u32) -> Vec<String> {
        let mut there: Vec<_> = self.present().map(|(id, version)| (version.created, id)).collect();
        there.sort_unstable();
        let first = there.len() * place.min(999) as usize / 1000;
        there.into_iter().skip(first).take(count as usize).map(|(_, id)| id.to_owned()).collect()
    }

    fn next(&mut self, id: &str, change: impl FnOnce(&mut Version)) {
        let since = self.tick;
        if let Some(versions) = self.records.get_mut(id)
            && let Some(mut version) = versions.last().cloned()
        {
            version.since = since;
            change(&mut version);
            versions.push(version);
        }
    }
}
