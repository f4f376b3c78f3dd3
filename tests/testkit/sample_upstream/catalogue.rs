//! One tenant's calls in order of creation: the generated ones, and what tests have done to them.

use super::call::{Change, Style};
use super::merge::Merge;
use super::options::TenantOptions;
use chrono::{DateTime, Utc};
use std::collections::{BTreeSet, HashMap, VecDeque, btree_set};
use std::iter::from_fn;
use std::ops::Range;
use std::sync::Arc;
use uuid::Uuid;

/// Where a call stands in the list: its creation in microseconds since 1970, then its ordinal.
pub(super) type Position = (i64, u64);

/// A half-open span of creation times, as a job has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    /// Not before; `None` is the beginning of time.
    pub from: Option<DateTime<Utc>>,
    /// Before; `None` is the end of time.
    pub to: Option<DateTime<Utc>>,
}

impl Span {
    /// Everything.
    pub const ALL: Self = Self { from: None, to: None };
}

/// What a sync of a span must have stored for one call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Expected {
    /// `callId`.
    pub id: String,
    /// BLAKE3 of the call's bytes as served, from `{` to `}`.
    pub hash: [u8; 32],
    /// `ended` is null: not importable yet.
    pub running: bool,
    /// A test has put text of its own in the call's place, which may have another id or be no call at all.
    pub raw: bool,
}

#[derive(Clone, Debug)]
pub(super) struct Catalogue {
    style: Style,
    generated: u64,
    added: BTreeSet<Position>,
    next_ordinal: u64,
    deleted: BTreeSet<u64>,
    changes: HashMap<u64, Change>,
}

impl Catalogue {
    pub(super) fn new(options: &TenantOptions) -> Self {
        Self {
            style: Style::new(options),
            generated: options.calls,
            added: BTreeSet::new(),
            next_ordinal: options.calls,
            deleted: BTreeSet::new(),
            changes: HashMap::new(),
        }
    }

    pub(super) fn add(&mut self, created: DateTime<Utc>) -> u64 {
        let ordinal = self.next_ordinal;
        self.next_ordinal += 1;
        self.added.insert((created.timestamp_micros(), ordinal));
        ordinal
    }

    pub(super) fn delete(&mut self, ordinal: u64) {
        if ordinal < self.generated {
            self.deleted.insert(ordinal);
        } else {
            self.added.retain(|(_, added)| *added != ordinal);
        }
    }

    pub(super) fn restore(&mut self, ordinal: u64) {
        self.deleted.remove(&ordinal);
    }

    pub(super) fn change(&mut self, ordinal: u64) -> &mut Change {
        self.changes.entry(ordinal).or_default()
    }

    pub(super) fn id(&self, ordinal: u64) -> Uuid {
        self.style.id(ordinal)
    }

    pub(super) fn created_us(&self, ordinal: u64) -> Option<i64> {
        if ordinal < self.generated {
            return (!self.deleted.contains(&ordinal)).then(|| self.style.created_us(ordinal));
        }
        self.added.iter().find(|(_, added)| *added == ordinal).map(|(created, _)| *created)
    }

    /// The calls of a range of positions, oldest first; also walked from its end.
    pub(super) fn walk<'a>(
        &'a self,
        range: &Range<Position>,
    ) -> impl DoubleEndedIterator<Item = Position> + use<'a> {
        let ours = self.generated_in(range).filter(|ordinal| !self.deleted.contains(ordinal));
        let ours = ours.map(|ordinal| (self.style.created_us(ordinal), ordinal));
        Merge::new(ours, self.added_in(range).copied())
    }

    pub(super) fn count(&self, range: &Range<Position>) -> u64 {
        let generated = self.generated_in(range);
        let deleted = self.deleted.range(generated.clone()).count();
        let rest = generated.end - generated.start + u64::try_from(self.added_in(range).count()).unwrap_or(0);
        rest - u64::try_from(deleted).unwrap_or(0)
    }

    pub(super) fn render(&self, (created_us, ordinal): Position, out: &mut String) {
        self.style.render(ordinal, created_us, self.changes.get(&ordinal), out);
    }

    pub(super) fn by_id(&self, id: Uuid) -> Option<Position> {
        let ordinal = self.style.ordinal(id)?;
        Some((self.created_us(ordinal)?, ordinal))
    }

    fn generated_in(&self, range: &Range<Position>) -> Range<u64> {
        let first = |(created_us, ordinal): Position| {
            let at = self.style.first_not_before(created_us);
            // Positions of the same microsecond are told apart by their ordinals.
            let same = self.style.created_us(at) == created_us && at < ordinal;
            (at + u64::from(same)).min(self.generated)
        };
        let start = first(range.start);
        start..first(range.end).max(start)
    }

    fn added_in(&self, range: &Range<Position>) -> btree_set::Range<'_, Position> {
        let end = range.end.max(range.start);
        self.added.range(range.start..end)
    }
}

