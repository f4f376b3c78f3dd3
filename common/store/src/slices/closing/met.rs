//! What the walks of a job have met, read out of their page log.

use chrono::{DateTime, Utc};

/// A page of a walk's page log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) slice: i32,
    /// Its number, counted through all jobs that a resumed job goes on from.
    pub(super) page: i64,
    pub(super) keys: Vec<String>,
    pub(super) outside: Vec<String>,
    pub(super) outcomes: String,
    pub(super) reasons: Vec<String>,
    pub(super) times: Vec<Option<DateTime<Utc>>>,
    pub(super) settled_at: DateTime<Utc>,
}

/// Several pages, as parallel arrays.
#[derive(Debug, Default)]
pub(super) struct Met<'p> {
    /// Of each readable id, its slice.
    pub(super) slices: Vec<i32>,
    pub(super) ids: Vec<&'p str>,
    /// Of each slice: which, how many records had no readable id, and how many ids it met again for a good reason.
    pub(super) counted: Vec<i32>,
    pub(super) unreadable: Vec<i64>,
    pub(super) excused: Vec<i64>,
    /// What could not be stored.
    pub(super) unstored: Unstored<'p>,
    /// The ids of what was.
    pub(super) stored: Vec<&'p str>,
}

/// Records that were deferred or failed, and have an id.
#[derive(Debug, Default)]
pub(super) struct Unstored<'p> {
    pub(super) ids: Vec<&'p str>,
    pub(super) failed: Vec<bool>,
    pub(super) reasons: Vec<Option<&'p str>>,
    pub(super) times: Vec<Option<DateTime<Utc>>>,
    pub(super) slices: Vec<i32>,
    pub(super) met_at: Vec<DateTime<Utc>>,
}

impl<'p> Met<'p> {
    /// Of pages in their order; `before` is the one before the first.
    pub(super) fn of(before: Option<&'p Page>, pages: &'p [Page]) -> Self {
        let mut met = Self::default();
        let mut before = before;
        for page in pages {
            met.add(page, before.filter(|before| before.slice == page.slice));
            before = Some(page);
        }
        met
    }

    fn add(&mut self, page: &'p Page, before: Option<&'p Page>) {
        if self.counted.last() != Some(&page.slice) {
            self.counted.push(page.slice);
            self.unreadable.push(0);
            self.excused.push(0);
        }
        let all = page.keys.iter().chain(&page.outside);
        for id in all.filter(|id| !id.is_empty()) {
            self.slices.push(page.slice);
            self.ids.push(id);
        }
        if let Some(unreadable) = self.unreadable.last_mut() {
            *unreadable += number(page.keys.iter().filter(|id| id.is_empty()).count());
        }
        if let (Some(before), Some(excused)) = (before, self.excused.last_mut()) {
            *excused += number(
                tail_met_again(&before.keys, &page.keys) + tail_met_again(&before.outside, &page.outside),
            );
        }
        self.sort_out(page);
    }

    /// Tells what was stored from what was not.
    fn sort_out(&mut self, page: &'p Page) {
        let (mut reasons, mut times) = (page.reasons.iter(), page.times.iter());
        for (id, outcome) in page.keys.iter().zip(page.outcomes.chars()) {
            let failed = match outcome {
                'd' => false,
                'f' => true,
                '+' | '~' | '=' => {
                    self.stored.push(id);
                    continue;
                }
                _ => continue,
            };
            let reason = if failed { reasons.next() } else { None };
            let time = times.next().copied().flatten();
            if !id.is_empty() {
                self.unstored.ids.push(id);
                self.unstored.failed.push(failed);
                self.unstored.reasons.push(reason.map(String::as_str));
                self.unstored.times.push(time);
                self.unstored.slices.push(page.slice);
                self.unstored.met_at.push(page.settled_at);
            }
        }
    }
}

/// How many ids at the beginning of a page are those at the end of the page before: what an insertion before that place
/// does, and a page that is asked for one record early.
fn tail_met_again(before: &[String], page: &[String]) -> usize {
    let most = before.len().min(page.len());
    (1..=most).rev().find(|&length| before.ends_with(page.get(..length).unwrap_or_default())).unwrap_or(0)
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(slice: i32, page: i64, keys: &str, outside: &str) -> Page {
        let ids = |text: &str| text.chars().map(|id| id.to_string().trim().to_owned()).collect();
        let keys: Vec<String> = ids(keys);
        let outcomes = "=".repeat(keys.len());
        Page {
            slice,
            page,
            keys,
            outside: ids(outside),
            outcomes,
            reasons: Vec::new(),
            times: Vec::new(),
            settled_at: DateTime::UNIX_EPOCH,
        }
    }

    #[test]
    fn a_page_that_begins_with_the_end_of_the_one_before_is_excused() {
        let pages = [page(0, 0, "abc", "x"), page(0, 1, "bcd", "xy"), page(0, 2, "cde", "")];
        let met = Met::of(None, &pages);
        assert_eq!((met.counted.as_slice(), met.excused.as_slice()), (&[0][..], &[2 + 1 + 2][..]));
        // Not the end of the page before, though it was on it.
        let moved = [page(0, 0, "abc", ""), page(0, 1, "bde", "")];
        assert_eq!(Met::of(None, &moved).excused, [0]);
        assert_eq!(Met::of(Some(&pages[0]), &pages[1..2]).excused, [3]);
    }

    #[test]
    fn slices_are_counted_apart_and_records_without_an_id_are_no_ids() {
        let pages = [page(0, 0, "ab ", ""), page(1, 0, "ab", ""), page(1, 1, " ", "z")];
        let met = Met::of(None, &pages);
        assert_eq!((met.counted.as_slice(), met.unreadable.as_slice()), (&[0, 1][..], &[1, 1][..]));
        assert_eq!(met.excused, [0, 0]);
        assert_eq!(met.ids, ["a", "b", "a", "b", "z"]);
        assert_eq!(met.slices, [0, 0, 1, 1, 1]);
    }

    #[test]
    fn what_was_not_stored_keeps_its_reason_and_time() {
        let at = DateTime::UNIX_EPOCH;
        let mut odd = page(3, 0, "abcd ", "");
        odd.outcomes = "+fd-f".to_owned();
        odd.reasons = vec!["no time".to_owned(), "no id".to_owned()];
        odd.times = vec![None, Some(at), None];
        let pages = [odd];
        let met = Met::of(None, &pages);
        assert_eq!(met.stored, ["a"]);
        assert_eq!(met.unstored.ids, ["b", "c"]);
        assert_eq!(met.unstored.failed, [true, false]);
        assert_eq!(met.unstored.reasons, [Some("no time"), None]);
        assert_eq!(met.unstored.times, [None, Some(at)]);
    }
}
