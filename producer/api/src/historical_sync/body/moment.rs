//! Moments as ISO 8601 writes them, in its basic and its extended format.
//!
//! A date is a day of a month, of a week or of a year, or the first day of a month or a week (`2026-01`, `2026-W05`). After
//! `T` or a space a time may follow, down to hours, minutes or seconds, the last of them with a fraction; without one it is
//! the day's first moment. Without an offset it is UTC. A bare year is none: a number that was sent by mistake looks the
//! same.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc, Weekday};

/// The moment that a text names, if it names one.
pub(super) fn read(text: &str) -> Option<DateTime<Utc>> {
    // The standard's own minus sign.
    let text = text.replace('\u{2212}', "-");
    let Some((date, time)) = text.split_once(['T', 't', ' ']) else {
        return Some(day(&text)?.and_time(NaiveTime::MIN).and_utc());
    };
    let (time, offset) = time.split_at_checked(time.find(['Z', 'z', '+', '-']).unwrap_or(time.len()))?;
    let midnight = day(date)?.and_time(NaiveTime::MIN).and_utc();
    midnight.checked_add_signed(since_midnight(time)?)?.checked_sub_signed(east_of_utc(offset)?)
}

fn day(text: &str) -> Option<NaiveDate> {
    let (year, rest) = text.split_at_checked(4)?;
    let year = number(year, 4)?;
    match rest.split_once('-') {
        Some(("", rest)) => match rest.split_once('-') {
            Some((part, day)) => match week(part) {
                Some(week) => of_week(year, week, day),
                None => of_month(year, part, day),
            },
            None => match week(rest) {
                Some(week) => of_week(year, week, "1"),
                None if rest.len() == 2 => of_month(year, rest, "01"),
                None => of_year(year, rest),
            },
        },
        Some(_) => None,
        None => match week(rest) {
            Some(rest) if rest.len() == 2 => of_week(year, rest, "1"),
            Some(rest) => rest.split_at_checked(2).and_then(|(week, day)| of_week(year, week, day)),
            None if rest.len() == 3 => of_year(year, rest),
            None => rest.split_at_checked(2).and_then(|(month, day)| of_month(year, month, day)),
        },
    }
}

/// What follows the letter of a week.
fn week(text: &str) -> Option<&str> {
    text.strip_prefix(['W', 'w'])
}

fn of_month(year: i32, month: &str, day: &str) -> Option<NaiveDate> {
    NaiveDate::from_ymd_opt(year, number(month, 2)?, number(day, 2)?)
}

fn of_year(year: i32, day: &str) -> Option<NaiveDate> {
    NaiveDate::from_yo_opt(year, number(day, 3)?)
}

fn of_week(year: i32, week: &str, day: &str) -> Option<NaiveDate> {
    let day = number::<u8>(day, 1)?.checked_sub(1)?;
    NaiveDate::from_isoywd_opt(year, number(week, 2)?, Weekday::try_from(day).ok()?)
}

/// `24:00` is the next day's first moment, and a leap second is the one after it.
fn since_midnight(text: &str) -> Option<TimeDelta> {
    let (whole, fraction) = match text.split_once(['.', ',']) {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (text, None),
    };
    let (hours, minutes, seconds, last) = match *pairs(whole)?.as_slice() {
        [hours] => (hours, 0, 0, 3600),
        [hours, minutes] => (hours, minutes, 0, 60),
        [hours, minutes, seconds] => (hours, minutes, seconds, 1),
        _ => return None,
    };
    let part = fraction.map_or(Some(TimeDelta::zero()), |fraction| part_of(fraction, last))?;
    let time = TimeDelta::seconds(hours * 3600 + minutes * 60 + seconds) + part;
    let fits = hours <= 24 && minutes < 60 && seconds <= 60 && (hours < 24 || time == TimeDelta::days(1));
    fits.then_some(time)
}

/// A decimal fraction of so many seconds. What is smaller than a billionth is left out.
fn part_of(fraction: &str, seconds: i32) -> Option<TimeDelta> {
    if fraction.is_empty() || !fraction.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let billionths: String = fraction.chars().chain(std::iter::repeat('0')).take(9).collect();
    Some(TimeDelta::nanoseconds(billionths.parse().ok()?) * seconds)
}

fn east_of_utc(text: &str) -> Option<TimeDelta> {
    if text.is_empty() || text.eq_ignore_ascii_case("z") {
        return Some(TimeDelta::zero());
    }
    let (hours, minutes) = match *pairs(text.get(1..)?)?.as_slice() {
        [hours] => (hours, 0),
        [hours, minutes] => (hours, minutes),
        _ => return None,
    };
    let offset = TimeDelta::minutes(hours * 60 + minutes);
    match text.get(..1)? {
        _ if hours > 23 || minutes > 59 => None,
        "+" => Some(offset),
        "-" => Some(-offset),
        _ => None,
    }
}

/// Numbers of two digits each, with a colon between any two or none at all.
fn pairs(text: &str) -> Option<Vec<i64>> {
    if text.contains(':') {
        return text.split(':').map(|pair| number(pair, 2)).collect();
    }
    (0..text.len()).step_by(2).map(|at| number(text.get(at..at + 2)?, 2)).collect()
}

