//! What is listed without a lower bound.

use std::collections::BTreeSet;

use serde_json::json;

use super::{at, finding};
use crate::error::quote;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};
use crate::examine::plan::LONG_AGO;

/// Days from which a job may begin, if nothing is older.
const STARTS: [&str; 4] = [LONG_AGO, "2010-01-01", "2015-01-01", "2020-01-01"];

/// Whether the list without a lower bound lacks records that it has with one.
pub(super) fn default(evidence: &Evidence<'_>) -> Option<Finding> {
    let deep = evidence.deep.as_ref()?;
    let look = deep.sight.look.as_ref()?;
    let mut met: BTreeSet<&str> = evidence.met();
    met.extend(evidence.again.iter().flat_map(Sight::ids));
    let oldest = evidence.known().into_values().min();
    let older = deep
        .sight
        .dated()
        .into_iter()
        .filter(|(id, time)| !met.contains(id) && oldest.is_none_or(|oldest| *time < oldest));
    let oldest_there = older.min_by_key(|(_, time)| *time);
    let asked = format!("the list without a lower bound, and from {LONG_AGO} on");
    let begins = match oldest {
        Some(oldest) => format!("without a bound nothing older than {} came", at(oldest)),
        None => "without a bound nothing came".to_owned(),
    };
    let shown = if let Some((id, time)) = oldest_there
        && lacks(evidence, id)
    {
        format!("{begins}; with one, record {} of {}", quote(id), at(time))
    } else {
        let usual = evidence.totals_of_first();
        // A list that only grew meanwhile is as large when it is asked for again.
        let most = usual.iter().max().filter(|_| usual.len() > 1)?;
        let with = look.total.filter(|total| total > most)?;
        format!("a total of {most} without a bound, and of {with} with one")
    };
    let first_day = oldest_there.map(|(_, time)| time.format("%F").to_string());
    let starts = STARTS.iter().filter(|start| first_day.as_deref().is_none_or(|day| **start <= day));
    let settings = evidence.patch(starts.map(|start| json!({"dates": {"start": start}})));
    let means = "without a lower bound the upstream lists the latest records only, so a first job would miss the others: send a \
                 date that is before everything";
    Some(Finding { settings, ..finding(FindingKind::DefaultWindow, asked, shown, means) })
}

/// Whether the list without a lower bound is known not to have this record, which is older than all that came.
fn lacks(evidence: &Evidence<'_>, id: &str) -> bool {
    // It would have come first.
    let begins_with_oldest = evidence.first.oldest_first() == Some(true);
    let shallow = evidence.deep.as_ref().and_then(|deep| deep.shallow.as_ref());
    let was_looked_for = shallow.is_some_and(|(wanted, sight)| {
        wanted == id && !sight.set().contains(id) && (sight.is_empty_page() || evidence.has_room(sight))
    });
    begins_with_oldest || evidence.ends_with_first() || was_looked_for
}

/// Whether long spans are refused, where a short one is answered.
pub(super) fn refused(evidence: &Evidence<'_>) -> Option<Finding> {
    let deep = evidence.deep.as_ref()?;
    let status = deep.sight.status.filter(|status| [400, 413, 416, 422].contains(status))?;
    evidence.bounded.as_ref()?.sight.look.as_ref()?;
    let from = deep.span.from.map(at).unwrap_or_default();
    let asked = format!("a lower bound of {from}, and one nearby");
    let means = "the upstream answers no spans that are so long, or reach so far back: see its documentation for the longest, and \
                 set dates.start and dates.max_span";
    Some(finding(
        FindingKind::LongSpanRefused,
        asked,
        format!("status {status} to the one, records to the other"),
        means,
    ))
}
