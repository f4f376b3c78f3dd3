//! What a client asks for: filters, page size, order and cursor; and the URLs that lead on from a page.

use super::catalogue::{Catalogue, Position, positions};
use super::options::{Behaviour, NextAtEnd, Total};
use chrono::{DateTime, Days, NaiveDate, NaiveTime};
use std::fmt::Write;
use std::ops::Range;
use url::form_urlencoded;

const DAY_US: i64 = 86_400_000_000;

/// The query of a list request.
#[derive(Debug)]
pub(super) struct Query {
    from_us: Option<i64>,
    /// Exclusive, although the parameter is inclusive: one microsecond, or one day, has been added.
    before_us: Option<i64>,
    size: usize,
    oldest_first: bool,
    cursor: Option<Cursor>,
    /// Everything but the cursor, to be repeated in `next`.
    rest: Vec<(String, String)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cursor {
    /// The call beyond which the page lies.
    at: Position,
    /// The page lies before it, in the order of the list: a `previous`.
    back: bool,
}

impl Query {
    /// # Errors
    /// The text of a 400.
    pub(super) fn parse(query: &str, behaviour: &Behaviour) -> Result<Self, String> {
        let mut parsed = Self {
            from_us: None,
            before_us: None,
            size: behaviour.page_default.min(behaviour.page_max),
            oldest_first: false,
            cursor: None,
            rest: Vec::new(),
        };
        for (name, value) in form_urlencoded::parse(query.as_bytes()) {
            let wrong = || format!("{name}: invalid value {value:?}");
            match &*name {
                "cursor" => parsed.cursor = Some(Cursor::decode(&value).ok_or_else(wrong)?),
                "pageSize" => {
                    let wanted = value.parse().ok().filter(|size| *size > 0).ok_or_else(wrong)?;
                    parsed.size = behaviour.page_max.min(wanted);
                }
                "fromDate" => parsed.from_us = Some(day_or_time(&value, behaviour, false).ok_or_else(wrong)?),
                "toDate" => parsed.before_us = Some(day_or_time(&value, behaviour, true).ok_or_else(wrong)?),
                "sort" => {
                    parsed.oldest_first = match &*value {
                        "created" => true,
                        "-created" => false,
                        _ => return Err(wrong()),
                    };
                }
                _ => {}
            }
            if name != "cursor" {
                parsed.rest.push((name.into_owned(), value.into_owned()));
            }
        }
        Ok(parsed)
    }

    /// The page's JSON. `list` is the list's own URL, as the client knows it.
    pub(super) fn page(&self, calls: &Catalogue, behaviour: &Behaviour, list: &str, requests: u64) -> String {
        let all = positions(self.from_us, self.before_us);
        let (found, more) = self.select(calls, &all);
        let back = self.cursor.is_some_and(|cursor| cursor.back);
        let (has_next, has_previous) = if back { (true, more) } else { (more, self.cursor.is_some()) };

        let mut page = String::with_capacity(found.len() * 2048 + 512);
        let next = found.last().filter(|_| has_next).map(|at| Cursor { at: *at, back: false });
        match (next, behaviour.next_at_end) {
            (Some(cursor), _) => self.link(&mut page, "{\"next\":\"", list, cursor, "\","),
            (None, NextAtEnd::Null) => page.push_str("{\"next\":null,"),
            (None, NextAtEnd::Empty) => page.push_str("{\"next\":\"\","),
            (None, NextAtEnd::Missing) => page.push('{'),
        }
        match found.first().filter(|_| has_previous) {
            Some(at) => self.link(&mut page, "\"previous\":\"", list, Cursor { at: *at, back: true }, "\","),
            None => page.push_str("\"previous\":null,"),
        }
        page.push_str("\"results\":[");
        for (index, position) in found.into_iter().enumerate() {
            if index > 0 {
                page.push(',');
            }
            calls.render(position, &mut page);
        }
        page.push(']');
        let total = match behaviour.total {
            Total::True => Some(calls.count(&all)),
            Total::Missing => None,
            Total::Zero => Some(0),
            Total::Shrinking => Some(calls.count(&all).saturating_sub(requests)),
        };
        if let Some(total) = total {
            // Writing to a String cannot fail.
            let _infallible = write!(page, ",\"total\":{total}");
        }
        page.push('}');
        page
    }

    /// The page's calls in the order of the list, and whether there are more beyond them.
    fn select(&self, calls: &Catalogue, all: &Range<Position>) -> (Vec<Position>, bool) {
        let back = self.cursor.is_some_and(|cursor| cursor.back);
        let rising = self.oldest_first != back;
        let mut range = all.clone();
        if let Some(Cursor { at, .. }) = self.cursor {
            if rising {
                range.start = range.start.max((at.0, at.1 + 1));
            } else {
                range.end = range.end.min(at);
            }
        }
        let walk = calls.walk(&range);
        let wanted = self.size + 1;
        let mut found: Vec<_> =
            if rising { walk.take(wanted).collect() } else { walk.rev().take(wanted).collect() };
        let more = found.len() > self.size;
        found.truncate(self.size);
        if back {
            found.reverse();
        }
        (found, more)
    }

    fn link(&self, out: &mut String, before: &str, list: &str, cursor: Cursor, after: &str) {
        let mut query = form_urlencoded::Serializer::new(String::new());
        query.append_pair("cursor", &cursor.encode()).extend_pairs(&self.rest);
        for part in [before, list, "?", &query.finish(), after] {
            out.push_str(part);
        }
    }
}

impl Cursor {
    /// Unlike anything that a client could compute with, and shaped like the upstream's: letters and digits.
    fn encode(self) -> String {
        let (created_us, ordinal) = self.at;
        let kind = if self.back { 'p' } else { 'n' };
        let scrambled = created_us.cast_unsigned() ^ SCRAMBLE;
        format!("c{kind}{:016x}{:x}", scrambled.rotate_left(23), ordinal ^ SCRAMBLE >> 16)
    }

