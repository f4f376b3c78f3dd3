//! How a cursor must be written.

use serde_json::json;

use super::finding;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};

pub(super) fn writing(evidence: &Evidence<'_>) -> Option<Finding> {
    let (other_is_encoded, other) = evidence.second_otherwise.as_ref()?;
    let second = evidence.second.as_ref()?;
    let brings = |page: &Sight| page.brings_more_than(&evidence.first);
    let way = |encoded: bool| if encoded { "sent as it came" } else { "encoded once more" };
    let asked = "page 2 twice: its cursor as it came, and encoded once more";
    if !brings(second) || (brings(other) && other.set() != second.set()) {
        return None;
    }
    if brings(other) {
        let means = "the upstream takes both, and nothing needs to be set";
        return Some(finding(FindingKind::EncodedCursor, asked, "page 2 both times", means));
    }
    let encoded = !*other_is_encoded;
    let what = match (&other.look, other.status) {
        (Some(look), _) if look.ids.is_empty() => "nothing".to_owned(),
        (Some(_), _) => "the first page again".to_owned(),
        (None, Some(status)) => format!("status {status}"),
        (None, None) => "no answer".to_owned(),
    };
    let seen =
        format!("page 2 with the cursor {}, and {what} with the cursor {}", way(encoded), way(!encoded));
    let means = format!("cursors must be {}", way(encoded));
    let settings = evidence.patch([json!({"next": {"encoded": encoded}})]);
    Some(Finding { settings, ..finding(FindingKind::EncodedCursor, asked, seen, means) })
}
