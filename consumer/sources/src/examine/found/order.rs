//! Whether the list stays as it is.

use super::finding;
use crate::error::quote;
use crate::examine::evidence::Evidence;
use crate::examine::finding::{Finding, FindingKind};

/// The same page, twice.
pub(super) fn again(evidence: &Evidence<'_>) -> Option<Finding> {
    let (first, again) = (&evidence.first, evidence.again.as_ref()?);
    let (ids, later) = (first.ids(), again.ids());
    if ids == later || first.look.is_none() || again.look.is_none() {
        return None;
    }
    let asked = "the first page, twice";
    if first.set() == again.set() {
        let place = ids.iter().zip(&later).position(|(one, other)| one != other).unwrap_or_default();
        let of = |ids: &[&str]| ids.get(place).copied().map(quote).unwrap_or_default();
        let seen =
            format!("the same records, but {} and then {} at place {}", of(&ids), of(&later), place + 1);
        let means = "the upstream sorts by nothing, or by what is the same for several records: pages that are read one after the \
                     other may lack records; let it sort by something unique, such as the id, with a parameter in query";
        return Some(finding(FindingKind::UnstableOrder, asked, seen, means));
    }
    let came = again.set().difference(&first.set()).count();
    let went = first.set().difference(&again.set()).count();
    let seen = format!(
        "{came} records the second time that were not there the first time, and {went} the other way round"
    );
    let means = if went == ids.len() {
        "the upstream lists other records each time: does it have a parameter for the order?"
    } else {
        "the list changes at its beginning while it is read: let the upstream sort by creation, the oldest first, with a \
         parameter in query, if it can"
    };
    Some(finding(FindingKind::ListMoves, asked, seen, means))
}

/// Ids that are met twice.
pub(super) fn ids(evidence: &Evidence<'_>) -> Option<Finding> {
    let first = &evidence.first;
    let (all, set) = (first.ids(), first.set());
    if set.len() < all.len() {
        let twice =
            all.iter().enumerate().find(|(place, id)| all.iter().take(*place).any(|other| other == *id));
        let seen = format!(
            "{} records, and {} ids; {} comes twice",
            all.len(),
            set.len(),
            quote(twice.map_or("", |(_, id)| *id))
        );
        let means = "records with the same id overwrite each other: does records.id point to what tells them apart? It may have \
                     several parts";
        return Some(finding(FindingKind::IdsRepeat, "the first page", seen, means));
    }
    let second = evidence.second.as_ref()?;
    let both: Vec<&str> = second.set().intersection(&set).copied().collect();
    if evidence.has_moved() || both.is_empty() || second.set() == set {
        return None;
    }
    let seen =
        format!("{} ids on both, such as {}", both.len(), quote(both.first().copied().unwrap_or_default()));
    let means = "the second page does not begin where the first one ends: is the parameter that asks for it understood as the \
                 settings have it, and does the upstream sort by something unique?";
    Some(finding(FindingKind::IdsRepeat, "pages 1 and 2", seen, means))
}
