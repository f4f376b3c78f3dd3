//! Reads moments by a pattern.

use chrono::{DateTime, NaiveDate, NaiveTime, TimeDelta, Utc};

use super::super::iso::{Digits, offset};
use super::super::zone::Zone;
use super::{DAYS, MONTHS, Part, Pattern, Piece};

impl Pattern {
    /// The moment that a text stands for. What has no offset is by the zone's clock.
    pub(in crate::paged_json::time) fn read(&self, text: &str, zone: &Zone) -> Option<DateTime<Utc>> {
        let mut rest = Digits(text.as_bytes());
        let mut found = Found::default();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => pass_text(&mut rest, text)?,
                Piece::Part(part, _) => part.read(&mut rest, &mut found)?,
            }
        }
        if !rest.0.is_empty() {
            return None;
        }
        found.moment(self.clock(zone))
    }
}

/// Goes past a pattern's text. Blanks in a row are as one, and stand for one or more.
fn pass_text(rest: &mut Digits<'_>, text: &str) -> Option<()> {
    let mut blank = false;
    for byte in text.bytes() {
        let passed = match byte {
            b' ' => blank || rest.spaces(),
            byte => rest.pass(byte),
        };
        blank = byte == b' ';
        passed.then_some(())?;
    }
    Some(())
}

impl Part {
    fn read(self, rest: &mut Digits<'_>, found: &mut Found) -> Option<()> {
        match self {
            Self::Year => found.year = Some(i32::try_from(rest.take(4)?).ok()?),
            Self::YearOfCentury => {
                let year = i32::try_from(rest.take(2)?).ok()?;
                found.year = Some(if year < 69 { 2000 + year } else { 1900 + year });
            }
            Self::Month => found.month = Some(rest.up_to(2)?),
            Self::MonthName | Self::MonthShort => found.month = Some(named(rest, &MONTHS)? + 1),
            Self::Day => {
                // Some write a blank for the zero.
                rest.spaces();
                found.day = Some(rest.up_to(2)?);
            }
            Self::DayOfYear => found.day_of_year = Some(rest.up_to(3)?),
            // The date says it.
            Self::WeekdayName | Self::WeekdayShort => drop(named(rest, &DAYS)?),
            Self::Hour => found.hour = Some(rest.up_to(2)?),
            Self::HourOfHalf => {
                found.hour_of_half = Some(rest.up_to(2).filter(|hour| (1..=12).contains(hour))?);
            }
            Self::Half => found.afternoon = Some(half(rest)?),
            Self::Minute => found.minute = rest.up_to(2)?,
            Self::Second => found.second = rest.up_to(2)?,
            Self::Fraction(_) => found.nanos = rest.fraction()?,
            Self::PointFraction => {
                if rest.pass(b'.') {
                    found.nanos = rest.fraction()?;
                }
            }
            Self::Offset | Self::ColonOffset | Self::ZoneName => found.offset = Some(offset(rest)?),
            Self::Epoch => {
                let negative = rest.pass(b'-');
                let seconds = i64::from(rest.up_to(10)?);
                found.epoch = Some(if negative { -seconds } else { seconds });
            }
        }
        Some(())
    }
}

/// Which of these names comes here, whole or its first three letters, in whatever case.
fn named(rest: &mut Digits<'_>, names: &[&str]) -> Option<u32> {
    let letters = rest.0.iter().take_while(|byte| byte.is_ascii_alphabetic()).count();
    let word = std::str::from_utf8(rest.0.get(..letters)?).ok()?;
    let is = |name: &&str| {
        name.eq_ignore_ascii_case(word) || name.get(..3).is_some_and(|short| short.eq_ignore_ascii_case(word))
    };
    let index = names.iter().position(is)?;
    rest.0 = rest.0.get(letters..)?;
    u32::try_from(index).ok()
}

/// Whether it is the afternoon.
fn half(rest: &mut Digits<'_>) -> Option<bool> {
    let word = rest.0.get(..2)?;
    let afternoon = word.eq_ignore_ascii_case(b"PM");
    if !afternoon && !word.eq_ignore_ascii_case(b"AM") {
        return None;
    }
    rest.0 = rest.0.get(2..)?;
    Some(afternoon)
}

/// What was read.
#[derive(Debug, Default)]
struct Found {
    year: Option<i32>,
    month: Option<u32>,
    day: Option<u32>,
    day_of_year: Option<u32>,
    hour: Option<u32>,
    hour_of_half: Option<u32>,
    afternoon: Option<bool>,
    minute: u32,
    second: u32,
    nanos: u32,
    offset: Option<TimeDelta>,
    epoch: Option<i64>,
}

