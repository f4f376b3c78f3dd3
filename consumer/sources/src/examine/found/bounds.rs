//! How a lower bound is read.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};

use super::{at, finding, length};
use crate::error::quote;
use crate::examine::evidence::{Bounded, Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};
use crate::examine::plan::{BEYOND_CLOCKS, FARTHEST_CLOCK};
use crate::paged_json::Lens;

/// What a list with a lower bound shows.
pub(super) struct Shown {
    /// Records that are older than the bound.
    older: Vec<DateTime<Utc>>,
    /// Records that are known, are older than the bound, and are not listed.
    pub(super) left_out: Vec<DateTime<Utc>>,
    /// Records that are known, are not older than the bound, and are not listed: with their ids.
    missing: Vec<(String, DateTime<Utc>)>,
    /// The oldest that is listed.
    oldest: Option<DateTime<Utc>>,
}

/// What the list with the lower bound shows, as far as it shows all that it would.
pub(super) fn shown(evidence: &Evidence<'_>, bounded: &Bounded) -> Option<Shown> {
    let Bounded { bound, sight, .. } = bounded;
    sight.look.as_ref()?;
    let (listed, dated) = (sight.set(), sight.dated());
    let times: Vec<_> = dated.iter().map(|(_, time)| *time).collect();
    let (oldest, newest) = (times.iter().min().copied(), times.iter().max().copied());
    // What has been removed or has moved meanwhile says nothing.
    let still_there = |id: &str| {
        let Some(again) = evidence.again.as_ref().map(Sight::set) else { return true };
        let is_second = evidence.second.as_ref().is_some_and(|second| second.set().contains(id));
        again.contains(id) || (is_second && evidence.first.set().is_subset(&again))
    };
    let known: Vec<_> = evidence.known().into_iter().filter(|(id, _)| still_there(id)).collect();
    let would_be_here = |time: DateTime<Utc>| {
        evidence.has_room(sight)
            || match sight.oldest_first() {
                Some(true) => newest.is_some_and(|newest| time < newest),
                Some(false) => oldest.is_some_and(|oldest| time > oldest),
                None => false,
            }
    };
    let gone = |older: bool| {
        let mut gone = Vec::new();
        for (id, time) in &known {
            if (*time < *bound) == older && !listed.contains(id) && would_be_here(*time) {
                gone.push(((*id).to_owned(), *time));
            }
        }
        gone
    };
    Some(Shown {
        older: times.iter().copied().filter(|time| time < bound).collect(),
        left_out: gone(true).into_iter().map(|(_, time)| time).collect(),
        missing: gone(false),
        oldest,
    })
}

pub(super) fn lower(evidence: &Evidence<'_>) -> Option<Finding> {
    let (lens, bounded) = (evidence.lens?, evidence.bounded.as_ref()?);
    let shown = shown(evidence, bounded)?;
    let asked = format!("the list from {} on, without a margin", at(bounded.bound));
    match shown.older.iter().min() {
        Some(oldest) => too_much(evidence, lens, bounded.bound, &shown, *oldest, asked),
        None => too_little(evidence, lens, bounded, &shown, asked),
    }
}

/// Records came that are older than the bound.
fn too_much(
    evidence: &Evidence<'_>,
    lens: &Lens,
    bound: DateTime<Utc>,
    shown: &Shown,
    oldest: DateTime<Utc>,
    asked: String,
) -> Option<Finding> {
    let by = bound - oldest;
    let seen = format!("{} records that are older, by up to {}", shown.older.len(), length(by));
    if by > BEYOND_CLOCKS {
        let totals = evidence.totals_of_first();
        let total = evidence.bounded.as_ref().and_then(|bounded| bounded.sight.total());
        let is_less = total.is_some_and(|total| totals.iter().all(|all| total < *all));
        if !shown.left_out.is_empty() || is_less {
            let means = "the bound leaves some records out and lets older ones come: it is about another time than records.time, \
                         perhaps that of the last change; name that one, with records.time_is \"updated\"";
            return Some(finding(FindingKind::BoundIgnored, asked, seen, means));
        }
        let means = "the upstream does not know the parameters of dates: correct their names, or leave dates out, so that a job \
                     reads the list once";
        let settings = evidence.patch([json!({"dates": null, "slicing": null})]);
        return Some(Finding { settings, ..finding(FindingKind::BoundIgnored, asked, seen, means) });
    }
    let newest_out = shown.left_out.iter().max()?;
    let midnight = lens.midnight(bound);
    if !lens.is_daily() && oldest >= midnight && *newest_out < midnight {
        let means = "the upstream knows whole days only";
        let settings = evidence.patch([json!({"dates": {"whole_days": true}})]);
        return Some(Finding { settings, ..finding(FindingKind::WholeDays, asked, seen, means) });
    }
    // The clock is ahead by at least the one, and by less than the other.
    (*newest_out < oldest && by <= FARTHEST_CLOCK)
        .then(|| shifted(evidence, lens, by, bound - *newest_out - TimeDelta::seconds(1), 1, asked, seen))
}