/// A number of exactly so many digits.
fn number<N: std::str::FromStr>(text: &str, digits: usize) -> Option<N> {
    let all = text.len() == digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if all { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::SecondsFormat;

    fn shown(text: &str) -> Option<String> {
        read(text).map(|moment| moment.to_rfc3339_opts(SecondsFormat::AutoSi, true))
    }

    #[test]
    fn every_common_form_is_read() {
        const DAY: &str = "2024-01-31T00:00:00Z";
        const QUARTER: &str = "2024-01-31T10:15:00Z";
        for (text, moment) in [
            ("2024-01-31", DAY),
            ("20240131", DAY),
            ("2024-031", DAY),
            ("2024031", DAY),
            ("2024-W05-3", DAY),
            ("2024W053", DAY),
            ("2024-w05-3", DAY),
            ("2024-01", "2024-01-01T00:00:00Z"),
            ("2024-W05", "2024-01-29T00:00:00Z"),
            ("2024W05", "2024-01-29T00:00:00Z"),
            // Weeks have years of their own.
            ("2020-W53-7", "2021-01-03T00:00:00Z"),
            ("2025-W01-1", "2024-12-30T00:00:00Z"),
            ("2024-366", "2024-12-31T00:00:00Z"),
            ("2024-02-29", "2024-02-29T00:00:00Z"),
            ("2024-01-31T10:15:00Z", QUARTER),
            ("2024-01-31T10:15:00", QUARTER),
            ("2024-01-31T10:15", QUARTER),
            ("2024-01-31T10:15Z", QUARTER),
            ("2024-01-31t10:15:00z", QUARTER),
            ("2024-01-31 10:15:00", QUARTER),
            ("2024-01-31 10:15:00+00:00", QUARTER),
            ("20240131T101500Z", QUARTER),
            ("20240131T101500", QUARTER),
            ("20240131T1015Z", QUARTER),
            ("20240131t1015", QUARTER),
            ("2024031T101500Z", QUARTER),
            ("2024-W05-3T10:15Z", QUARTER),
            ("2024W053T1015Z", QUARTER),
            ("2024-01-31T10:15:00+0000", QUARTER),
            ("2024-01-31T10:15:00+00", QUARTER),
            ("2024-01-31T10:15:00-00:00", QUARTER),
            ("20240131T111500+0100", QUARTER),
            ("2024-01-31T11:15+01", QUARTER),
            ("2024-01-31T04:45:00-05:30", QUARTER),
            ("2024-01-31T04:45:00\u{2212}05:30", QUARTER),
            ("2024-02-01T10:14:00+23:59", QUARTER),
            ("2024-01-31T10:15:00.000Z", QUARTER),
            ("2024-01-31T10.25Z", QUARTER),
            ("2024-01-31T10,25", QUARTER),
            ("20240131T10.25+0000", QUARTER),
            ("2024-01-31T10Z", "2024-01-31T10:00:00Z"),
            ("2024-01-31T10:15:00.5Z", "2024-01-31T10:15:00.500Z"),
            ("2024-01-31T10:15:00,5Z", "2024-01-31T10:15:00.500Z"),
            ("2024-01-31T10:15,5", "2024-01-31T10:15:30Z"),
            ("20240131T101500,123456Z", "2024-01-31T10:15:00.123456Z"),
            ("2024-01-31T10:15:00.123456789123Z", "2024-01-31T10:15:00.123456789Z"),
            ("2024-01-31T24:00:00Z", "2024-02-01T00:00:00Z"),
            ("20240131T24", "2024-02-01T00:00:00Z"),
            ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
            ("1990-12-31T15:59:60-08:00", "1991-01-01T00:00:00Z"),
            ("0000-01-01", "0000-01-01T00:00:00Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
        ] {
            assert_eq!(shown(text).as_deref(), Some(moment), "{text}");
        }
    }

    #[test]
    fn nothing_else_is() {
        for text in [
            "",
            " ",
            "T",
            "Z",
            "now",
            "2024",
            "202401",
            "1706696100",
            "1706696100000",
            "24-01-31",
            "2024-1-31",
            "2024-01-1",
            "2024-13-01",
            "2024-00-10",
            "2024-02-30",
            "2023-02-29",
            "2023-366",
            "2024-000",
            "2024-W54",
            "2023-W53-1",
            "2024-W05-0",
            "2024-W05-8",
            "2024-W053",
            "2024W05-3",
            "2024-0131",
            "202401-31",
            "2024/01/31",
            "31.01.2024",
            "2024-01-31T",
            "2024-01-31TZ",
            "2024-01-31Z",
            "2024-01-31+01:00",
            "2024-01-31T1",
            "2024-01-31T101",
            "2024-01-31T10:1",
            "2024-01-31T10:15:0",
            "2024-01-31T10:15:00:00",
            "2024-01-31T1015:00",
            "2024-01-31T25:00",
            "2024-01-31T24:00:01",
            "2024-01-31T24:00:00.5",
            "2024-01-31T10:60",
            "2024-01-31T10:15:61Z",
            "2024-01-31T10:15:00.Z",
            "2024-01-31T10:15:00.5.5Z",
            "2024-01-31T10:15:00.5aZ",
            "2024-01-31T10:15:00Zz",
            "2024-01-31T10:15:00Z+01:00",
            "2024-01-31T10:15:00+24:00",
            "2024-01-31T10:15:00+00:60",
            "2024-01-31T10:15:00+1",
            "2024-01-31T10:15:00+",
            "2024-01-31T10:15:00 UTC",
            "2024-01-31T+1:+5",
            "+2024-01-31",
            "-2024-01-31",
            "２０２４-01-31",
            "2024-01-31T10:15:00Z ",
            " 2024-01-31",
            "20240131T101500Z\0",
        ] {
            assert_eq!(shown(text), None, "{text:?}");
        }
    }
}
