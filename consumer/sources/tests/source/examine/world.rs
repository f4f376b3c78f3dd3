//! An upstream with a list of calls, and with whatever habits a test gives it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::http::StatusCode;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use serde_json::{Value, json};
use url::form_urlencoded;

use crate::upstream::Upstream;

/// How an upstream pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paging {
    PageNumber,
    Offset,
    Cursor,
    NextUrl,
}

/// How it writes and reads the bounds of a span.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bounds {
    Rfc3339,
    Date,
    Unix,
    /// A time without an offset.
    Clock,
}

/// An upstream. As it is by default, it has no bad habit.
#[derive(Clone, Copy, Debug)]
pub(super) struct World {
    pub(super) paging: Paging,
    pub(super) bounds: Bounds,
    pub(super) records: usize,
    /// How far apart they are.
    pub(super) every: TimeDelta,
    pub(super) newest_first: bool,
    /// No page has more records than this.
    pub(super) largest_page: usize,
    pub(super) smallest_page: usize,
    /// Without a lower bound, only what is as new as this is listed.
    pub(super) window: Option<TimeDelta>,
    /// Longer spans are refused.
    pub(super) longest_span: Option<TimeDelta>,
    pub(super) ignores_bound: bool,
    pub(super) ignores_every_bound: bool,
    pub(super) is_exclusive: bool,
    pub(super) whole_days: bool,
    /// How far its clock is ahead of UTC.
    pub(super) clock: TimeDelta,
    /// The bound is about another time, which is this much later than that of the record.
    pub(super) other_time: TimeDelta,
    pub(super) nothing_with_bound: bool,
    pub(super) total: fn(Totals) -> Value,
    pub(super) time: fn(DateTime<Utc>) -> Value,
    pub(super) more: fn(bool) -> Value,
    pub(super) id: fn(usize) -> Value,
    pub(super) beyond: fn(Place) -> Answer,
    /// Pages other than the first are the first one again.
    pub(super) ignores_page: bool,
    /// How many records are inserted before every request, at the newest end.
    pub(super) grows: usize,
    pub(super) shuffles: bool,
    /// How a cursor is written, and whether it is taken as it was sent.
    pub(super) cursor: fn(usize) -> String,
    pub(super) reads_cursor: fn(&str) -> Option<usize>,
    /// Every page begins so many records early.
    pub(super) early: usize,
    /// The number of the first page.
    pub(super) first_page: usize,
    pub(super) item: fn(Option<Value>) -> Response,
    pub(super) headers: &'static [(&'static str, &'static str)],
    pub(super) redirects: bool,
    /// The answer to every request after so many.
    pub(super) refuses_after: Option<(usize, u16)>,
}

/// What a total may be made of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Totals {
    pub(super) listed: usize,
    pub(super) all: usize,
    pub(super) on_page: usize,
}

/// Where beyond the end a page is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) last: usize,
}

/// What comes there.
#[derive(Clone, Copy, Debug)]
pub(super) enum Answer {
    Status(u16),
    /// The page that begins there.
    Page(usize),
    Nothing,
}

impl World {
    pub(super) const fn new(paging: Paging, bounds: Bounds) -> Self {
        Self {
            paging,
            bounds,
            records: 60,
            every: TimeDelta::hours(7),
            newest_first: false,
            largest_page: 1000,
            smallest_page: 1,
            window: None,
            longest_span: None,
            ignores_bound: false,
            ignores_every_bound: false,
            is_exclusive: false,
            whole_days: false,
            clock: TimeDelta::zero(),
            other_time: TimeDelta::zero(),
            nothing_with_bound: false,
            total: |totals| json!(totals.listed),
            time: |time| json!(time.to_rfc3339()),
            more: |more| json!(more),
            id: |number| json!(format!("call-{number:04}")),
            beyond: |_| Answer::Nothing,
            ignores_page: false,
            grows: 0,
            shuffles: false,
            cursor: |number| format!("c{number}"),
            reads_cursor: |cursor| cursor.strip_prefix('c')?.parse().ok(),
            early: 0,
            first_page: 1,
            item: |record| {
                record.map_or_else(
                    || StatusCode::NOT_FOUND.into_response(),
                    |it| axum::Json(it).into_response(),
                )
            },
            headers: &[],
            redirects: false,
            refuses_after: None,
        }
    }

