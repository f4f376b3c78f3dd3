//! Looks at a list without judging it: for whoever tries settings out.
//!
//! The settings are varied so that an answer shows what the upstream does, and not what the settings make of it: flags and
//! statuses end nothing, and where bounds are tried out they are sent as they are, without a margin.

use chrono::{DateTime, TimeDelta, Utc};
use protocol::walk::Walk;

use super::answer::Listed;
use super::dates::DateQuery;
use super::settings::{Length, Start, Style as StyleSettings};
use super::styles::Page;
use super::time::{TimeFormat, Zone};
use super::{PagedJson, Settings};
use crate::fetch::Exchange;
use crate::walking::Follow;
use crate::{Endpoint, SourceError};

/// What stands in an answer.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Look {
    /// The ids of its records, in their order; an empty one could not be read.
    pub(crate) ids: Vec<String>,
    /// Their times, as far as they can be read.
    pub(crate) times: Vec<Option<DateTime<Utc>>>,
    /// Their times, as they are written in JSON.
    pub(crate) written: Vec<Option<String>>,
    /// The total, whatever it is.
    pub(crate) total: Option<i64>,
    /// The number of pages.
    pub(crate) pages: Option<u64>,
    /// Whether a flag says that there is more.
    pub(crate) more: Option<bool>,
    /// The cursor of the next page, whatever flags say.
    pub(crate) next: Option<String>,
}

/// A connection's list.
#[derive(Debug)]
pub(crate) struct Lens {
    /// The settings, as they are.
    pub(crate) settings: Settings,
    /// The list by these settings.
    pub(crate) plain: PagedJson,
    /// The list as it goes on whatever flags, statuses and page numbers say.
    pub(crate) free: PagedJson,
    /// The same with bounds that have no margin.
    pub(crate) exact: PagedJson,
    dates: DateQuery,
    zone: Zone,
}

impl Lens {
    pub(crate) fn new(endpoint: &Endpoint, settings: Settings) -> Result<Self, SourceError> {
        let open = |settings: &Settings| PagedJson::new(&endpoint.base_url, &endpoint.credentials, settings);
        let plain = open(&settings)?;
        let mut free = settings.clone();
        free.next.ends.more = None;
        free.next.ends.done = None;
        free.next.ends.end_status.clear();
        match &mut free.next.style {
            StyleSettings::PageNumber(style) => style.pages = None,
            StyleSettings::Offset(style) => style.until_total = false,
            StyleSettings::NextUrl(_)
            | StyleSettings::LinkHeader(_)
            | StyleSettings::Cursor(_)
            | StyleSettings::LastId(_) => {}
        }
        let mut exact = free.clone();
        if let Some(dates) = &mut exact.dates {
            dates.margin = Some(Length(TimeDelta::zero()));
        }
        let (zone, dates) = (settings.zone()?, DateQuery::new(&settings)?);
        Ok(Self { free: open(&free)?, exact: open(&exact)?, plain, dates, zone, settings })
    }

    /// The list with its cursors taken for encoded already, or not; `None` in a style without cursors of the upstream.
    pub(crate) fn encoded(&self, endpoint: &Endpoint, encoded: bool) -> Option<PagedJson> {
        let mut settings = self.settings.clone();
        settings.next.ends.more = None;
        settings.next.ends.done = None;
        let StyleSettings::Cursor(style) = &mut settings.next.style else { return None };
        style.encoded = Some(encoded);
        PagedJson::new(&endpoint.base_url, &endpoint.credentials, &settings).ok()
    }

