//! The rules by which every walk ends, and by which it is seen whether it was whole. No HTTP: what a walk had shown, and
//! what a page shows, give what follows.

mod ids;

use common::walk::{Overlap, Walk};
use common::warning::{Warning, WarningKind};

pub(super) use ids::Ids;

use super::{FetchError, FetchedPage, PageRequest};

/// How far pages of a style can be trusted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Traits {
    /// Pages are counted from the beginning of the list, so that a change moves what comes behind it.
    pub(super) counted: bool,
    /// A record that moves while the list is read may be missed without a sign.
    pub(super) moving: bool,
    /// Whether the list is taken to end where its total says.
    pub(super) until_total: bool,
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

impl Rules {
    /// Those of a list that is not counted.
    const PLAIN: Self = Self {
        traits: Traits { counted: false, moving: false, until_total: false },
        judges_totals: true,
        max_empty_pages: 100,
        size: None,
    };
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
    /// Whether the page is the one before once more, whose records were settled already.
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
    on.is_repeat = seen.records > 0 && seen.ids.is_some() && before.ids == seen.ids;
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
    on.stepped_over(before, seen);
    on.next = if on.is_repeat {
        on.again(before, seen, follow, rules)?
    } else {
        on.circle(before, seen, &follow)?;
        match follow {
            Follow::End => None,
            Follow::Next(next) => Some(next),
            Follow::Nothing { otherwise } => on.nothing(seen, otherwise, rules)?,
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

impl FetchedPage {
    /// The page with what its walk has shown, of a source that is not counted: its `next` is where the upstream says that the
    /// list goes on. Every record must be in it, those that were dropped too.
    ///
    /// # Errors
    /// When the walk would never end.
    pub fn onward(self, request: &PageRequest<'_>) -> Result<Self, FetchError> {
        let mut ids = Ids::default();
        let keys = self.records.iter().map(|record| &record.key);
        keys.chain(&self.outside_ids).for_each(|key| ids.add(key));
        let records = self.records.len() + self.dropped();
        let (ids, total) = (ids.hash(), self.total);
        let seen = Seen { page: request.page, records, fresh: records, ids, total, ..Seen::default() };
        let follow = self.next.clone().map_or(Follow::End, Follow::Next);
        let Onward { walk, next, warnings, .. } = onward(request.walk, &seen, follow, &Rules::PLAIN)?;
        Ok(Self { walk, next, warnings: [self.warnings, warnings].concat(), ..self })
    }
}

impl Onward {
    fn count(&mut self, seen: &Seen) {
        let walk = &mut self.walk;
        walk.met = walk.met.saturating_add(number(seen.records));
        walk.largest_page = walk.largest_page.max(number(seen.records));
        if !self.is_repeat {
            walk.fresh = walk.fresh.saturating_add(number(seen.fresh));
        }
        walk.empty_pages = if seen.fresh == 0 { walk.empty_pages + 1 } else { 0 };
    }

    fn totals(&mut self, before: &Walk, seen: &Seen, rules: &Rules) {
        let Some(total) = seen.total else { return };
        self.walk.last_total = Some(total);
        if let Some(last) = before.last_total
            && total < last
        {
            self.walk.total_fell = true;
            if rules.traits.counted && rules.judges_totals {
                let text = format!(
                    "the total fell from {last} to {total} at page {}, while the list was read",
                    seen.page
                );
                self.doubt(WarningKind::TotalFell, 1, text);
            }
        }
        if rules.judges_totals && total > 0 {
            self.walk.smallest_total =
                Some(before.smallest_total.map_or(total, |smallest| smallest.min(total)));
        }
    }

    /// A page before was stepped over as a repeat, and this one is another: so there was more to read.
    fn stepped_over(&mut self, before: &Walk, seen: &Seen) {
        // A short page that comes again, and nothing behind it, is the last one.
        let is_complete = self.walk.smallest_total.is_some_and(|total| self.walk.fresh >= total);
        let was_last = seen.fresh == 0 && (is_complete || before.last_page < before.largest_page);
        if before.alike > 0 && !self.is_repeat && !was_last {
            let text = format!(
                "page {} had the very records of the page before it, and was stepped over; page {} is another one",
                seen.page.saturating_sub(1),
                seen.page
            );
            self.doubt(WarningKind::SamePage, 1, text);
        }
    }

    /// The very records of the page before.
    fn again(
        &mut self,
        before: &Walk,
        seen: &Seen,
        follow: Follow,
        rules: &Rules,
    ) -> Result<Option<String>, FetchError> {
        let (page, first) = (seen.page, seen.page.saturating_sub(1));
        let otherwise = match follow {
            Follow::End => {
                let text = format!("page {page}, the last one, has the very records of the page before it");
                self.doubt(WarningKind::SamePage, 1, text);
                return Ok(None);
            }
            Follow::Next(next) => Some(next),
            Follow::Nothing { otherwise } => otherwise,
        };
        if !rules.traits.counted {
            return Err(FetchError::permanent(format!(
                "cursor loop: page {page} of the slice has the very records of page {first}, and another page is to follow"
            )));
        }
        if before.alike == 0 {
            return Ok(otherwise);
        }
        if let Some(but) = self.contradiction(seen) {
            return Err(FetchError::permanent(format!(
                "pages {} to {page} of the slice have the very same records, though {but}: does the upstream know the \
                 parameter that next.parameter names?",
                seen.page.saturating_sub(2)
            )));
        }
        // The last page, however far beyond it is asked for. A list of one page looks the same as a parameter that the
        // upstream does not know.
        let is_first = first.saturating_sub(1) == before.first_page;
        if is_first
            && rules.size.is_none_or(|size| u32::try_from(seen.records).is_ok_and(|records| records >= size))
        {
            let text = format!(
                "pages {} to {page} have the very same {} records, which were taken for the whole list: does the upstream \
                 know the parameter that next.parameter names?",
                before.first_page, seen.records
            );
            self.doubt(WarningKind::SamePage, 1, text);
        }
        Ok(None)
    }

    /// A page that was met before leads into a circle.
    fn circle(&mut self, before: &Walk, seen: &Seen, follow: &Follow) -> Result<(), FetchError> {
        let Some((_, anchor)) = before.anchor.filter(|(ids, _)| seen.records > 0 && Some(*ids) == seen.ids)
        else {
            return Ok(());
        };
        let text = format!("page {} of the slice has the very records of page {anchor}", seen.page);
        if *follow == Follow::End {
            self.doubt(WarningKind::SamePage, 1, text);
            return Ok(());
        }
        Err(FetchError::permanent(format!("cursor loop: {text}, and another page is to follow")))
    }

    /// Nothing new where pages are counted: the end, unless something contradicts it.
    fn nothing(
        &mut self,
        seen: &Seen,
        otherwise: Option<String>,
        rules: &Rules,
    ) -> Result<Option<String>, FetchError> {
        let Some(but) = self.contradiction(seen) else { return Ok(None) };
        if seen.more == Some(true) && otherwise.is_none() {
            return Err(FetchError::permanent(
                "cursor loop: the answer says that there is more, and has no records to go on after: set page_size, so \
                 that it is known how far to go",
            ));
        }
        let next = otherwise.filter(|_| self.walk.empty_pages < self.tries(rules));
        self.doubt(WarningKind::EmptyPage, 1, format!("page {} has no new records, though {but}", seen.page));
        Ok(next)
    }

    /// Why the list cannot end with this page, in words.
    fn contradiction(&self, seen: &Seen) -> Option<String> {
        if seen.more == Some(true) {
            return Some("the answer says that there is more".to_owned());
        }
        let (met, total) = (self.walk.fresh, self.walk.smallest_total);
        let short = total.filter(|total| met < *total);
        let short = short.map(|total| format!("the total is {total}, and {met} records have been read"));
        seen.contradiction.clone().or(short)
    }

    /// How many pages without a new record are tried in a row.
    fn tries(&self, rules: &Rules) -> i64 {
        let Some(missing) =
            self.walk.smallest_total.map(|total| total - self.walk.fresh).filter(|left| *left > 0)
        else {
            // The pages themselves say that there are more; max_empty_pages bounds it.
            return i64::MAX;
        };
        let page =
            if self.walk.largest_page > 0 { self.walk.largest_page } else { rules.size.map_or(1, i64::from) };
        let pages = missing / page + i64::from(missing % page > 0);
        pages + 1
    }

    /// Where the list is to end with its total, it does after one page beyond that has nothing new.
    fn until_total(&mut self, before: &Walk, seen: &Seen, rules: &Rules) {
        let Some(total) = self.walk.last_total.filter(|total| rules.traits.until_total && *total > 0) else {
            return;
        };
        if before.beyond_total && (seen.fresh == 0 || self.is_repeat) {
            self.next = None;
        } else if before.beyond_total {
            let text = format!("page {} has records beyond the total, which was {total}", seen.page);
            self.warn(WarningKind::BeyondTotal, number(seen.fresh), text);
        }
        self.walk.beyond_total = self.next.is_some() && self.walk.fresh >= total;
    }

    /// Whether the next pages can be asked for one record early.
    fn overlap(&mut self, before: &Walk, seen: &Seen) {
        if self.is_repeat && seen.early {
            self.walk.overlap = Overlap::Doubted;
        } else if before.overlap == Overlap::Doubted && !self.is_repeat && seen.fresh > 0 {
            self.walk.overlap = Overlap::Impossible;
            let text = "the upstream gives the same page for a part of a page's offset, so that a record that is removed while the \
                        list is read may hide another; set next.overlap to 0";
            self.warn(WarningKind::MovingList, 1, text.to_owned());
        }
    }

    fn remember(&mut self, seen: &Seen, rules: &Rules) {
        let walk = &mut self.walk;
        // Asked for early, it may just be the same part of the list; it is asked for again as it is.
        walk.alike = if self.is_repeat && !seen.early { walk.alike + 1 } else { 0 };
        walk.last_page = number(seen.records);
        walk.ids = seen.ids.filter(|_| seen.records > 0);
        // After a page without records of its own, the next one has no neighbour.
        let neighbour = rules.traits.counted
            && !self.is_repeat
            && (seen.fresh > 0 || seen.records == 0 && seen.last_id.is_some());
        walk.last_id = seen.last_id.clone().filter(|_| neighbour);
        let place =
            u32::try_from(seen.page.saturating_sub(walk.first_page)).unwrap_or_default().saturating_add(1);
        if let Some(ids) = walk.ids
            && place.is_power_of_two()
        {
            walk.anchor = Some((ids, seen.page));
        }
    }

    fn warn(&mut self, kind: WarningKind, count: i64, text: String) {
        self.warnings.push(Warning { kind, count, text });
    }

    /// A warning that is also a reason not to take the walk for whole.
    fn doubt(&mut self, kind: WarningKind, count: i64, text: String) {
        self.walk.doubt.get_or_insert_with(|| text.clone());
        self.warn(kind, count, text);
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
