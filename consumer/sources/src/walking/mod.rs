//! The rules by which every walk ends, and by which it is seen whether it was whole. No HTTP: what a walk had shown, and
//! what a page shows, give what follows.

mod ids;
mod plain;
mod rules;

use protocol::walk::Walk;
use protocol::warning::{Warning, WarningKind};

pub(super) use ids::Ids;

use super::FetchError;

/// How far pages of a style can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// Pages are counted from the beginning of the list, so that a change moves what comes behind it.
    pub(super) counted: bool,
    /// A record that moves while the list is read may be missed without a sign.
    pub(super) moving: bool,
    /// Whether the list is taken to end where its total says.
    pub(super) until_total: bool,
    /// Pages are asked for by how many records come before them.
    pub(super) by_offset: bool,
}

/// What follows a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Follow {
    /// Nothing: the list ends as its style says it.
    End,
    /// The page with this cursor.
    Next(String),
    /// The page has nothing new, which ends a list that is counted, unless something contradicts it.
    Nothing {
        /// The cursor to try if the list goes on.
        otherwise: Option<String>,
    },
}

/// What one page shows.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    /// Its number in the slice.
    pub(super) page: i32,
    /// How many records it has, without one that was asked for again on purpose.
    pub(super) records: usize,
    /// How many of them are new, as far as the end of the page before tells.
    pub(super) fresh: usize,
    /// The hash of its readable ids; none if it has none.
    pub(super) ids: Option<i64>,
    /// The id of its last record, if it is readable.
    pub(super) last_id: Option<String>,
    /// Whether it was asked for one record early, and so was to begin with the last record of the page before.
    pub(super) early: bool,
    /// Whether it does not have that record.
    pub(super) overlap_lost: bool,
    /// The total that it names.
    pub(super) total: Option<i64>,
    /// Whether it says that there is more.
    pub(super) more: Option<bool>,
    /// What else contradicts that the list ends with it.
    pub(super) contradiction: Option<String>,
}

/// What the connection's settings say about walks.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rules {
    /// How far its pages can be trusted.
    pub(super) traits: Traits,
    /// Whether totals are to be judged by.
    pub(super) judges_totals: bool,
    /// More empty pages in a row than this fail.
    pub(super) max_empty_pages: u32,
    /// How many records a page is asked for with.
    pub(super) size: Option<u32>,
}

/// What a walk has come to with a page.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Onward {
    /// What the walk has shown, the page included.
    pub(super) walk: Walk,
    /// The cursor of the next page; `None` ends the walk.
    pub(super) next: Option<String>,
    /// What the page adds to the slice's warnings and notes.
    pub(super) warnings: Vec<Warning>,
    /// Whether the page is one that was read before, whose records were settled already.
    pub(super) is_repeat: bool,
}

/// What follows a page.
///
/// # Errors
/// When the walk would never end, in words.
pub(super) fn onward(
    before: &Walk,
    seen: &Seen,
    follow: Follow,
    rules: &Rules,
) -> Result<Onward, FetchError> {
    let mut on = Onward { walk: before.clone(), next: None, warnings: Vec::new(), is_repeat: false };
    let is_behind = is_behind(before, seen, rules);
    on.is_repeat = is_behind || seen.records > 0 && seen.ids.is_some() && before.ids == seen.ids;
    on.count(seen);
    on.totals(before, seen, rules);
    if seen.overlap_lost {
        let text = format!(
            "page {} was asked for one record early, and does not have the last record of the page before: the list was \
             changed while it was read",
            seen.page
        );
        on.doubt(WarningKind::OverlapLost, 1, text);
    }
    on.stepped_over(before, seen, rules);
    on.next = match follow {
        follow if on.is_repeat && !is_behind => on.again(before, seen, follow, rules)?,
        follow => {
            if !is_behind {
                on.circle(before, seen, &follow)?;
            }
            match follow {
                Follow::End => None,
                Follow::Next(next) => Some(next),
                Follow::Nothing { otherwise } => on.nothing(seen, otherwise, rules)?,
            }
        }
    };
    on.until_total(before, seen, rules);
    if on.next.is_some() && on.walk.empty_pages > i64::from(rules.max_empty_pages) {
        return Err(FetchError::permanent(format!(
            "more than {} pages in a row without a new record, up to page {} of the slice: if the upstream is right, raise \
             max_empty_pages",
            rules.max_empty_pages, seen.page
        )));
    }
    if rules.traits.moving && seen.page.saturating_sub(before.first_page) == 1 {
        let text = "pages are counted, and do not overlap: a record that is removed before the place where the walk is hides another";
        on.warnings.push(Warning { kind: WarningKind::MovingList, count: 1, text: text.to_owned() });
    }
    on.overlap(before, seen);
    on.remember(seen, rules);
    Ok(on)
}

/// Whether a page is the end of the list once more. The page before had nothing but the last record, for which it was asked
/// early; this one was asked for what follows, and ends with that record: some upstreams give their last page for any place
/// beyond it.
const fn is_behind(before: &Walk, seen: &Seen, rules: &Rules) -> bool {
    rules.traits.counted
        && !seen.early
        && seen.records > 0
        && seen.fresh == 0
        && before.last_page == 0
        && before.last_id.is_some()
}

#[cfg(test)]
mod tests;
