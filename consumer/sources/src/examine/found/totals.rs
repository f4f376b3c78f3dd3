//! What the total is worth.

use std::collections::BTreeSet;

use serde_json::json;

use super::bounds::filtered;
use super::{at, finding};
use crate::TotalIs;
use crate::examine::evidence::{Beyond, Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};

pub(super) fn total(evidence: &Evidence<'_>) -> Option<Finding> {
    let lens = evidence.lens?;
    let total = evidence.first.total()?;
    if lens.settings.total_is == TotalIs::Estimate {
        return None;
    }
    of_page(evidence, total)
        .or_else(|| wrong(evidence, total))
        .or_else(|| unfiltered(evidence, total).filter(|_| lens.settings.total_is == TotalIs::Exact))
}

fn count(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// It is the number of records on its page, and there is another page.
fn of_page(evidence: &Evidence<'_>, total: i64) -> Option<Finding> {
    let second = evidence.second.as_ref()?;
    let is_new = second.set().difference(&evidence.first.set()).next().is_some();
    let counts = |page: &Sight| page.total().is_none_or(|total| total == count(page.len()));
    if total != count(evidence.first.len()) || !is_new || !counts(second) {
        return None;
    }
    let seen = format!("a total of {total} on a page of {total} records, and more records on page 2");
    let means = "it counts the records of its page, and says nothing about the list";
    let settings = evidence.patch([json!({"total": null}), json!({"total_is": "estimate"})]);
    Some(Finding { settings, ..finding(FindingKind::TotalOfPage, "pages 1 and 2", seen, means) })
}

/// It is smaller than what came, or larger than the whole list.
fn wrong(evidence: &Evidence<'_>, total: i64) -> Option<Finding> {
    let third =
        evidence.beyond.as_ref().filter(|beyond| beyond.is_third()).map(|beyond: &Beyond| &beyond.sight);
    let pages: Vec<&Sight> = std::iter::once(&evidence.first)
        .chain(&evidence.second)
        .chain(third)
        .filter(|page| page.look.is_some())
        .collect();
    let met: BTreeSet<&str> = pages.iter().flat_map(|page| page.ids()).collect();
    // A record whose id cannot be read may be any other.
    if pages.iter().any(|page| page.ids().len() < page.len()) {
        return None;
    }
    let totals: Vec<i64> = pages
        .iter()
        .copied()
        .chain(&evidence.again)
        .filter_map(Sight::total)
        .filter(|total| *total > 0)
        .collect();
    let (least, most) = (*totals.iter().min()?, *totals.iter().max()?);
    let settings = || evidence.patch([json!({"total_is": "estimate"})]);
    if count(met.len()) > most {
        let seen = format!("{} records on {} pages, and a total of {total}", met.len(), pages.len());
        let means = "the list has more records than its total says, so nothing can be judged by it";
        return Some(Finding {
            settings: settings(),
            ..finding(FindingKind::TotalWrong, "the first pages", seen, means)
        });
    }
    if evidence.span.from.is_none() && evidence.is_read_whole() && count(met.len()) < least {
        let seen = format!("{} records up to the end of the list, and a total of {total}", met.len());
        let means =
            "the total counts records that the list does not have, so that every job would fall short of it";
        return Some(Finding {
            settings: settings(),
            ..finding(FindingKind::TotalWrong, "the whole list", seen, means)
        });
    }
    None
}

/// It stays as it is with a lower bound that leaves records out.
fn unfiltered(evidence: &Evidence<'_>, total: i64) -> Option<Finding> {
    let (left_out, sight) = filtered(evidence)?;
    let usual = evidence.totals_of_first();
    if evidence.span.from.is_some()
        || sight.total() != Some(total)
        || usual.iter().any(|other| *other != total)
    {
        return None;
    }
    let bound = evidence.bounded.as_ref().map(|bounded| at(bounded.bound)).unwrap_or_default();
    let asked = format!("the list without a lower bound, and from {bound} on");
    let seen = format!("a total of {total} to both, though the bound leaves out at least {left_out} of them");
    let means = "the total counts the list without the bound, so that every slice would fall short of it";
    let settings = evidence.patch([json!({"total_is": "unfiltered"}), json!({"total_is": "estimate"})]);
    Some(Finding { settings, ..finding(FindingKind::TotalUnfiltered, asked, seen, means) })
}
