//! How an upstream writes times, and how it reads the bounds that it is asked with.

use super::history::Version;
use super::world::{Bounds, Dates, Format, Odd, World, Zone};
use chrono::{DateTime, NaiveDate, NaiveDateTime, Utc};
use serde_json::{Value, json};

const DAY: i64 = 86_400;
/// In a second.
const MICROS: i64 = 1_000_000;

/// The time by which a list is filtered, in seconds since 1970.
#[must_use]
pub(super) fn filtered_by(world: &World, version: &Version) -> i64 {
    if world.by_update { version.updated } else { version.created }
}

/// The time that is read of a record with the settings as they are, in seconds since 1970.
#[must_use]
pub fn read(world: &World, version: &Version) -> i64 {
    filtered_by(world, version) + world.misread()
}

/// The time of a record as its upstream writes it.
pub(super) fn written(world: &World, version: &Version) -> Value {
    match version.odd {
        Some(Odd::Timeless) => return Value::Null,
        Some(Odd::Unreadable) => return json!("the day before"),
        Some(Odd::Unstorable | Odd::Unfinished | Odd::Twice) | None => {}
    }
    let seconds = filtered_by(world, version);
    let utc = DateTime::from_timestamp(seconds, 0).unwrap_or_default();
    let local = DateTime::from_timestamp(seconds + world.zone.ahead(), 0).unwrap_or_default();
    match world.time.unwrap_or(Format::Rfc3339) {
        Format::Rfc3339 => json!(utc.format("%FT%TZ").to_string()),
        Format::Offset => {
            let local = DateTime::from_timestamp(seconds + 2 * 3600, 0).unwrap_or_default();
            json!(local.format("%F %T+0200").to_string())
        }
        Format::Bare => json!(local.format("%FT%T").to_string()),
        Format::Pattern => json!(local.format("%d/%m/%Y %T").to_string()),
        Format::Unix => json!(seconds),
        Format::UnixMs => json!(seconds * 1000),
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
}

impl Asked {
    /// What these parameters ask for; `None` if one cannot be read.
    pub(super) fn of(dates: Dates, zone: Zone, from: Option<&str>, to: Option<&str>) -> Option<Self> {
        let from = from.map(|from| first(dates, zone, from)).transpose_or()?;
        let to = to.map(|to| end(dates, zone, to)).transpose_or()?;
        Some(Self { from: from.filter(|_| !dates.ignores_from), to: to.filter(|_| !dates.ignores_to) })
    }

    pub(super) fn contains(&self, seconds: i64) -> bool {
        let at = seconds * MICROS;
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

fn first(dates: Dates, zone: Zone, text: &str) -> Option<i64> {
    Some(match dates.bounds {
        Bounds::Days | Bounds::LastDay => day(text, zone)? + if dates.after { DAY * MICROS } else { 0 },
        Bounds::WholeDays => day_of(moment(text)?, zone) + if dates.after { DAY * MICROS } else { 0 },
        Bounds::Rfc3339 => moment(text)? + i64::from(dates.after),
        Bounds::Unix => text.parse::<i64>().ok()? * MICROS + i64::from(dates.after),
        Bounds::Local => local(text, zone)? + i64::from(dates.after),
    })
}

fn end(dates: Dates, zone: Zone, text: &str) -> Option<i64> {
    Some(match dates.bounds {
        Bounds::Days => day(text, zone)? + if dates.through { DAY * MICROS } else { 0 },
        Bounds::LastDay => day(text, zone)? + DAY * MICROS,
        Bounds::WholeDays => day_of(moment(text)?, zone) + if dates.through { DAY * MICROS } else { 0 },
        Bounds::Rfc3339 => moment(text)? + i64::from(dates.through),
        Bounds::Unix => text.parse::<i64>().ok()? * MICROS + i64::from(dates.through),
        Bounds::Local => local(text, zone)? + i64::from(dates.through),
    })
}

fn moment(text: &str) -> Option<i64> {
    Some(text.parse::<DateTime<Utc>>().ok()?.timestamp_micros())
}

/// The beginning of a day by its calendar.
fn day(text: &str, zone: Zone) -> Option<i64> {
    let day = NaiveDate::parse_from_str(text, "%F").ok()?.and_hms_opt(0, 0, 0)?;
    Some((day.and_utc().timestamp() - zone.ahead()) * MICROS)
}

/// The beginning of the day that a moment is in.
fn day_of(micros: i64, zone: Zone) -> i64 {
    let local = micros.div_euclid(MICROS) + zone.ahead();
    (local.div_euclid(DAY) * DAY - zone.ahead()) * MICROS
}

fn local(text: &str, zone: Zone) -> Option<i64> {
    let local = NaiveDateTime::parse_from_str(text, "%F %T").ok()?;
    Some((local.and_utc().timestamp() - zone.ahead()) * MICROS)
}