    fn decode(text: &str) -> Option<Self> {
        let (back, digits) = match (text.strip_prefix("cn"), text.strip_prefix("cp")) {
            (Some(digits), _) => (false, digits),
            (None, digits) => (true, digits?),
        };
        let scrambled = u64::from_str_radix(digits.get(..16)?, 16).ok()?.rotate_right(23);
        let ordinal = u64::from_str_radix(digits.get(16..)?, 16).ok()? ^ SCRAMBLE >> 16;
        // Out of range is forged; the arithmetic of positions is not made for it.
        let created_us = Some((scrambled ^ SCRAMBLE).cast_signed()).filter(|us| us.abs() < i64::MAX / 4)?;
        Some(Self { at: (created_us, ordinal.min(u64::MAX >> 1)), back })
    }
}

const SCRAMBLE: u64 = 0x5DEE_CE66_D1CE_CAFE;

/// A whole day or an RFC 3339 time. As an end it is inclusive, so what comes back is just beyond it.
fn day_or_time(text: &str, behaviour: &Behaviour, end: bool) -> Option<i64> {
    if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let day = if end { day.checked_add_days(Days::new(1))? } else { day };
        return Some(day.and_time(NaiveTime::MIN).and_utc().timestamp_micros());
    }
    let us = DateTime::parse_from_rfc3339(text).ok()?.timestamp_micros();
    let day = us.div_euclid(DAY_US) * DAY_US;
    Some(match (behaviour.whole_days, end) {
        (true, false) => day,
        (true, true) => day + DAY_US,
        (false, false) => us,
        (false, true) => us + 1,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sample_upstream::options::TenantOptions;
    use serde_json::Value;

    fn ask(query: &str, behaviour: &Behaviour) -> Value {
        let calls = Catalogue::new(&TenantOptions::new("a", 250));
        let page = Query::parse(query, behaviour).unwrap().page(&calls, behaviour, "http://h/api/calls", 0);
        serde_json::from_str(&page).unwrap()
    }

    fn ids(page: &Value) -> Vec<String> {
        page["results"].as_array().unwrap().iter().map(|call| call["callId"].to_string()).collect()
    }

    fn query_of(url: &Value) -> Option<&str> {
        url.as_str().filter(|url| !url.is_empty()).map(|url| url.strip_prefix("http://h/api/calls?").unwrap())
    }

    #[test]
    fn following_next_lists_every_call_once_and_previous_leads_back() {
        let behaviour = Behaviour::default();
        for sort in ["created", "-created"] {
            let first = ask(&format!("pageSize=1000&sort={sort}"), &behaviour);
            let (mut pages, mut page) = (vec![ids(&first)], first);
            while let Some(query) = query_of(&page["next"]) {
                page = ask(query, &behaviour);
                pages.push(ids(&page));
            }
            assert_eq!(pages.iter().map(Vec::len).collect::<Vec<_>>(), [100, 100, 50]);
            let mut unique = pages.concat();
            unique.sort();
            unique.dedup();
            assert_eq!(unique.len(), 250);

            let before = ask(query_of(&page["previous"]).unwrap(), &behaviour);
            assert_eq!(ids(&before), pages[1]);
            let before = ask(query_of(&before["previous"]).unwrap(), &behaviour);
            assert_eq!(ids(&before), pages[0]);
            assert_eq!(before["previous"], Value::Null);
        }
    }

    #[test]
    fn dates_are_inclusive_and_may_be_whole_days() {
        let behaviour = Behaviour::default();
        // One call in every ten minutes.
        assert_eq!(ask("fromDate=2025-01-01&toDate=2025-01-01", &behaviour)["total"], 144);
        assert_eq!(ask("fromDate=2025-01-02", &behaviour)["total"], 250 - 144);
        let page = ask("sort=created&pageSize=3", &behaviour);
        let created = |at: usize| page["results"][at]["created"].as_str().unwrap().to_owned();
        let exactly = format!("fromDate={}&toDate={}", created(1), created(1));
        assert_eq!(ask(&exactly, &behaviour)["total"], 1);
        let days = Behaviour { whole_days: true, ..Behaviour::default() };
        assert_eq!(ask(&exactly, &days)["total"], 144);
    }

    #[test]
    fn the_end_and_the_total_take_every_published_form() {
        let at_end = |next_at_end, total| {
            ask("", &Behaviour { next_at_end, total, page_default: 20, ..Behaviour::default() })
        };
        let whole = |behaviour: Behaviour| ask("pageSize=500", &Behaviour { page_max: 500, ..behaviour });
        assert_eq!(at_end(NextAtEnd::Null, Total::Zero)["total"], 0);
        assert!(at_end(NextAtEnd::Null, Total::Missing).get("total").is_none());
        let end = |next_at_end| whole(Behaviour { next_at_end, ..Behaviour::default() });
        assert_eq!(end(NextAtEnd::Null).get("next"), Some(&Value::Null));
        assert_eq!(end(NextAtEnd::Empty)["next"], "");
        assert!(end(NextAtEnd::Missing).get("next").is_none());
        assert_eq!(ids(&end(NextAtEnd::Null)).len(), 250);
    }

    #[test]
    fn nonsense_is_refused() {
        for query in
            ["cursor=x", "cursor=cn12", "pageSize=0", "pageSize=-1", "fromDate=yesterday", "sort=name"]
        {
            assert!(Query::parse(query, &Behaviour::default()).is_err(), "{query}");
        }
    }
}