/// Records are missing that are not older than the bound.
fn too_little(
    evidence: &Evidence<'_>,
    lens: &Lens,
    bounded: &Bounded,
    shown: &Shown,
    asked: String,
) -> Option<Finding> {
    let (first_missing, newest_missing) = shown.missing.iter().max_by_key(|(_, time)| *time)?;
    let Some(oldest) = shown.oldest else {
        // Perhaps it is only another clock.
        if *newest_missing - bounded.bound <= BEYOND_CLOCKS {
            return None;
        }
        let seen = format!(
            "no records, although {} of {} is listed without the bound",
            quote(first_missing),
            at(*newest_missing)
        );
        let means = "is the bound written as the upstream expects it? With it, every job finds nothing";
        return Some(finding(FindingKind::BoundMisread, asked, seen, means));
    };
    let missing: BTreeSet<&str> = shown.missing.iter().map(|(id, _)| id.as_str()).collect();
    if bounded.at_bound.as_deref().is_some_and(|id| missing == BTreeSet::from([id])) {
        let seen = format!("newer records, and not {}, whose time that is", quote(first_missing));
        return Some(exclusive(evidence, lens, asked, seen));
    }
    if *newest_missing >= oldest {
        return None;
    }
    let (least, most) = (*newest_missing - bounded.bound, oldest - bounded.bound);
    let seen = format!(
        "nothing before {}, although {} is of {}",
        at(oldest),
        quote(first_missing),
        at(*newest_missing)
    );
    if lens.is_daily() && most >= TimeDelta::days(1) {
        if least > FARTHEST_CLOCK {
            return Some(exclusive(evidence, lens, asked, seen));
        }
        return None;
    }
    (least < FARTHEST_CLOCK)
        .then(|| shifted(evidence, lens, least + TimeDelta::seconds(1), most, -1, asked, seen))
}

fn exclusive(evidence: &Evidence<'_>, lens: &Lens, asked: String, seen: String) -> Finding {
    let (unit, margin) = lens.unit_and_margin();
    let mut found = finding(
        FindingKind::BoundExclusive,
        asked,
        seen,
        "a lower bound leaves out what happened at that very moment: a slice must be asked for from a little before its beginning on",
    );
    if margin < unit {
        found.settings = evidence.patch([json!({"dates": {"margin": written(unit)}})]);
    } else {
        found.means.push_str(&format!("; the margin of {} does that", length(margin)));
    }
    found
}

/// Bounds are by a clock that is ahead of UTC (`sign` is 1) or behind it (-1), by no less than `least` and no more than
/// `most`.
fn shifted(
    evidence: &Evidence<'_>,
    lens: &Lens,
    least: TimeDelta,
    most: TimeDelta,
    sign: i64,
    asked: String,
    seen: String,
) -> Finding {
    let most = most.min(FARTHEST_CLOCK);
    let side = if sign > 0 { "ahead of" } else { "behind" };
    let mut found = finding(FindingKind::BoundShifted, asked, seen, "");
    let has_zone = lens.settings.dates.as_ref().is_some_and(|dates| dates.zone.is_some());
    let clock = if has_zone { "the clock of dates.zone" } else { "UTC" };
    found.means =
        format!("bounds are read by a clock that is {} to {} {side} {clock}", length(least), length(most));
    if lens.may_be_shifted() {
        let hours: Vec<i64> =
            (1..=14).filter(|hour| (least..=most).contains(&TimeDelta::hours(*hour))).collect();
        found.means.push_str(": set dates.zone to the zone of the account");
        if let [hour] = hours.as_slice() {
            // Signs are the other way round in these names.
            let name = format!("Etc/GMT{}{hour}", if sign > 0 { "-" } else { "+" });
            found
                .means
                .push_str("; its name is better than a fixed offset, if its clock changes with the season");
            found.settings = evidence.patch([json!({"dates": {"zone": name}})]);
        }
        return found;
    }
    let (_, margin) = lens.unit_and_margin();
    if margin < most {
        let hours = (most.num_minutes() + 59) / 60;
        found.settings = evidence.patch([json!({"dates": {"margin": format!("{hours}h")}})]);
        found.means.push_str(": a slice must be asked for with a margin of that");
    }
    found
}

fn written(length: TimeDelta) -> Value {
    match length.num_seconds() {
        seconds if seconds % 86_400 == 0 => json!(format!("{}d", seconds / 86_400)),
        seconds if seconds % 3_600 == 0 => json!(format!("{}h", seconds / 3_600)),
        seconds if seconds % 60 == 0 => json!(format!("{}m", seconds / 60)),
        seconds => json!(format!("{seconds}s")),
    }
}

/// How many known records the lower bound leaves out; 0 if it does not leave out what it should.
pub(super) fn filtered<'e>(evidence: &'e Evidence<'_>) -> Option<(usize, &'e Sight)> {
    let bounded = evidence.bounded.as_ref()?;
    let shown = shown(evidence, bounded)?;
    let filters = shown.older.is_empty() && !shown.left_out.is_empty();
    // In a list that begins with the oldest, those that are left out would have come first.
    let skipped = || {
        let begins = bounded.sight.oldest_first() == Some(true);
        let first = evidence.first.dated().into_iter().filter(|(_, time)| *time < bounded.bound).count();
        if begins && shown.older.is_empty() { first } else { 0 }
    };
    let count = if filters { shown.left_out.len() } else { skipped() };
    (count > 0).then_some((count, &bounded.sight))
}
