//! A walk: one reading of a slice's list from its first page to its end, and what its answers have shown so far.
//!
//! The state stands beside the cursor in the slice's row, so that another process can take the walk up at any page. A walk
//! is *whole* when the upstream said that it ended, no page was skipped, and nothing that was met contradicts that.

use serde::{Deserialize, Serialize};

/// What a walk has shown so far. As JSON it has only what is not as at the beginning, and members that a later version
/// adds are passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Walk {
    /// The slice's page at which this walk began: not 0 after a slice has started over. In a resumed job it is negative if
    /// the walk began in the job before.
    #[serde(skip_serializing_if = "is_zero_page")]
    pub first_page: i32,
    /// How many records its answers had, those out of span and those met again included.
    #[serde(skip_serializing_if = "is_zero")]
    pub met: i64,
    /// How many of them were new to it, as far as a page and the end of the page before tell.
    #[serde(skip_serializing_if = "is_zero")]
    pub fresh: i64,
    /// How many records the page before had.
    #[serde(skip_serializing_if = "is_zero")]
    pub last_page: i64,
    /// Most records on one page.
    #[serde(skip_serializing_if = "is_zero")]
    pub largest_page: i64,
    /// How many pages in a row were empty.
    #[serde(skip_serializing_if = "is_zero")]
    pub empty_pages: i64,
    /// The smallest positive total that its answers named; none where totals are not to be judged by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub smallest_total: Option<i64>,
    /// The total that was named last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_total: Option<i64>,
    /// Whether a total was smaller than the one before.
    #[serde(skip_serializing_if = "is_false")]
    pub total_fell: bool,
    /// Whether the next page is asked for beyond the total, to see that there is nothing.
    #[serde(skip_serializing_if = "is_false")]
    pub beyond_total: bool,
    /// Hash of the page before's ids; none if it had no readable one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ids: Option<i64>,
    /// Hash of the ids of all pages, in their order; none before the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages_hash: Option<i64>,
    /// How many pages before that had the same ids.
    #[serde(skip_serializing_if = "is_zero")]
    pub alike: i64,
    /// The ids' hash of an earlier page, and which page; renewed at every power of two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anchor: Option<(i64, i32)>,
    /// The id of the last record of the page before, for a style that reads it again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_id: Option<String>,
    /// Whether pages can be asked for one record early.
    #[serde(skip_serializing_if = "Overlap::is_possible")]
    pub overlap: Overlap,
    /// Why the walk is not whole, in words; the first reason.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub doubt: Option<String>,
}

/// Whether the pages of a walk can be asked for one record early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Nothing has shown that they cannot.
    #[default]
    Possible,
    /// The page before was asked for early, and was the one before it once more.
    Doubted,
    /// Asked for exactly, the next page was another one: the upstream only takes multiples of its page size.
    Impossible,
}

impl Overlap {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
    const fn is_possible(&self) -> bool {
        matches!(self, Self::Possible)
    }
}

impl Walk {
    /// A walk of which no page has been read, at the beginning of its slice.
    pub const NEW: Self = Self {
        first_page: 0,
        met: 0,
        fresh: 0,
        last_page: 0,
        largest_page: 0,
        empty_pages: 0,
        smallest_total: None,
        last_total: None,
        total_fell: false,
        beyond_total: false,
        ids: None,
        pages_hash: None,
        alike: 0,
        anchor: None,
        last_id: None,
        overlap: Overlap::Possible,
        doubt: None,
    };

    /// A walk that begins at this page of its slice: anew, since the cursor of the one before is refused.
    #[must_use]
    pub fn from_page(first_page: i32) -> Self {
        Self { first_page, ..Self::NEW }
    }

    /// Whether a walk that ends in this state is whole, as far as its state tells: which ids were met again is found by the
    /// check of its job.
    #[must_use]
    pub const fn is_whole(&self) -> bool {
        self.doubt.is_none()
    }

    /// The walk after a page that could not be read: not whole any more, and the page before is not its neighbour.
    #[must_use]
    pub fn skipping(self, page: i32) -> Self {
        let doubt = self.doubt.or_else(|| Some(format!("page {page} was skipped")));
        Self { ids: None, alike: 0, last_id: None, beyond_total: false, doubt, ..self }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero(number: &i64) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_zero_page(number: &i32) -> bool {
    *number == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
const fn is_false(flag: &bool) -> bool {
    !*flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_walk_is_small_json_and_reads_what_another_version_wrote() {
        assert_eq!(serde_json::to_string(&Walk::NEW).unwrap(), "{}");
        assert_eq!(Walk::NEW, Walk::default());
        let walk =
            Walk { met: 100, anchor: Some((-7, 3)), last_id: Some("a".to_owned()), ..Walk::from_page(4) };
        let json = serde_json::to_string(&walk).unwrap();
        assert_eq!(json, r#"{"first_page":4,"met":100,"anchor":[-7,3],"last_id":"a"}"#);
        assert_eq!(serde_json::from_str::<Walk>(&json).unwrap(), walk);
        let later = r#"{"first_page":4,"met":100,"anchor":[-7,3],"last_id":"a","new":[1]}"#;
        assert_eq!(serde_json::from_str::<Walk>(later).unwrap(), walk);
    }

    #[test]
    fn a_skipped_page_is_a_doubt_and_no_neighbour() {
        let walk =
            Walk { ids: Some(1), alike: 1, last_id: Some("a".to_owned()), met: 9, ..Walk::NEW }.skipping(3);
        assert_eq!((walk.ids, walk.alike, walk.last_id.as_deref(), walk.met), (None, 0, None, 9));
        assert_eq!(walk.doubt.as_deref(), Some("page 3 was skipped"));
        assert_eq!(walk.skipping(5).doubt.as_deref(), Some("page 3 was skipped"));
    }
}