    /// The settings that fit an upstream without bad habits.
    pub(super) fn settings(self) -> Value {
        let next = match self.paging {
            Paging::PageNumber => json!({"style": "page_number", "parameter": "page"}),
            Paging::Offset => json!({"style": "offset", "parameter": "offset"}),
            Paging::Cursor => json!({"style": "cursor", "pointer": "/cursor", "parameter": "cursor"}),
            Paging::NextUrl => json!({"style": "next_url", "pointer": "/next"}),
        };
        let (from, to) = match self.bounds {
            Bounds::Rfc3339 => ("{from}", "{to}"),
            Bounds::Date => ("{from:date}", "{last:date}"),
            Bounds::Unix => ("{from:unix}", "{to:unix}"),
            Bounds::Clock => ("{from:%Y-%m-%d %H:%M:%S}", "{to:%Y-%m-%d %H:%M:%S}"),
        };
        let mut settings = json!({
            "path": "/calls",
            "page_size": {"parameter": "limit", "size": 10},
            "records": {"pointer": "/data", "id": "/id", "time": "/at"},
            "next": next,
            "total": "/total",
            "dates": {
                "parameters": [{"name": "from", "value": from}, {"name": "to", "value": to}],
                "start": null,
            },
            "item": {"path": "/calls/{id}"},
        });
        settings["next"]["more"] = json!("/more");
        settings
    }

    pub(super) async fn start(self) -> Upstream {
        let asked = Arc::new(AtomicUsize::new(0));
        Upstream::start(move |parts| self.answer(parts, asked.fetch_add(1, Ordering::SeqCst))).await
    }

    fn answer(self, parts: &Parts, before: usize) -> Response {
        if let Some((many, status)) = self.refuses_after
            && before >= many
        {
            return (StatusCode::from_u16(status).unwrap(), "no").into_response();
        }
        let path = parts.uri.path();
        if self.redirects && !path.starts_with("/moved") {
            let to = format!("/moved{}", parts.uri);
            return (StatusCode::FOUND, [("location", to)]).into_response();
        }
        let all = self.all(before);
        let path = path.strip_prefix("/moved").unwrap_or(path);
        let mut response = match path.strip_prefix("/calls/") {
            Some(id) => {
                let found = all.iter().map(|(number, time)| self.row(*number, *time));
                (self.item)(found.into_iter().find(|row| row["id"].as_str() == Some(id)))
            }
            None => self.list(parts, &all, before),
        };
        for (name, value) in self.headers {
            response.headers_mut().insert(*name, value.parse().unwrap());
        }
        response
    }

    /// Every record, the oldest first: a year old and less.
    fn all(self, before: usize) -> Vec<(usize, DateTime<Utc>)> {
        let many = self.records + self.grows * before;
        let newest: DateTime<Utc> = "2026-03-01T15:00:00Z".parse().unwrap();
        let count = |number: usize| i32::try_from(number).unwrap();
        (0..many)
            .map(|number| (number, newest + self.every * (count(number) - count(self.records))))
            .collect()
    }

    fn row(self, number: usize, time: DateTime<Utc>) -> Value {
        json!({"id": (self.id)(number), "at": (self.time)(time)})
    }

