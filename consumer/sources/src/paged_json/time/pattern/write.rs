//! Writes moments by a pattern.

use chrono::{DateTime, Datelike, NaiveDateTime, TimeDelta, Timelike, Utc};

use super::super::zone::Zone;
use super::{DAYS, MONTHS, Part, Pattern, Piece};

impl Pattern {
    /// A moment as it is written, on this zone's clock.
    pub(in crate::paged_json) fn write(&self, moment: DateTime<Utc>, zone: &Zone) -> String {
        let here = self.clock(zone);
        let (clock, offset) = (here.clock(moment), here.offset(moment));
        let mut written = String::new();
        for piece in &self.0 {
            match piece {
                Piece::Text(text) => written.push_str(text),
                Piece::Part(part, bare) => written.push_str(&part.write(moment, clock, offset, *bare)),
            }
        }
        written
    }
}

impl Part {
    fn write(self, moment: DateTime<Utc>, clock: NaiveDateTime, offset: TimeDelta, bare: bool) -> String {
        let two = |number: u32| if bare { number.to_string() } else { format!("{number:02}") };
        let name = |names: &[&str], index: u32| {
            usize::try_from(index)
                .ok()
                .and_then(|index| names.get(index).copied())
                .unwrap_or_default()
                .to_owned()
        };
        let short = |name: String| name.chars().take(3).collect::<String>();
        let (month, weekday) = (clock.month0(), clock.weekday().num_days_from_monday());
        let minutes = offset.num_minutes();
        let (sign, minutes) = if minutes < 0 { ('-', -minutes) } else { ('+', minutes) };
        match self {
            Self::Year => format!("{:04}", clock.year()),
            Self::YearOfCentury => format!("{:02}", clock.year().rem_euclid(100)),
            Self::Month => two(month + 1),
            Self::MonthName => name(&MONTHS, month),
            Self::MonthShort => short(name(&MONTHS, month)),
            Self::Day => two(clock.day()),
            Self::DayOfYear if bare => clock.ordinal().to_string(),
            Self::DayOfYear => format!("{:03}", clock.ordinal()),
            Self::WeekdayName => name(&DAYS, weekday),
            Self::WeekdayShort => short(name(&DAYS, weekday)),
            Self::Hour => two(clock.hour()),
            Self::HourOfHalf => two(clock.hour12().1),
            Self::Half => if clock.hour12().0 { "PM" } else { "AM" }.to_owned(),
            Self::Minute => two(clock.minute()),
            Self::Second => two(clock.second()),
            Self::Fraction(digits) => fraction(clock, digits),
            Self::PointFraction if clock.nanosecond() == 0 => String::new(),
            Self::PointFraction => format!(".{}", fraction(clock, 6)),
            Self::Offset => format!("{sign}{:02}{:02}", minutes / 60, minutes % 60),
            Self::ColonOffset => format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60),
            Self::ZoneName => "UTC".to_owned(),
            Self::Epoch => moment.timestamp().to_string(),
        }
    }
}

fn fraction(clock: NaiveDateTime, digits: u8) -> String {
    let nanos = format!("{:09}", clock.nanosecond() % 1_000_000_000);
    nanos.get(..usize::from(digits)).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(pattern: &str, zone: &str) -> String {
        let (zone, moment) = (Zone::named(zone).unwrap(), "2024-01-05T15:04:09.050Z".parse().unwrap());
        Pattern::to_write(pattern, &zone).unwrap().write(moment, &zone)
    }

    #[test]
    fn moments_are_written_by_every_directive() {
        for (pattern, text) in [
            ("%Y-%m-%d %H:%M:%S", "2024-01-05 15:04:09"),
            ("%FT%T.%fZ", "2024-01-05T15:04:09.050000Z"),
            ("%T.%3f %T.%9f %T%.f", "15:04:09.050 15:04:09.050000000 15:04:09.050000"),
            ("%-m/%-d/%y %-H %-I%p", "1/5/24 15 3PM"),
            ("%A %a %B %b %h %j %-j", "Friday Fri January Jan Jan 005 5"),
            ("%R %D %s %z %:z %Z 100%%", "15:04 01/05/24 1704467049 +0000 +00:00 UTC 100%"),
        ] {
            assert_eq!(written(pattern, "UTC"), text, "{pattern}");
        }
        assert_eq!(
            written("%F %T %z %:z %s", "America/St_Johns"),
            "2024-01-05 11:34:09 -0330 -03:30 1704467049"
        );
        // What says that it is UTC, is.
        assert_eq!(written("%FT%TZ", "America/St_Johns"), "2024-01-05T15:04:09Z");
    }
}
