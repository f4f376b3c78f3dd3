//! Patterns of `strftime`, for reading and for writing.
//!
//! The directives are those that Python, C and most others agree on, with what they mean there; where libraries differ
//! (`%f`, `%z`, `%Z`, `%y`), the meaning is written here. What is not one of them is refused when settings are read, so
//! that nothing can fail later.

mod read;
mod write;

use chrono::TimeDelta;

use super::zone::Zone;

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
const DAYS: [&str; 7] = ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"];

/// A pattern, taken apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::paged_json) struct Pattern(Vec<Piece>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    /// A directive, and whether it is written without leading zeros.
    Part(Part, bool),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Year,
    /// 69 to 99 are of the last century, as POSIX has it.
    YearOfCentury,
    Month,
    MonthName,
    MonthShort,
    Day,
    DayOfYear,
    WeekdayName,
    WeekdayShort,
    Hour,
    HourOfHalf,
    Half,
    Minute,
    Second,
    /// So many digits of a fraction; any number of them is read.
    Fraction(u8),
    /// The same with its point, and nothing if it is 0.
    PointFraction,
    /// `+0100`; with a colon, or `Z`, it is read too.
    Offset,
    /// `+01:00`.
    ColonOffset,
    /// `UTC`.
    ZoneName,
    /// Seconds since 1970.
    Epoch,
}

impl Pattern {
    /// A pattern by which times are read.
    pub(super) fn to_read(pattern: &str) -> Result<Self, String> {
        let read = Self::parse(pattern)?;
        let has = |part: Part| read.has(|other| other == part);
        if has(Part::HourOfHalf) != has(Part::Half) && !has(Part::Hour) {
            return Err(format!("{pattern:?} has only one of %I and %p, which do not make an hour alone"));
        }
        let year = has(Part::Year) || has(Part::YearOfCentury);
        if !year && !has(Part::Epoch) {
            return Err(format!("{pattern:?} has no year (%Y), so that it makes no moment"));
        }
        Ok(read)
    }

    /// A pattern by which times are written, on this zone's clock.
    pub(in crate::paged_json) fn to_write(pattern: &str, zone: &Zone) -> Result<Self, String> {
        let written = Self::parse(pattern)?;
        if written.has(|part| part == Part::ZoneName) && !zone.is_utc() {
            return Err(format!("{pattern:?} has %Z, which is only known of UTC; write the offset with %z"));
        }
        Ok(written)
    }

    fn parse(pattern: &str) -> Result<Self, String> {
        let mut pieces = Vec::new();
        let mut rest = pattern;
        while let Some((before, directive)) = rest.split_once('%') {
            push_text(&mut pieces, before);
            let (part, after) = one(directive).ok_or_else(|| unknown(pattern, directive))?;
            match part {
                Directive::Percent => push_text(&mut pieces, "%"),
                Directive::Part(part, bare) => pieces.push(Piece::Part(part, bare)),
                Directive::Several(parts) => pieces.extend(Self::parse(parts)?.0),
            }
            rest = after;
        }
        push_text(&mut pieces, rest);
        Ok(Self(pieces))
    }

    fn has(&self, wanted: impl Fn(Part) -> bool) -> bool {
        self.0.iter().any(|piece| matches!(piece, Piece::Part(part, _) if wanted(*part)))
    }

    /// Whether it says where on the globe its clock is: by an offset, or by a `Z` behind the time.
    pub(in crate::paged_json) fn has_offset(&self) -> bool {
        let said = |part| matches!(part, Part::Offset | Part::ColonOffset | Part::ZoneName | Part::Epoch);
        self.has(said) || self.is_in_utc()
    }

    /// The zone that its times are in.
    fn clock<'z>(&self, zone: &'z Zone) -> &'z Zone {
        if self.is_in_utc() { Zone::UTC } else { zone }
    }

    /// Whether its text says that its clock is UTC's.
    fn is_in_utc(&self) -> bool {
        let mut pieces = self.0.iter().rev();
        let Some(Piece::Text(last)) = pieces.next() else { return false };
        let last = last.trim();
        let utc =
            last.starts_with('Z') || ["UTC", "GMT", "+00", "%2B00"].iter().any(|utc| last.starts_with(utc));
        utc && matches!(
            pieces.next(),
            Some(Piece::Part(Part::Second | Part::Minute | Part::Fraction(_) | Part::PointFraction, _))
        )
    }

    /// The finest that it can tell apart; no finer than a second.
    pub(in crate::paged_json) fn unit(&self) -> TimeDelta {
        let finest = self.0.iter().filter_map(|piece| match piece {
            Piece::Text(_) => None,
            Piece::Part(part, _) => match part {
                Part::Second | Part::Fraction(_) | Part::PointFraction | Part::Epoch => {
                    Some(TimeDelta::seconds(1))
                }
                Part::Minute => Some(TimeDelta::minutes(1)),
                Part::Hour | Part::HourOfHalf => Some(TimeDelta::hours(1)),
                Part::Day | Part::DayOfYear => Some(TimeDelta::days(1)),
                Part::Month | Part::MonthName | Part::MonthShort => Some(TimeDelta::days(31)),
                Part::Year | Part::YearOfCentury => Some(TimeDelta::days(366)),
                Part::WeekdayName
                | Part::WeekdayShort
                | Part::Half
                | Part::Offset
                | Part::ColonOffset
                | Part::ZoneName => None,
            },
        });
        finest.min().unwrap_or(TimeDelta::days(366))
    }
}