    fn moment(self, text: &str, is_end: bool) -> DateTime<Utc> {
        let by_clock = |clock: chrono::NaiveDateTime| clock.and_utc() - self.clock;
        let moment = match self.bounds {
            Bounds::Rfc3339 => text.parse().unwrap(),
            Bounds::Unix => DateTime::from_timestamp(text.parse().unwrap(), 0).unwrap(),
            Bounds::Clock => {
                by_clock(chrono::NaiveDateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S").unwrap())
            }
            Bounds::Date => {
                let day: NaiveDate = text.parse().unwrap();
                let day = if is_end { day.succ_opt().unwrap() } else { day };
                by_clock(day.and_hms_opt(0, 0, 0).unwrap())
            }
        };
        if self.whole_days && !is_end {
            moment.date_naive().and_hms_opt(0, 0, 0).unwrap().and_utc()
        } else {
            moment
        }
    }

    fn list(self, parts: &Parts, all: &[(usize, DateTime<Utc>)], before: usize) -> Response {
        let query: HashMap<String, String> =
            form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).into_owned().collect();
        let number = |name: &str| query.get(name).and_then(|text| text.parse::<usize>().ok());
        let from = query.get("from").map(|text| self.moment(text, false));
        let to = query.get("to").map(|text| self.moment(text, true));
        if let (Some(from), Some(to), Some(longest)) = (from, to, self.longest_span)
            && to - from > longest
        {
            return (StatusCode::BAD_REQUEST, "the span is too long").into_response();
        }
        let newest = all.last().map(|(_, time)| *time);
        let window = self.window.filter(|_| from.is_none()).and_then(|window| Some(newest? - window));
        let begins = |time: DateTime<Utc>| {
            let time = time + self.other_time;
            from.is_none_or(|from| self.ignores_bound || from < time || (from == time && !self.is_exclusive))
        };
        let inside = |(_, time): &&(usize, DateTime<Utc>)| {
            self.ignores_every_bound
                || (begins(*time)
                    && to.is_none_or(|to| *time < to)
                    && window.is_none_or(|window| window <= *time))
        };
        let mut listed: Vec<_> = all.iter().filter(inside).copied().collect();
        if from.is_some() && self.nothing_with_bound {
            listed.clear();
        }
        if self.newest_first {
            listed.reverse();
        }
        let size = number("limit").unwrap_or(10).clamp(self.smallest_page, self.largest_page);
        let cursor = query.get("cursor");
        let begin = match self.paging {
            Paging::PageNumber => {
                number("page").map_or(0, |page| page.saturating_sub(self.first_page) * size)
            }
            Paging::Offset | Paging::NextUrl => number("offset").unwrap_or(0),
            Paging::Cursor => match cursor.map(|cursor| (self.reads_cursor)(cursor)) {
                None => 0,
                Some(Some(begin)) => begin,
                Some(None) => return (StatusCode::BAD_REQUEST, "what cursor is that?").into_response(),
            },
        };
        let begin = if begin == 0 { 0 } else { begin - self.early };
        let begin = if self.ignores_page { 0 } else { begin };
        let last = listed.len().saturating_sub(1) / size * size;
        let begin = if begin < listed.len() || begin == 0 {
            begin
        } else {
            match (self.beyond)(Place { last }) {
                Answer::Status(status) => {
                    return (StatusCode::from_u16(status).unwrap(), "no").into_response();
                }
                Answer::Page(begin) => begin,
                Answer::Nothing => listed.len(),
            }
        };
        let mut page: Vec<_> =
            listed.iter().skip(begin).take(size).map(|(number, time)| self.row(*number, *time)).collect();
        if self.shuffles {
            let by = before % page.len().max(1);
            page.rotate_left(by);
        }
        let end = begin + page.len();
        let more = end < listed.len();
        let totals = Totals { listed: listed.len(), all: all.len(), on_page: page.len() };
        let kept = query.iter().filter(|(name, _)| !["limit", "offset"].contains(&name.as_str()));
        let kept: String = form_urlencoded::Serializer::new(String::new()).extend_pairs(kept).finish();
        let next = format!("{}?limit={size}&offset={end}&{kept}", parts.uri.path());
        axum::Json(json!({
            "data": page,
            "total": (self.total)(totals),
            "more": (self.more)(more),
            "cursor": more.then(|| (self.cursor)(end)),
            "next": more.then_some(next),
        }))
        .into_response()
    }
}
