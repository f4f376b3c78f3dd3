//! How an upstream writes times, and how it reads the bounds that it is asked with.

use super::history::Version;
use super::world::{Bounds, Dates, Format, Odd, World, Zone};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Value, json};

/// In microseconds.
const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// The time by which a list is filtered, in milliseconds since 1970.
#[must_use]
pub(super) fn filtered_by(world: &World, version: &Version) -> i64 {
    if world.by_update { version.updated } else { version.created }
}

/// The time that is read of a record with the settings as they are, in microseconds since 1970.
#[must_use]
pub fn read(world: &World, version: &Version) -> i64 {
    let written = match world.time {
        None | Some(Format::Rfc3339 | Format::UnixMs) => filtered_by(world, version),
        Some(Format::Offset | Format::Bare | Format::Pattern | Format::Unix | Format::Rfc2822) => {
            filtered_by(world, version).div_euclid(1000) * 1000
        }
    };
    written * 1000 + world.misread() * SECOND
}

/// The time of a record as its upstream writes it.
pub(super) fn written(world: &World, version: &Version) -> Value {
    match version.odd {
        Some(Odd::Timeless) => return Value::Null,
        Some(Odd::Unreadable) => return json!("the day before"),
        Some(Odd::Unstorable | Odd::Unfinished | Odd::Twice) | None => {}
    }
    let millis = filtered_by(world, version);
    let clock = |ahead: i64| DateTime::from_timestamp_millis(millis + ahead * 1000).unwrap_or_default();
    let (utc, local) = (clock(0), clock(world.zone.ahead()));
    match world.time.unwrap_or(Format::Rfc3339) {
        Format::Rfc3339 => json!(utc.format("%FT%T%.3fZ").to_string()),
        Format::Offset => json!(clock(2 * 3600).format("%F %T+0200").to_string()),
        Format::Bare => json!(local.format("%FT%T").to_string()),
        Format::Pattern => json!(local.format("%d/%m/%Y %T").to_string()),
        Format::Unix => json!(millis.div_euclid(1000)),
        Format::UnixMs => json!(millis),
        Format::Rfc2822 => json!(utc.format("%a, %d %b %Y %T +0000").to_string()),
    }
}

/// The part of time that a request asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    /// The first microsecond that belongs to it.
    pub(super) from: Option<i64>,
    /// The first that does not.
    pub(super) to: Option<i64>,
    /// How long the span is that the parameters name; none if one of them is missing.
    length: Option<i64>,
}

impl Asked {
    /// What these parameters ask for; `None` if one cannot be read.
    pub(super) fn of(dates: Dates, zone: Zone, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        let from = from.map(|from| first(dates, zone, from)).transpose_or()?;
        let to = to.map(|to| end(dates, zone, to)).transpose_or()?;
        // Whole days count, as they belong to the span; a second more or less does not.
        let unit = Some(unit(dates.bounds)).filter(|unit| *unit < DAY).unwrap_or_default();
        let ends = unit * (i64::from(dates.after) - i64::from(dates.through));
        let length = from.zip(to).map(|(from, to)| to - from + ends);
        Some(Self {
            from: from.filter(|_| !dates.ignores_from),
            to: to.filter(|_| !dates.ignores_to),
            length,
        })
    }

    /// Whether it is longer than so many days.
    pub(super) fn is_longer_than(&self, days: Option<u32>) -> bool {
        let longest = days.map(|days| i64::from(days) * DAY);
        longest.is_some_and(|longest| self.length.is_none_or(|length| length > longest))
    }

    pub(super) fn contains(&self, millis: i64) -> bool {
        let at = millis * 1000;
        self.from.is_none_or(|from| from <= at) && self.to.is_none_or(|to| at < to)
    }
}

trait TransposeOr<T> {
    /// A bound that is there and cannot be read is an error.
    fn transpose_or(self) -> Option<Option<T>>;
}

impl<T> TransposeOr<T> for Option<Option<T>> {
    fn transpose_or(self) -> Option<Option<T>> {
        match self {
            None => Some(None),
            Some(read) => read.map(Some),
        }
    }
}

/// The unit that bounds are written in: as a whole it belongs to what is asked for, or does not.
const fn unit(bounds: Bounds) -> i64 {
    match bounds {
        Bounds::Rfc3339 => 1,
        Bounds::Unix | Bounds::Local => SECOND,
        Bounds::Days | Bounds::LastDay | Bounds::WholeDays => DAY,
    }
}

fn first(dates: Dates, zone: Zone, text: &str) -> Option<i64> {
    let bound = bound(dates.bounds, zone, text)?;
    Some(if dates.after { bound + unit(dates.bounds) } else { bound })
}

fn end(dates: Dates, zone: Zone, text: &str) -> Option<i64> {
    let bound = bound(dates.bounds, zone, text)?;
    let through = dates.through || dates.bounds == Bounds::LastDay;
    Some(if through { bound + unit(dates.bounds) } else { bound })
}

/// The beginning of the unit that a bound names, in microseconds since 1970.
fn bound(bounds: Bounds, zone: Zone, text: &str) -> Option<i64> {
    let by_its_clock = |local: NaiveDateTime| local.and_utc().timestamp_micros() - zone.ahead() * SECOND;
    Some(match bounds {
        Bounds::Days | Bounds::LastDay => {
            by_its_clock(NaiveDate::parse_from_str(text, "%F").ok()?.and_hms_opt(0, 0, 0)?)
        }
        Bounds::WholeDays => {
            let local = text.parse::<DateTime<Utc>>().ok()?.timestamp_micros() + zone.ahead() * SECOND;
            local.div_euclid(DAY) * DAY - zone.ahead() * SECOND
        }
        Bounds::Rfc3339 => text.parse::<DateTime<Utc>>().ok()?.timestamp_micros(),
        Bounds::Unix => text.parse::<i64>().ok()? * SECOND,
        Bounds::Local => by_its_clock(NaiveDateTime::parse_from_str(text, "%F %T").ok()?),
    })
}
