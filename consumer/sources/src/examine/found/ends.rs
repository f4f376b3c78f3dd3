//! What comes behind the end of a list.

use serde_json::json;

use super::finding;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};
use crate::paged_json::Lens;

/// What upstreams answer a page with that is not there.
const NOT_THERE: [u16; 6] = [400, 404, 409, 410, 416, 422];
/// Of these, what cannot be about something else, such as a limit of how deep pages go.
const PLAIN: [u16; 3] = [404, 410, 416];

/// The second page.
pub(super) fn second(evidence: &Evidence<'_>) -> Option<Finding> {
    let (lens, second) = (evidence.lens?, evidence.second.as_ref()?);
    let total = evidence.first.total();
    let is_all =
        total.is_some_and(|total| i64::try_from(evidence.first.len()).is_ok_and(|here| here == total));
    let may_be_end = lens.is_counted() && total.is_none_or(|_| is_all);
    if may_be_end && let Some(found) = refused(evidence, lens, second, "page 2", is_all) {
        return Some(found);
    }
    if !second.is_again(&evidence.first) || evidence.has_moved() {
        return None;
    }
    if lens.is_counted() && is_all {
        return Some(last_again("page 2"));
    }
    let means = "either the list has one page, which the upstream gives for every other too, or it does not know the parameter that \
                 asks for the next one: compare next.parameter with its documentation";
    Some(finding(
        FindingKind::PageIgnored,
        "pages 1 and 2",
        format!("the same {} records", second.len()),
        means,
    ))
}

/// The page before the first one. Most upstreams refuse it, or give the first one.
pub(super) fn before_first(evidence: &Evidence<'_>) -> Option<Finding> {
    let (lens, before) = (evidence.lens?, evidence.before_first.as_ref()?);
    let number: u64 = lens.before_first()?.parse().ok()?;
    let (first, earlier) = (evidence.first.set(), before.set());
    // The same list each time, and as many records as on a page: else it may be an answer to something else.
    let is_stable = evidence.again.as_ref().is_some_and(|again| again.ids() == evidence.first.ids());
    let is_page = earlier.len() == first.len() && earlier.is_disjoint(&evidence.met());
    if !is_stable || earlier.is_empty() || !is_page {
        return None;
    }
    let seen = format!("{} other records", before.len());
    let means = "pages are counted from a smaller number on than next.first says, so that no job would read the first of them";
    let settings = evidence.patch([json!({"next": {"first": number}})]);
    Some(Finding {
        settings,
        ..finding(FindingKind::EarlierFirstPage, format!("page {number}"), seen, means)
    })
}

/// A page beyond the end.
pub(super) fn beyond(evidence: &Evidence<'_>) -> Option<Finding> {
    let (lens, beyond) = (evidence.lens?, evidence.beyond.as_ref()?);
    let sight = &beyond.sight;
    if let Some(found) = refused(evidence, lens, sight, &beyond.place, beyond.is_next) {
        return Some(found);
    }
    let second = evidence.second.as_ref()?;
    if !sight.has_records() || second.set() == evidence.first.set() || evidence.has_moved() {
        return None;
    }
    if sight.is_again(&evidence.first) {
        let means = "beyond its end the list begins anew, which fails a job as a loop: name something that ends it, such as total \
                     pages (next.pages) or a flag (next.more, next.done)";
        let seen = format!("the {} records of page 1", sight.len());
        return Some(finding(FindingKind::FirstPageAgain, &beyond.place, seen, means));
    }
    (beyond.is_third() && sight.is_again(second)).then(|| last_again(&beyond.place))
}

fn last_again(place: &str) -> Finding {
    let means = "beyond its end the list gives its last page again; a job reads that page up to three times, and ends";
    finding(FindingKind::LastPageAgain, place, "the records of the last page", means)
}

fn refused(
    evidence: &Evidence<'_>,
    lens: &Lens,
    sight: &Sight,
    place: &str,
    is_next: bool,
) -> Option<Finding> {
    let status = sight.status.filter(|status| *status >= 300 && sight.look.is_none())?;
    if lens.settings.next.ends.end_status.contains(&status)
        || [401, 403, 407, 408, 425, 429].contains(&status)
    {
        return None;
    }
    let seen = format!("status {status}");
    let is_said = PLAIN.contains(&status) || (is_next && NOT_THERE.contains(&status));
    if !is_said {
        let means = "a job asks for one page more than there are, and takes this status for a fault, or for a limit of how deep pages \
                     go: if it is how the list ends, name it in next.end_status";
        return Some(finding(FindingKind::EndRefused, place, seen, means));
    }
    let mut statuses = lens.settings.next.ends.end_status.clone();
    statuses.push(status);
    let settings = evidence.patch([json!({"next": {"end_status": statuses}})]);
    let means = "this is how the list ends: without a setting, a job would fail there";
    Some(Finding { settings, ..finding(FindingKind::EndRefused, place, seen, means) })
}
