//! Reads RFC 3339 and its relatives: ISO 8601 as upstreams write it.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::zone::Zone;

/// A date, and perhaps a time and an offset. What has no offset is by the zone's clock, a date alone is its midnight.
pub(super) fn read(text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
    let mut rest = Digits(text.as_bytes());
    let year = rest.take(4)?;
    let dashes = rest.pass(b'-');
    let month = rest.take(2)?;
    if dashes != rest.pass(b'-') {
        return None;
    }
    let day = rest.take(2)?;
    let date = NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, month, day)?;
    if rest.0.is_empty() {
        // Without dashes it may as well be a number.
        return zone.moment(date.and_time(NaiveTime::MIN)).filter(|_| dashes);
    }
    if !(rest.pass(b'T') || rest.pass(b't') || rest.spaces()) {
        return None;
    }
    let (time, beyond) = time(&mut rest)?;
    let clock = date.and_time(time).checked_add_signed(beyond)?;
    rest.spaces();
    if rest.0.is_empty() {
        return zone.moment(clock);
    }
    Some(clock.checked_sub_signed(offset(&mut rest)?)?.and_utc()).filter(|_| rest.0.is_empty())
}

/// The time of day, and what it goes beyond its day or minute by: 24:00 is the next day's beginning, and a leap second the
/// next minute's.
fn time(rest: &mut Digits<'_>) -> Option<(NaiveTime, TimeDelta)> {
    let hour = rest.take(2)?;
    let colons = rest.pass(b':');
    let minute = rest.take(2)?;
    let has_second = if colons { rest.pass(b':') } else { rest.0.first().is_some_and(u8::is_ascii_digit) };
    let second = if has_second { rest.take(2)? } else { 0 };
    let nanos = if has_second && (rest.pass(b'.') || rest.pass(b',')) { rest.fraction()? } else { 0 };
    match (hour, minute, second, nanos) {
        (24, 0, 0, 0) => Some((NaiveTime::MIN, TimeDelta::days(1))),
        (_, _, 60, _) => {
            Some((NaiveTime::from_hms_nano_opt(hour, minute, 59, nanos)?, TimeDelta::seconds(1)))
        }
        _ => Some((NaiveTime::from_hms_nano_opt(hour, minute, second, nanos)?, TimeDelta::zero())),
    }
}

/// `Z`, `UTC`, `GMT`, or hours and perhaps minutes with a sign.
pub(super) fn offset(rest: &mut Digits<'_>) -> Option<TimeDelta> {
    for utc in ["UTC", "GMT", "UT", "Z"] {
        if rest.0.get(..utc.len()).is_some_and(|word| word.eq_ignore_ascii_case(utc.as_bytes())) {
            rest.0 = rest.0.get(utc.len()..)?;
            return Some(TimeDelta::zero());
        }
    }
    let east = rest.pass(b'+');
    if !east && !rest.pass(b'-') && !rest.minus_sign() {
        return None;
    }
    let hours = rest.take(2)?;
    let colon = rest.pass(b':');
    let minutes = if colon || rest.0.first().is_some_and(u8::is_ascii_digit) { rest.take(2)? } else { 0 };
    let offset = TimeDelta::minutes(i64::from(hours * 60 + minutes));
    (hours < 24 && minutes < 60).then_some(if east { offset } else { -offset })
}

/// What is left of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Digits<'t>(pub(super) &'t [u8]);

