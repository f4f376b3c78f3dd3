//! How records are answered for by their ids.

use std::collections::BTreeSet;

use serde_json::json;

use super::finding;
use crate::Content;
use crate::error::quote;
use crate::examine::evidence::{ById, Evidence};
use crate::examine::finding::{Finding, FindingKind};

/// A record of the list is not found.
pub(super) fn listed(evidence: &Evidence<'_>) -> Option<Finding> {
    let ById { id, record, .. } = evidence.listed.as_ref()?;
    let reason = match &record.as_ref()?.content {
        Content::Failed { reason } | Content::Gone { reason } => reason,
        Content::Stored { .. } | Content::Deferred => return None,
    };
    let means = "by its id, a record is not found that the list has: compare item.path and item.pointer with the upstream's \
                 documentation; as it is, a full sync would take such records for gone";
    Some(finding(FindingKind::ItemMissing, format!("record {} by its id", quote(id)), reason, means))
}

/// An id that is not there is answered otherwise than with what means that.
pub(super) fn unknown(evidence: &Evidence<'_>) -> Option<Finding> {
    let item = evidence.lens?.settings.item.as_ref()?;
    if listed(evidence).is_some() {
        return None;
    }
    let ById { id, status, record } = evidence.unknown.as_ref()?;
    let asked = format!("id {}, which no record has", quote(id));
    let answered = status.map_or_else(|| "no answer".to_owned(), |status| format!("status {status}"));
    let Some(record) = record else {
        let status = status.filter(|status| ![429, 503].contains(status))?;
        let means = "nothing says then that a record is gone, and a full sync asks again and again";
        return Some(finding(FindingKind::GoneAnswer, asked, format!("status {status}"), means));
    };
    match &record.content {
        Content::Gone { .. } => None,
        Content::Stored { .. } | Content::Deferred => {
            let means = "the upstream has a record for every id, so that none is ever found to be gone: does item.path lead to one record?";
            Some(finding(
                FindingKind::GoneAnswer,
                asked,
                format!("{answered}, and a record with that id"),
                means,
            ))
        }
        Content::Failed { reason } => {
            let seen = format!("{answered}: {}", quote(reason));
            let Some(status) = status.filter(|status| [400, 404, 410, 422].contains(status)) else {
                let means = "this does not say that a record is gone: name what does in item.gone, with pointer and value";
                return Some(finding(FindingKind::GoneAnswer, asked, seen, means));
            };
            let mut statuses = item.gone.status.clone();
            statuses.push(status);
            let settings = evidence.patch([json!({"item": {"gone": {"status": statuses}}})]);
            let means = "this is how the upstream says that there is no such record";
            Some(Finding { settings, ..finding(FindingKind::GoneAnswer, asked, seen, means) })
        }
    }
}

/// An id that looks like these, and that no record has.
pub(in crate::examine) fn absent_id(ids: &BTreeSet<&str>) -> Option<String> {
    let like = *ids.iter().next()?;
    let numbers: Option<Vec<u64>> = ids.iter().map(|id| id.parse().ok()).collect();
    let absent = match numbers.as_deref().and_then(|numbers| numbers.iter().max()) {
        // Far beyond those that there are, and still a number of 31 bits if they are.
        Some(largest) if *largest < 200_000_000 => (2_000_000_011 + largest % 1_000).to_string(),
        Some(largest) => largest.checked_mul(7)?.to_string(),
        None => like.chars().map(another).collect(),
    };
    (!ids.contains(absent.as_str())).then_some(absent)
}

/// A character of the same sort.
fn another(char: char) -> char {
    let turned = |first: u8, many: u8, by: u8| {
        u8::try_from(char).map_or(char, |byte| char::from(first + (byte - first + by) % many))
    };
    match char {
        '0'..='9' => turned(b'0', 10, 7),
        // Hexadecimal stays hexadecimal.
        'a'..='f' => turned(b'a', 6, 3),
        'A'..='F' => turned(b'A', 6, 3),
        _ => char,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_absent_id_looks_like_those_that_are_there() {
        let absent = |ids: &[&str]| absent_id(&ids.iter().copied().collect());
        assert_eq!(absent(&["5", "17"]).as_deref(), Some("2000000028"));
        assert_eq!(absent(&["900000000"]).as_deref(), Some("6300000000"));
        assert_eq!(
            absent(&["0f8fad5b-d9cb-469f-a165-70867728950e"]).as_deref(),
            Some("7c5cda2e-a6fe-136c-d832-47534495627b")
        );
        assert_eq!(absent(&["r001"]).as_deref(), Some("r778"));
        assert_eq!(
            (absent(&["ghi"]), absent(&[]), absent(&["0", "18446744073709551615"])),
            (None, None, None)
        );
    }
}