impl Found {
    fn moment(&self, zone: &Zone) -> Option<DateTime<Utc>> {
        if let Some(seconds) = self.epoch {
            return DateTime::from_timestamp(seconds, self.nanos);
        }
        let date = match self.day_of_year {
            Some(day) => NaiveDate::from_yo_opt(self.year?, day)?,
            None => NaiveDate::from_ymd_opt(self.year?, self.month.unwrap_or(1), self.day.unwrap_or(1))?,
        };
        let hour = match (self.hour, self.hour_of_half, self.afternoon) {
            (Some(hour), ..) => hour,
            (None, Some(hour), Some(afternoon)) => hour % 12 + if afternoon { 12 } else { 0 },
            (None, ..) => 0,
        };
        // A leap second is the next minute's beginning.
        let (second, leap) = if self.second == 60 { (59, 1) } else { (self.second, 0) };
        let time = NaiveTime::from_hms_nano_opt(hour, self.minute, second, self.nanos)?;
        let clock = date.and_time(time).checked_add_signed(TimeDelta::seconds(leap))?;
        match self.offset {
            Some(offset) => Some(clock.checked_sub_signed(offset)?.and_utc()),
            None => zone.moment(clock),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pattern: &str, text: &str, zone: &str) -> Option<String> {
        let moment = Pattern::to_read(pattern).unwrap().read(text, &Zone::named(zone).unwrap());
        moment.map(|moment| moment.to_rfc3339_opts(chrono::SecondsFormat::AutoSi, true))
    }

    #[test]
    fn moments_are_read_by_every_directive() {
        for (pattern, text, moment) in [
            ("%Y-%m-%d %H:%M:%S", "2024-01-05 15:04:09", "2024-01-05T15:04:09Z"),
            ("%Y-%m-%dT%H:%M:%S.%fZ", "2024-01-05T15:04:09.5Z", "2024-01-05T15:04:09.500Z"),
            ("%FT%T%.f%z", "2024-01-05T15:04:09.050+0100", "2024-01-05T14:04:09.050Z"),
            ("%FT%T%.f%z", "2024-01-05T15:04:09+01:00", "2024-01-05T14:04:09Z"),
            ("%FT%T%z", "2024-01-05T15:04:09Z", "2024-01-05T15:04:09Z"),
            ("%FT%T%:z", "2024-01-05T15:04:09-08", "2024-01-05T23:04:09Z"),
            ("%m/%d/%Y %I:%M %p", "1/5/2024 3:04 PM", "2024-01-05T15:04:00Z"),
            ("%m/%d/%Y %I:%M %p", "01/05/2024 12:30 am", "2024-01-05T00:30:00Z"),
            ("%A, %d %B %Y", "Friday,  5 January 2024", "2024-01-05T00:00:00Z"),
            ("%a %b %d %H:%M:%S %Y", "Fri Jan  5 15:04:09 2024", "2024-01-05T15:04:09Z"),
            ("%Y%j", "2024005", "2024-01-05T00:00:00Z"),
            ("%B %Y", "September 2024", "2024-09-01T00:00:00Z"),
            ("%b %Y", "Sept 2024", ""),
            ("%d.%m.%y", "05.01.68", "2068-01-05T00:00:00Z"),
            ("%d.%m.%y", "05.01.69", "1969-01-05T00:00:00Z"),
            ("%F %T %Z", "2024-01-05 15:04:09 GMT", "2024-01-05T15:04:09Z"),
            ("%F %T %Z", "2024-01-05 15:04:09 EST", ""),
            ("%F %T", "2024-01-05 15:04:60", "2024-01-05T15:05:00Z"),
            ("%s", "1704467049", "2024-01-05T15:04:09Z"),
            ("%s.%f", "1704467049.05", "2024-01-05T15:04:09.050Z"),
            ("%s", "-1", "1969-12-31T23:59:59Z"),
            ("%F", "2024-01-05x", ""),
            ("%F %T", "2024-01-0515:04:09", ""),
            ("%F", "2024-02-30", ""),
            ("%Y%m%d", "20240105", "2024-01-05T00:00:00Z"),
        ] {
            let moment = Some(moment.to_owned()).filter(|moment| !moment.is_empty());
            assert_eq!(read(pattern, text, "UTC"), moment, "{pattern}: {text}");
        }
        assert_eq!(
            read("%F %T", "2024-07-01 12:00:00", "Europe/Berlin").as_deref(),
            Some("2024-07-01T10:00:00Z")
        );
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(seconds in -10_000_000_000_i64..100_000_000_000, micros in 0_u32..1_000_000, which in 0_usize..5) {
            let pattern = ["%Y-%m-%dT%H:%M:%S.%f%z", "%d %B %Y %I:%M:%S.%f %p %:z", "%Y %j %H:%M:%S%.f%z", "%a %b %d %H:%M:%S.%6f %Y %z", "%F %T.%fZ"][which];
            let zone = Zone::named("America/St_Johns").unwrap();
            let moment = DateTime::from_timestamp(seconds, micros * 1000).unwrap();
            // Offsets of long ago have seconds, which nobody writes.
            if zone.offset(moment).num_seconds() % 60 == 0 {
                let pattern = Pattern::to_read(pattern).unwrap();
                proptest::prop_assert_eq!(pattern.read(&pattern.write(moment, &zone), &zone), Some(moment));
            }
        }
    }
}
