//! What follows from the answers of an upstream. Every finding rests on an answer that shows it; what was not asked, or not
//! answered, shows nothing.

mod bounds;
mod cursors;
mod ends;
mod flags;
pub(super) mod items;
pub(super) mod limits;
mod order;
mod sizes;
pub(super) mod times;
mod totals;
mod window;

use chrono::{DateTime, TimeDelta, Utc};

use super::evidence::Evidence;
use super::finding::{Finding, FindingKind};

/// Everything that was learned.
pub(super) fn all(evidence: &Evidence<'_>) -> Vec<Finding> {
    let found = [
        times::format(evidence),
        times::clock(evidence),
        window::default(evidence),
        window::refused(evidence),
        bounds::lower(evidence),
        totals::total(evidence),
        sizes::size(evidence),
        ends::before_first(evidence),
        cursors::writing(evidence),
        order::again(evidence),
        order::ids(evidence),
        flags::flag(evidence),
        ends::second(evidence),
        ends::beyond(evidence),
        items::listed(evidence),
        items::unknown(evidence),
        limits::headers(evidence),
        limits::redirected(evidence),
    ];
    found.into_iter().flatten().collect()
}

fn finding(
    kind: FindingKind,
    asked: impl Into<String>,
    seen: impl Into<String>,
    means: impl Into<String>,
) -> Finding {
    Finding { kind, asked: asked.into(), seen: seen.into(), means: means.into(), settings: None }
}

/// A moment, for people.
fn at(moment: DateTime<Utc>) -> String {
    format!("{} UTC", moment.format("%F %T"))
}

/// A length of time, for people.
fn length(delta: TimeDelta) -> String {
    match delta.num_minutes() {
        minutes if minutes < 1 => format!("{} s", delta.num_seconds()),
        minutes if minutes < 120 => format!("{minutes} min"),
        minutes if minutes < 48 * 60 => format!("{} h", minutes / 60),
        minutes => format!("{} days", minutes / 60 / 24),
    }
}
