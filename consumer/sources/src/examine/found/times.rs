//! How times are written, and by which clock.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use serde_json::json;

use super::{at, finding, length};
use crate::error::quote;
use crate::examine::evidence::{Evidence, Sight};
use crate::examine::finding::{Finding, FindingKind};
use crate::examine::plan::FARTHEST_CLOCK;
use crate::paged_json::Lens;

/// Formats that upstreams use.
const FORMATS: [&str; 21] = [
    "rfc3339",
    "unix",
    "unix_ms",
    "unix_us",
    "unix_ns",
    "rfc2822",
    "%d/%m/%Y %H:%M:%S",
    "%m/%d/%Y %H:%M:%S",
    "%d/%m/%Y %H:%M",
    "%m/%d/%Y %H:%M",
    "%d/%m/%Y %I:%M %p",
    "%m/%d/%Y %I:%M %p",
    "%m/%d/%Y %I:%M:%S %p",
    "%d/%m/%Y",
    "%m/%d/%Y",
    "%Y/%m/%d %H:%M:%S",
    "%Y/%m/%d",
    "%d.%m.%Y %H:%M:%S",
    "%d.%m.%Y %H:%M",
    "%d.%m.%Y",
    "%Y%m%d%H%M%S",
];
/// Clocks that differ by less agree.
const SLACK: TimeDelta = TimeDelta::minutes(10);

/// Formats in which all times of a page can be read, to moments that make sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::examine) struct Format {
    /// Those that give different moments.
    pub(in crate::examine) fitting: Vec<&'static str>,
    /// A time, as it is written.
    example: String,
    /// What is made of it by the settings, if anything.
    read_as: Option<DateTime<Utc>>,
}

/// The format of a page's times, if the settings read none of them as a moment that makes sense.
pub(in crate::examine) fn detect(lens: &Lens, page: &Sight, now: DateTime<Utc>) -> Option<Format> {
    let look = page.look.as_ref()?;
    let written: Vec<&str> = look.written.iter().flatten().map(String::as_str).collect();
    let example = (*written.first()?).to_owned();
    let sensible = |moment: &DateTime<Utc>| (1980..=now.year() + 20).contains(&moment.year());
    if look.times.iter().flatten().any(&sensible) {
        return None;
    }
    let mut readings: Vec<(&'static str, Vec<DateTime<Utc>>)> = Vec::new();
    for format in FORMATS {
        let Some(moments) = lens.read_as(&written, format) else { continue };
        if moments.iter().all(&sensible) && !readings.iter().any(|(_, known)| *known == moments) {
            readings.push((format, moments));
        }
    }
    let fitting: Vec<_> = readings.into_iter().map(|(format, _)| format).collect();
    (!fitting.is_empty()).then_some(Format {
        fitting,
        example,
        read_as: look.times.iter().flatten().next().copied(),
    })
}

pub(super) fn format(evidence: &Evidence<'_>) -> Option<Finding> {
    let Format { fitting, example, read_as } = evidence.time_format.as_ref()?;
    let seen = match read_as {
        Some(moment) => format!("{}, which the settings read as {}", quote(example), at(*moment)),
        None => format!("{}, which the settings cannot read", quote(example)),
    };
    let [format] = fitting.as_slice() else {
        let means = format!(
            "every time on the page can be read as any of {}: the upstream's documentation tells which; set \
             records.time_format to it",
            fitting.join(", ")
        );
        return Some(finding(FindingKind::TimeFormat, "the first page", seen, means));
    };
    let means = format!("every time on the page can be read as {format}");
    let settings = evidence.patch([json!({"records": {"time_format": format}})]);
    Some(Finding { settings, ..finding(FindingKind::TimeFormat, "the first page", seen, means) })
}

/// Records of the future, although the list was asked for up to now: their clock is ahead.
pub(super) fn clock(evidence: &Evidence<'_>) -> Option<Finding> {
    let lens = evidence.lens?;
    let look = evidence.first.look.as_ref()?;
    let dated = look
        .times
        .iter()
        .zip(&look.written)
        .filter_map(|(time, written)| Some((*time)?).zip(written.as_ref()));
    let (newest, written) = dated.max_by_key(|(time, _)| *time)?;
    let ahead = newest - evidence.now;
    if !lens.has_upper_bound()
        || evidence.span.to > evidence.now + SLACK
        || ahead <= SLACK
        || ahead > FARTHEST_CLOCK
        || !lens.has_no_offset(written)
    {
        return None;
    }
    let seen = format!("a record of {}, which is {} from now", quote(written), length(ahead));
    let means = "times without an offset are by a clock that is ahead of UTC: set dates.zone to the zone of the account, such as \
                 Europe/Berlin";
    Some(finding(FindingKind::ClockAhead, "the list up to now", seen, means))
}