/// The positions of a span. The bounds stay far enough from the type's ends to compute with them.
pub(super) fn positions(from_us: Option<i64>, before_us: Option<i64>) -> Range<Position> {
    let limit = i64::MAX / 4;
    (from_us.unwrap_or(-limit).clamp(-limit, limit), 0)..(before_us.unwrap_or(limit).clamp(-limit, limit), 0)
}

/// Every call of a span, oldest first, from the calls as they are now: later changes do not show.
pub(super) fn expected(catalogue: Arc<Catalogue>, span: Span) -> impl Iterator<Item = Expected> {
    const BATCH: usize = 256;
    let us = |time: Option<DateTime<Utc>>| time.map(|time| time.timestamp_micros());
    let mut rest = positions(us(span.from), us(span.to));
    let mut batch = VecDeque::new();
    let mut text = String::new();
    from_fn(move || {
        if batch.is_empty() {
            batch.extend(catalogue.walk(&rest).take(BATCH));
        }
        let position: Position = batch.pop_front()?;
        rest.start = (position.0, position.1 + 1);
        text.clear();
        catalogue.render(position, &mut text);
        let change = catalogue.changes.get(&position.1);
        Some(Expected {
            id: catalogue.id(position.1).to_string(),
            hash: *blake3::hash(text.as_bytes()).as_bytes(),
            running: change.is_some_and(|change| change.running),
            raw: change.is_some_and(|change| change.raw.is_some()),
        })
    })
}

/// The generated calls, oldest first: id and text.
pub(super) fn served(catalogue: Catalogue) -> impl Iterator<Item = (String, String)> {
    (0..catalogue.generated).map(move |ordinal| {
        let mut text = String::new();
        catalogue.render((catalogue.style.created_us(ordinal), ordinal), &mut text);
        (catalogue.id(ordinal).to_string(), text)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::new(&TenantOptions::new("a", 50))
    }

    fn time(us: i64) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(us).unwrap()
    }

    #[test]
    fn both_directions_list_the_same_calls() {
        let mut catalogue = catalogue();
        let newest = catalogue.created_us(49).unwrap();
        let same_moment = catalogue.add(time(newest));
        let between = catalogue.add(time(catalogue.created_us(10).unwrap() + 1));
        catalogue.delete(11);
        catalogue.delete(0);

        let all = positions(None, None);
        let forward: Vec<_> = catalogue.walk(&all).collect();
        let mut backward: Vec<_> = catalogue.walk(&all).rev().collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert!(forward.is_sorted());
        assert_eq!(forward.len(), 50);
        assert_eq!(catalogue.count(&all), 50);
        assert_eq!(forward[10].1, between);
        assert_eq!(forward[49].1, same_moment);

        let some = forward[5]..forward[20];
        assert_eq!(catalogue.walk(&some).collect::<Vec<_>>(), forward[5..20]);
        assert_eq!(catalogue.count(&some), 15);
        catalogue.delete(between);
        assert_eq!(catalogue.count(&some), 14);
    }

    #[test]
    fn expected_is_a_snapshot_of_a_half_open_span() {
        let mut catalogue = Catalogue::new(&TenantOptions::new("a", 1000));
        catalogue.change(20).running = true;
        let at = |ordinal| Some(time(catalogue.created_us(ordinal).unwrap()));
        let span = Span { from: at(10), to: at(700) };
        let snapshot = Arc::new(catalogue.clone());
        let found: Vec<_> = expected(Arc::clone(&snapshot), span).collect();
        assert_eq!(found.len(), 690);
        assert_eq!(found[0].id, snapshot.id(10).to_string());
        assert_eq!(found.iter().filter(|call| call.running).count(), 1);

        let mut text = String::new();
        snapshot.render(snapshot.walk(&positions(None, None)).nth(10).unwrap(), &mut text);
        assert_eq!(found[0].hash, *blake3::hash(text.as_bytes()).as_bytes());
    }

    #[test]
    fn an_edit_changes_the_hash_and_nothing_else() {
        let mut changed = catalogue();
        changed.change(3).revision += 1;
        let before: Vec<_> = expected(Arc::new(catalogue()), Span::ALL).collect();
        let after: Vec<_> = expected(Arc::new(changed), Span::ALL).collect();
        let differing: Vec<_> = (0..50).filter(|at| before[*at] != after[*at]).collect();
        assert_eq!(differing, [3]);
        assert_eq!(before[3].id, after[3].id);
    }
}
