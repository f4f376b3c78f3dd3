//! How many records a page has.

use serde_json::json;

use super::finding;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};

pub(super) fn size(evidence: &Evidence<'_>) -> Option<Finding> {
    let asked_for = evidence.lens?.size()?;
    let got = evidence.first.len();
    let settings = || evidence.patch([json!({"page_size": {"size": got}}), json!({"page_size": got})]);
    let asked = format!("pages of {asked_for} records");
    if got > asked_for {
        let seen = format!("{got} records on one page");
        let means = "the upstream does not know the parameter of page_size, or has a smallest page: correct its name, or ask for \
                     what it gives";
        return Some(Finding {
            settings: settings(),
            ..finding(FindingKind::PageSizeIgnored, asked, seen, means)
        });
    }
    // A page that has grown meanwhile was not full.
    if evidence.again.as_ref().is_some_and(|again| again.len() != got) {
        return None;
    }
    // One small page may be the rest of a list, or filtered; two of the same size are not.
    let second = evidence.second.as_ref().filter(|second| second.set() != evidence.first.set())?;
    let others = [
        evidence.deep.as_ref().map(|deep| &deep.sight),
        evidence.bounded.as_ref().map(|bounded| &bounded.sight),
    ];
    let alike = std::iter::once(second).chain(others.into_iter().flatten());
    let alike = alike.filter(|page| page.len() == got && page.set() != evidence.first.set()).count();
    if got == 0 || got >= asked_for || alike == 0 || !second.has_records() || second.len() > got {
        return None;
    }
    let seen = format!("{} pages of {got} records each", 1 + alike);
    let means = format!("the upstream gives no more than {got} records at a time");
    Some(Finding { settings: settings(), ..finding(FindingKind::PageSizeClamped, asked, seen, means) })
}

impl Sight {
    /// Whether it has records that another page does not have.
    pub(super) fn brings_more_than(&self, other: &Self) -> bool {
        self.set().difference(&other.set()).next().is_some()
    }
}