impl Digits<'_> {
    /// So many digits.
    pub(super) fn take(&mut self, count: usize) -> Option<u32> {
        let digits = self.0.get(..count).filter(|digits| digits.iter().all(u8::is_ascii_digit))?;
        self.0 = self.0.get(count..)?;
        std::str::from_utf8(digits).ok()?.parse().ok()
    }

    /// As many digits as there are, from one to so many.
    pub(super) fn up_to(&mut self, most: usize) -> Option<u32> {
        let count = self.0.iter().take(most).take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 { None } else { self.take(count) }
    }

    /// A fraction of a second, in nanoseconds; what is finer is cut off.
    pub(super) fn fraction(&mut self) -> Option<u32> {
        let count = self.0.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let nanos =
            self.0.iter().take(count.min(9)).fold(0, |nanos, digit| nanos * 10 + u32::from(digit - b'0'));
        self.0 = self.0.get(count..)?;
        let missing = u32::try_from(9 - count.min(9)).ok()?;
        (count > 0).then(|| nanos * 10_u32.pow(missing))
    }

    /// Goes past this byte, if it is here.
    pub(super) fn pass(&mut self, byte: u8) -> bool {
        let here = self.0.first() == Some(&byte);
        if here {
            self.0 = self.0.get(1..).unwrap_or_default();
        }
        here
    }

    /// Goes past blanks, if any are here.
    pub(super) fn spaces(&mut self) -> bool {
        let mut any = false;
        while self.pass(b' ') {
            any = true;
        }
        any
    }

    /// ISO 8601 knows the true minus sign, too.
    fn minus_sign(&mut self) -> bool {
        let sign = "−".as_bytes();
        let here = self.0.starts_with(sign);
        if here {
            self.0 = self.0.get(sign.len()..).unwrap_or_default();
        }
        here
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn utc(text: &str) -> Option<DateTime<Utc>> {
        read(text, &Zone::default())
    }

    #[test]
    fn times_are_read_in_every_form() {
        let five = Some("2013-01-01T05:00:00Z".parse().unwrap());
        for text in [
            "2013-01-01T05:00:00Z",
            "2013-01-01T00:00:00-05:00",
            "2013-01-01 05:00:00+00:00",
            "2013-01-01 05:00:00",
            "2013-01-01T05:00:00.000",
            "2013-01-01T05:00:00.000+0000",
            "2013-01-01T05:00:00,0Z",
            "2013-01-01T05:00:00+00",
            "2013-01-01 05:00:00 UTC",
            "2013-01-01 05:00:00 GMT",
            "2013-01-01 06:00:00 +0100",
            "2013-01-01  05:00:00",
            "2013-01-01T10:30:00+05:30",
            "2013-01-01t05:00:00z",
            "2013-01-01T05:00",
            "2013-01-01T05:00Z",
            "20130101T050000Z",
            "20130101T0500Z",
            "2013-01-01T00:00:00−05:00",
            "2013-01-01T05:00:00.000000000999",
        ] {
            assert_eq!(utc(text), five, "{text}");
        }
        assert_eq!(utc("2013-01-01"), Some("2013-01-01T00:00:00Z".parse().unwrap()));
        assert_eq!(utc("2013-01-01T24:00:00Z"), utc("2013-01-02"));
        assert_eq!(utc("2016-12-31T23:59:60Z"), utc("2017-01-01"));
        assert_eq!(utc("2013-01-01T05:00:00.5Z"), Some("2013-01-01T05:00:00.500Z".parse().unwrap()));
        for text in [
            "",
            "soon",
            "2013-13-01",
            "2013-02-29",
            "20130101",
            "1357016400",
            "2013-1-1",
            "2013-0101",
            "2013-01-01T",
            "2013-01-01T5:00",
            "2013-01-01T25:00:00",
            "2013-01-01T24:00:01",
            "2013-01-01T05:00:00.",
            "2013-01-01T05:00:00 EST",
            "2013-01-01T05:00:00+1",
            "2013-01-01T05:00:00+25:00",
            "2013-01-01T05:00:00Zebra",
            "-2013-01-01",
            "+02013-01-01",
        ] {
            assert_eq!(utc(text), None, "{text}");
        }
    }

    #[test]
    fn what_has_no_offset_is_by_the_zones_clock() {
        let berlin = Zone::named("Europe/Berlin").unwrap();
        for (text, moment) in [
            ("2024-07-01 12:00:00", "2024-07-01T10:00:00Z"),
            ("2024-07-01", "2024-06-30T22:00:00Z"),
            ("2024-07-01T12:00:00Z", "2024-07-01T12:00:00Z"),
            ("2024-07-01T12:00:00-02:00", "2024-07-01T14:00:00Z"),
        ] {
            assert_eq!(read(text, &berlin), Some(moment.parse().unwrap()), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn what_is_rfc_3339_is_read_as_the_library_reads_it(seconds in -62_000_000_000_i64..253_000_000_000, nanos in 0_u32..1_000_000_000, offset in -86_399_i32..86_399) {
            let offset = chrono::FixedOffset::east_opt(offset / 60 * 60).unwrap();
            let moment = DateTime::from_timestamp(seconds, nanos).unwrap().with_timezone(&offset);
            proptest::prop_assert_eq!(utc(&moment.to_rfc3339()), Some(moment.to_utc()));
        }
    }
}