enum Directive {
    Percent,
    Part(Part, bool),
    Several(&'static str),
}

/// The directive that a text behind a `%` begins with, and what follows it.
fn one(text: &str) -> Option<(Directive, &str)> {
    let special = [
        (".f", Part::PointFraction),
        (":z", Part::ColonOffset),
        ("3f", Part::Fraction(3)),
        ("6f", Part::Fraction(6)),
        ("9f", Part::Fraction(9)),
    ];
    for (name, part) in special {
        if let Some(after) = text.strip_prefix(name) {
            return Some((Directive::Part(part, false), after));
        }
    }
    let (bare, text) = text.strip_prefix('-').map_or((false, text), |after| (true, after));
    let mut chars = text.chars();
    let part = match chars.next()? {
        '%' if !bare => return Some((Directive::Percent, chars.as_str())),
        'F' if !bare => return Some((Directive::Several("%Y-%m-%d"), chars.as_str())),
        'T' if !bare => return Some((Directive::Several("%H:%M:%S"), chars.as_str())),
        'R' if !bare => return Some((Directive::Several("%H:%M"), chars.as_str())),
        'D' if !bare => return Some((Directive::Several("%m/%d/%y"), chars.as_str())),
        'm' => Part::Month,
        'd' => Part::Day,
        'j' => Part::DayOfYear,
        'H' => Part::Hour,
        'I' => Part::HourOfHalf,
        'M' => Part::Minute,
        'S' => Part::Second,
        'Y' if !bare => Part::Year,
        'y' if !bare => Part::YearOfCentury,
        'B' if !bare => Part::MonthName,
        'b' | 'h' if !bare => Part::MonthShort,
        'A' if !bare => Part::WeekdayName,
        'a' if !bare => Part::WeekdayShort,
        'p' if !bare => Part::Half,
        'f' if !bare => Part::Fraction(6),
        'z' if !bare => Part::Offset,
        'Z' if !bare => Part::ZoneName,
        's' if !bare => Part::Epoch,
        _ => return None,
    };
    Some((Directive::Part(part, bare), chars.as_str()))
}

fn unknown(pattern: &str, directive: &str) -> String {
    let directive: String = directive.chars().take(2).collect();
    format!(
        "{pattern:?} has %{directive}, which is unknown: use %Y %m %d %H %M %S %f %z, or of %y %b %B %j %a %A %I %p %s %Z %F %T %R"
    )
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(last)) => last.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unknown_is_refused_when_settings_are_read() {
        for (pattern, words) in [
            ("%Q", "%Q, which is unknown"),
            ("%", "which is unknown"),
            ("%Y-%", "which is unknown"),
            ("%-Y", "%-Y, which is unknown"),
            ("%c", "%c, which is unknown"),
            ("%G-W%V-%u", "%G-, which is unknown"),
            ("%Y %I:%M", "only one of %I and %p"),
            ("%Y %p", "only one of %I and %p"),
            ("%H:%M", "no year"),
        ] {
            let refused = Pattern::to_read(pattern).unwrap_err();
            assert!(refused.contains(words), "{pattern}: {refused}");
        }
        assert!(Pattern::to_write("%H:%M", &Zone::default()).is_ok());
        let berlin = Zone::named("Europe/Berlin").unwrap();
        assert!(Pattern::to_write("%Z", &Zone::default()).is_ok());
        assert!(Pattern::to_write("%Z", &berlin).unwrap_err().contains("%z"));
    }

    #[test]
    fn a_pattern_has_a_unit_and_perhaps_an_offset() {
        let pattern = |pattern: &str| Pattern::parse(pattern).unwrap();
        for (text, unit, has_offset) in [
            ("%Y-%m-%d %H:%M:%S", TimeDelta::seconds(1), false),
            ("%Y-%m-%dT%H:%M:%S.%fZ", TimeDelta::seconds(1), true),
            ("%FT%T%z", TimeDelta::seconds(1), true),
            ("%F %R", TimeDelta::minutes(1), false),
            ("%F %R UTC", TimeDelta::minutes(1), true),
            ("%Y-%m-%d", TimeDelta::days(1), false),
            ("%Y-%m-%dZ", TimeDelta::days(1), false),
            ("%Y%j", TimeDelta::days(1), false),
            ("%B %Y", TimeDelta::days(31), false),
            ("%s", TimeDelta::seconds(1), true),
            ("%H", TimeDelta::hours(1), false),
        ] {
            let pattern = pattern(text);
            assert_eq!((pattern.unit(), pattern.has_offset()), (unit, has_offset), "{text}");
        }
    }
}
