//! The rules, one by one.

use protocol::walk::{Overlap, Walk};
use protocol::warning::{Warning, WarningKind};

use super::{Follow, Onward, Rules, Seen};
use crate::FetchError;

impl Onward {
    pub(super) fn count(&mut self, seen: &Seen) {
        let walk = &mut self.walk;
        walk.met = walk.met.saturating_add(number(seen.records));
        walk.largest_page = walk.largest_page.max(number(seen.records));
        if !self.is_repeat {
            walk.fresh = walk.fresh.saturating_add(number(seen.fresh));
        }
        walk.empty_pages = if seen.fresh == 0 { walk.empty_pages + 1 } else { 0 };
    }

    pub(super) fn totals(&mut self, before: &Walk, seen: &Seen, rules: &Rules) {
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
    pub(super) fn stepped_over(&mut self, before: &Walk, seen: &Seen, rules: &Rules) {
        // A short page that comes again, and nothing behind it, is the last one. By offsets, any page is short that comes again when
        // the record behind it is asked for: the upstream only takes multiples of its page size, and it did not fill one.
        let is_unfilled = rules.size.is_none_or(|size| before.last_page < i64::from(size));
        let is_short = before.last_page < before.largest_page || rules.traits.by_offset && is_unfilled;
        let was_last = seen.fresh == 0 && (self.is_complete() || is_short);
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
    pub(super) fn again(
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
        let is_all = self.walk.fresh <= number(seen.records);
        if is_all
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
    pub(super) fn circle(&mut self, before: &Walk, seen: &Seen, follow: &Follow) -> Result<(), FetchError> {
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
    pub(super) fn nothing(
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
    pub(super) fn until_total(&mut self, before: &Walk, seen: &Seen, rules: &Rules) {
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

    /// Whether as many records have been read as the total says that there are.
    fn is_complete(&self) -> bool {
        self.walk.smallest_total.is_some_and(|total| self.walk.fresh >= total)
    }

    /// Whether the next pages can be asked for one record early.
    pub(super) fn overlap(&mut self, before: &Walk, seen: &Seen) {
        if self.is_repeat && seen.early {
            self.walk.overlap = Overlap::Doubted;
        } else if before.overlap == Overlap::Doubted
            && !self.is_repeat
            && (seen.fresh > 0 || before.alike == 0 && !self.is_complete())
        {
            // Also where nothing is left: what followed may have slipped to the page that was read.
            self.walk.overlap = Overlap::Impossible;
            let text = "the upstream gives the same page for a part of a page's offset, so that a record that is removed while the \
                        list is read may hide another; set next.overlap to 0";
            self.warn(WarningKind::MovingList, 1, text.to_owned());
        }
    }

    pub(super) fn remember(&mut self, seen: &Seen, rules: &Rules) {
        let walk = &mut self.walk;
        // Asked for early, it may just be the same part of the list; it is asked for again as it is.
        walk.alike = if self.is_repeat && !seen.early { walk.alike + 1 } else { 0 };
        walk.last_page = number(seen.records);
        walk.ids = seen.ids.filter(|_| seen.records > 0);
        walk.pages_hash = Some(folded(walk.pages_hash, walk.ids));
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

    pub(super) fn warn(&mut self, kind: WarningKind, count: i64, text: String) {
        self.warnings.push(Warning { kind, count, text });
    }

    /// A warning that is also a reason not to take the walk for whole.
    pub(super) fn doubt(&mut self, kind: WarningKind, count: i64, text: String) {
        self.walk.doubt.get_or_insert_with(|| text.clone());
        self.warn(kind, count, text);
    }
}

/// The hash of the pages so far, and of the ids of one more.
fn folded(pages: Option<i64>, ids: Option<i64>) -> i64 {
    let mixed = pages.unwrap_or_default().rotate_left(5) ^ ids.unwrap_or_default();
    // The multiplier of FxHash: odd, and with its bits well spread.
    mixed.wrapping_add(1).wrapping_mul(0x517c_c1b7_2722_0a95)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
