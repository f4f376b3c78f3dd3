//! What an upstream lists for a request: filtered, sorted, cut off, and cut into pages.

use super::history::{History, Version};
use super::times::{Asked, filtered_by, read};
use super::world::{Odd, Order, Style, Total, World};
use std::collections::BTreeSet;

/// Where a page begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// After so many records.
    Position(usize),
    /// After the record with this key.
    After(i64, String),
    /// After the record with this id.
    AfterId(String),
}

/// One page of a list.
#[derive(Clone, Debug, Default)]
pub(super) struct Page {
    /// Its records.
    pub(super) rows: Vec<(String, Version)>,
    /// The sort key and the id of the last one.
    pub(super) last: Option<(i64, String)>,
    /// How many come before it.
    pub(super) begin: usize,
    /// Whether there are more behind it.
    pub(super) more: bool,
    /// Whether it begins beyond the end of the list.
    pub(super) beyond: bool,
    /// How many pages the list has.
    pub(super) pages: usize,
    /// How many records the list has, if there is no cap.
    pub(super) listed: usize,
    /// Ids that belong to the list and are not shown in it, by a cap or a window.
    pub(super) withheld: BTreeSet<String>,
    /// The newest time in the list, as it is read, in microseconds since 1970.
    pub(super) newest: Option<i64>,
}

/// The page of at most `limit` records that begins there; `None` if there is no such place.
pub(super) fn page(
    world: &World,
    history: &History,
    asked: Asked,
    (oldest, hidden): (Option<i64>, &BTreeSet<String>),
    place: &Place,
    limit: usize,
) -> Option<Page> {
    let tick = history.tick;
    let shown = history.present().filter(|(id, _)| !hidden.contains(*id));
    let inside = shown.filter(|(_, version)| asked.contains(filtered_by(world, version)));
    let mut rows: Vec<_> = inside
        .map(|(id, version)| (key(world.order, id, version, tick), id.to_owned(), version.clone()))
        .collect();
    rows.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
    let mut page = Page::default();
    if let Some(oldest) = oldest {
        let (shown, hidden): (Vec<_>, Vec<_>) =
            rows.into_iter().partition(|(_, _, version)| filtered_by(world, version) >= oldest);
        page.withheld.extend(hidden.into_iter().map(|(_, id, _)| id));
        rows = shown;
    }
    page.listed = rows.len();
    if let Some(cap) = world.cap {
        page.withheld.extend(rows.iter().skip(cap as usize).map(|(_, id, _)| id.clone()));
        rows.truncate(cap as usize);
    }
    page.newest = rows.iter().map(|(_, _, version)| read(world, version)).max();
    let twice = |row: (i64, String, Version)| {
        let times = if row.2.odd == Some(Odd::Twice) { 2 } else { 1 };
        std::iter::repeat_n(row, times)
    };
    let rows: Vec<_> = rows.into_iter().flat_map(twice).collect();
    page.pages = rows.len().div_ceil(limit);
    let begin = match place {
        Place::Position(position) => *position,
        Place::After(key, id) => rows.partition_point(|row| (row.0, &row.1) <= (*key, id)),
        Place::AfterId(last) => rows.iter().rposition(|(_, id, _)| id == last)? + 1,
    };
    page.begin = begin;
    page.beyond = begin > 0 && begin >= rows.len();
    page.more = begin + limit < rows.len();
    let rows: Vec<_> = rows.into_iter().skip(begin).take(limit).collect();
    page.last = rows.last().map(|(key, id, _)| (*key, id.clone()));
    page.rows = rows.into_iter().map(|(_, id, version)| (id, version)).collect();
    Some(page)
}

/// What a list is sorted by.
fn key(order: Order, id: &str, version: &Version, tick: u64) -> i64 {
    match order {
        Order::Created => version.created,
        Order::NewestFirst => -version.created,
        Order::Updated => version.updated,
        Order::LastChangedFirst => -version.updated,
        Order::Unstable => {
            let hash = blake3::hash(format!("{id} {tick}").as_bytes());
            i64::from(hash.as_bytes()[0]) << 8 | i64::from(hash.as_bytes()[1])
        }
    }
}

/// What is said of the number of records.
pub(super) fn total(world: &World, history: &History, page: &Page) -> Option<i64> {
    let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let exact = number(page.listed);
    match world.total {
        Total::Absent => None,
        Total::Exact => Some(exact),
        Total::Unfiltered => Some(number(history.present().count())),
        Total::Estimate(by) | Total::Lie(by) => Some((exact + i64::from(by)).max(0)),
        Total::Falling => Some((exact - i64::try_from(history.tick).unwrap_or_default()).max(1)),
    }
}

/// The last page, for a place beyond it.
pub(super) fn last_position(world: &World, pages: usize) -> usize {
    match world.style {
        Style::PageNumber | Style::Offset | Style::RoundedOffset => {
            pages.saturating_sub(1) * world.page() as usize
        }
        Style::Cursor | Style::NextUrl | Style::LinkHeader | Style::LastId => 0,
    }
}