    /// What stands in an answer; `None` if it has no list of records.
    pub(crate) fn look(&self, exchange: &Exchange, cursor: Option<&str>) -> Option<Look> {
        let body = exchange.body.as_deref()?;
        let text = std::str::from_utf8(body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body)).ok()?;
        let answer = if text.trim().is_empty() {
            self.plain.shape.empty(&exchange.headers)
        } else {
            self.plain.shape.split(text, &exchange.headers, usize::MAX).ok()?
        };
        let mut look = Look {
            total: answer.named_total(),
            pages: answer.pages(),
            more: answer.more().ok().flatten(),
            ..Look::default()
        };
        for (_, found) in answer.each() {
            let part = self.plain.shape.part(found);
            look.ids.push(part.key().unwrap_or_default());
            look.times.push(part.time().ok().flatten());
            look.written.push(part.written_time().map(ToOwned::to_owned));
        }
        if answer.list == Listed::Absent && look.total != Some(0) {
            return None;
        }
        let page = Page {
            answer: &answer,
            headers: &exchange.headers,
            from: &exchange.url,
            asked: &exchange.url,
            cursor,
            walk: &Walk::NEW,
            more: None,
            fresh: look.ids.len(),
            complete: false,
            secrets: self.free.requests.secrets(),
        };
        look.next = match self.free.requests.style().follow(&page) {
            Ok(Follow::Next(next)) => Some(next),
            Ok(Follow::End | Follow::Nothing { .. }) | Err(_) => None,
        };
        Some(look)
    }

    /// Whether pages are counted.
    pub(crate) fn is_counted(&self) -> bool {
        self.free.requests.style().traits().counted
    }

    /// How many records a page is asked for with.
    pub(crate) fn size(&self) -> Option<usize> {
        usize::try_from(self.settings.page_size.as_ref()?.size).ok()
    }

    /// The cursor of the page that begins so many records and pages behind the first one; `None` where pages are not counted.
    pub(crate) fn far(&self, records: u64, pages: u64) -> Option<String> {
        match &self.settings.next.style {
            StyleSettings::PageNumber(style) => Some(style.first.saturating_add(pages).to_string()),
            StyleSettings::Offset(_) => Some(records.to_string()),
            StyleSettings::NextUrl(_)
            | StyleSettings::LinkHeader(_)
            | StyleSettings::Cursor(_)
            | StyleSettings::LastId(_) => None,
        }
    }

    /// The cursor of the page before the first one, where pages have numbers and it can have one.
    pub(crate) fn before_first(&self) -> Option<String> {
        let StyleSettings::PageNumber(style) = &self.settings.next.style else { return None };
        style.first.checked_sub(1).map(|before| before.to_string())
    }

    /// Whether a lower bound can be sent.
    pub(crate) fn has_lower_bound(&self) -> bool {
        self.dates.has_lower_bound()
    }

    /// Whether an upper bound can be sent.
    pub(crate) fn has_upper_bound(&self) -> bool {
        self.dates.has_upper_bound()
    }

    /// Whether a job without a lower bound sends none.
    pub(crate) fn sends_nothing_unbounded(&self) -> bool {
        let start = self.settings.dates.as_ref().and_then(|dates| dates.start.as_ref());
        self.has_lower_bound() && !matches!(start, Some(Start::At(_)))
    }

    /// What is sent for a lower bound at this moment, if it had no margin.
    pub(crate) fn sent(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        if self.is_daily() {
            return self.zone.midnight(moment);
        }
        let unit = self.dates.unit().num_seconds().max(1);
        DateTime::from_timestamp(moment.timestamp().div_euclid(unit) * unit, 0).unwrap_or(moment)
    }

    /// The day of a moment begins then.
    pub(crate) fn midnight(&self, moment: DateTime<Utc>) -> DateTime<Utc> {
        self.zone.midnight(moment)
    }

    /// Whether bounds are asked for as days.
    pub(crate) fn is_daily(&self) -> bool {
        self.dates.unit() >= TimeDelta::days(1)
            || self.settings.dates.as_ref().is_some_and(|dates| dates.whole_days)
    }

    /// The finest that bounds can tell apart, and the margin that is in force.
    pub(crate) fn unit_and_margin(&self) -> (TimeDelta, TimeDelta) {
        (self.dates.unit(), self.dates.margin())
    }

    /// Whether the clock of what is sent may be another than ours.
    pub(crate) fn may_be_shifted(&self) -> bool {
        self.dates.may_be_shifted()
    }

    /// The times that are written so, if all of them can be read.
    pub(crate) fn read_as(&self, written: &[&str], format: &str) -> Option<Vec<DateTime<Utc>>> {
        let format = TimeFormat::parse(format).ok()?;
        written.iter().map(|json| format.read(json, &self.zone)).collect()
    }

    /// Whether this is read as another moment on another clock, so that it has no offset of its own.
    pub(crate) fn has_no_offset(&self, json: &str) -> bool {
        let (Ok(format), Ok(far)) = (self.settings.records.format(), Zone::named("Etc/GMT-14")) else {
            return false;
        };
        let (here, there) = (format.read(json, &self.zone), format.read(json, &far));
        here.is_some() && here != there
    }
}
