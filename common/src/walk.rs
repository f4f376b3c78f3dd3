//! A walk: one reading of a slice's list from its first page to its end, and what its answers have shown so far.
//!
//! The state stands beside the cursor in the slice's row, so that another process can take the walk up at any page. A walk
//! is *whole* when the upstream said that it ended, no page was skipped, and nothing that was met contradicts that.

use serde::{Deserialize, Serialize};

/// What a walk has shown so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Walk {
    /// The slice's page at which this walk began: not 0 after a slice has started over. In a resumed job it is negative if
    /// the walk began in the job before.
    pub first_page: i32,
    /// How many records its answers had, those out of span and those met again included.
    #[serde(skip_serializing_if = "is_zero")]
    pub met: i64,
    /// Most records on one page.
    #[serde(skip_serializing_if = "is_zero")]
    pub largest_page: i64,
    /// How many pages in a row were empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub empty_pages: i64,
    /// The smallest positive total that its answers named.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest_total: Option<i64>,
    /// The total that was named last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_total: Option<i64>,
    /// Hash of the page before's ids; none if it had no readable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<i64>,
    /// How many pages before that had the same ids.
    #[serde(skip_serializing_if = "is_zero")]
    pub alike: i64,
    /// The ids' hash of an earlier page, and which page; renewed at every power of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<(i64, i32)>,
    /// The id of the last record of the page before, for a style that reads it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Why the walk is not whole, in words; the first reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}
