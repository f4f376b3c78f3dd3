//! Templates in settings: text with holes in braces.

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};

use super::time::{Pattern, Zone};

/// A piece of a template.
pub(super) enum Piece<'t> {
    /// What stands there.
    Text(&'t str),
    /// What is to be filled in.
    Hole(&'t str),
}

/// Holes of a template. Each may become as long as what fills it.
const MOST_HOLES: usize = 100;

/// Cuts a template at its braces.
pub(super) fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    if template.matches('{').count() > MOST_HOLES {
        return Err(format!("it has more than {MOST_HOLES} braces"));
    }
    while let Some((text, after)) = rest.split_once('{') {
        let (hole, after) =
            after.split_once('}').ok_or_else(|| format!("{template:?} has a brace that is not closed"))?;
        pieces.extend([Piece::Text(text), Piece::Hole(hole)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// The value of a date parameter.
#[derive(Clone, Debug)]
pub(super) struct DateTemplate(Vec<DatePiece>);

#[derive(Clone, Debug)]
enum DatePiece {
    Text(String),
    Edge(Edge, Format),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Edge {
    /// The first moment of the span.
    From,
    /// The first moment after it.
    To,
    /// The beginning of the last day that it touches.
    Last,
}

#[derive(Clone, Debug)]
enum Format {
    Rfc3339,
    Date,
    Unix,
    UnixMillis,
    Pattern(Pattern),
}

impl DateTemplate {
    pub(super) fn parse(template: &str, zone: &Zone) -> Result<Self, String> {
        let pieces = pieces(template)?.into_iter().map(|piece| match piece {
            Piece::Text(text) => Ok(DatePiece::Text(text.to_owned())),
            Piece::Hole(hole) => {
                let (edge, format) = hole.split_once(':').unwrap_or((hole, "rfc3339"));
                Ok(DatePiece::Edge(Edge::parse(edge)?, Format::parse(format, zone)?))
            }
        });
        Ok(Self(pieces.collect::<Result<_, String>>()?))
    }

    pub(super) fn has_from(&self) -> bool {
        self.edges().any(|(edge, _)| edge == Edge::From)
    }

    pub(super) fn has_to(&self) -> bool {
        self.edges().any(|(edge, _)| edge != Edge::From)
    }

    /// Whether `{to}` is written as a day, which may be taken for one that belongs to the span.
    pub(super) fn ends_with_a_day(&self) -> bool {
        self.edges().any(|(edge, format)| edge == Edge::To && format.unit() >= TimeDelta::days(1))
    }

    /// The finest that its formats can tell apart, and whether each of them says by what clock.
    pub(super) fn unit(&self) -> Option<TimeDelta> {
        self.edges().map(|(_, format)| format.unit()).max()
    }

    /// Whether each of its formats says by what clock it is.
    pub(super) fn has_offset(&self) -> bool {
        self.edges().all(|(_, format)| format.has_offset())
    }

    /// Whether it is nothing but the hole of this end and what marks it, so that the parameter can be left out with it.
    pub(super) fn is_only(&self, from: bool) -> bool {
        self.0.iter().all(|piece| match piece {
            DatePiece::Text(text) => !text.chars().any(char::is_alphanumeric),
            DatePiece::Edge(edge, _) => (*edge == Edge::From) == from,
        })
    }

    fn edges(&self) -> impl Iterator<Item = (Edge, &Format)> {
        self.0.iter().filter_map(|piece| match piece {
            DatePiece::Text(_) => None,
            DatePiece::Edge(edge, format) => Some((*edge, format)),
        })
    }

    /// The value for a span; `None` when it needs a lower bound and there is none.
    pub(super) fn fill(&self, from: Option<DateTime<Utc>>, to: DateTime<Utc>, zone: &Zone) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                DatePiece::Text(text) => filled.push_str(text),
                DatePiece::Edge(edge, format) => {
                    let moment = match edge {
                        Edge::From => from?,
                        Edge::To => to,
                        Edge::Last => {
                            zone.midnight(to.checked_sub_signed(TimeDelta::nanoseconds(1)).unwrap_or(to))
                        }
                    };
                    filled.push_str(&format.write(format.unmistakable(moment, *edge, zone), zone));
                }
            }
        }
        Some(filled)
    }
}

impl Edge {
    fn parse(name: &str) -> Result<Self, String> {
        match name {
            "from" => Ok(Self::From),
            "to" => Ok(Self::To),
            "last" => Ok(Self::Last),
            _ => Err(format!("{{{name}}} is unknown: use {{from}}, {{to}} or {{last}}")),
        }
    }
}

impl Format {
    fn parse(format: &str, zone: &Zone) -> Result<Self, String> {
        match format {
            "rfc3339" => Ok(Self::Rfc3339),
            "date" => Ok(Self::Date),
            "unix" => Ok(Self::Unix),
            "unix_ms" => Ok(Self::UnixMillis),
            pattern if pattern.contains('%') => Pattern::to_write(pattern, zone).map(Self::Pattern),
            _ => Err(format!(
                "date format {format:?} is unknown: use rfc3339, date, unix, unix_ms or a pattern of strftime"
            )),
        }
    }

    fn write(&self, moment: DateTime<Utc>, zone: &Zone) -> String {
        match self {
            Self::Rfc3339 => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::Date => zone.clock(moment).date().to_string(),
            Self::Unix => moment.timestamp().to_string(),
            Self::UnixMillis => moment.timestamp_millis().to_string(),
            Self::Pattern(pattern) => pattern.write(moment, zone),
        }
    }

    fn unit(&self) -> TimeDelta {
        match self {
            Self::Rfc3339 | Self::Unix | Self::UnixMillis => TimeDelta::seconds(1),
            Self::Date => TimeDelta::days(1),
            Self::Pattern(pattern) => pattern.unit(),
        }
    }

    fn has_offset(&self) -> bool {
        match self {
            Self::Rfc3339 | Self::Unix | Self::UnixMillis => true,
            Self::Date => false,
            Self::Pattern(pattern) => pattern.has_offset(),
        }
    }

    /// A moment that is not taken for a later one where it begins a span, or for an earlier one where it ends it: when clocks
    /// are put back, they show the same twice.
    fn unmistakable(&self, moment: DateTime<Utc>, edge: Edge, zone: &Zone) -> DateTime<Utc> {
        if self.has_offset() || self.unit() >= TimeDelta::days(1) {
            return moment;
        }
        let twice = zone.repeats(moment);
        let clear = match edge {
            Edge::From => moment.checked_sub_signed(twice),
            Edge::To | Edge::Last => moment.checked_add_signed(twice),
        };
        clear.unwrap_or(moment)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, from: Option<&str>, to: &str, zone: &str) -> Option<String> {
        let zone = Zone::named(zone).unwrap();
        let from = from.map(|from| from.parse().unwrap());
        DateTemplate::parse(template, &zone).unwrap().fill(from, to.parse().unwrap(), &zone)
    }

    #[test]
    fn dates_are_written_in_every_format() {
        let (from, to) = (Some("2026-01-01T15:30:00Z"), "2026-01-03T00:00:00.000001Z");
        let write = |template| filled(template, from, to, "UTC").unwrap();
        assert_eq!(write("{from}"), "2026-01-01T15:30:00Z");
        assert_eq!(write("{to:rfc3339}"), "2026-01-03T00:00:00.000001Z");
        assert_eq!(write("{from:date}..{last:date}"), "2026-01-01..2026-01-03");
        assert_eq!(write("{from:unix}-{from:unix_ms}"), "1767281400-1767281400000");
        assert_eq!(write("{from:%Y-%m-%d %H:%M:%S}"), "2026-01-01 15:30:00");
        assert_eq!(filled("{last:date}", from, "2026-01-03T00:00:00Z", "UTC").unwrap(), "2026-01-02");
    }

    #[test]
    fn days_and_clocks_are_those_of_the_zone() {
        let write =
            |template, to| filled(template, Some("2024-01-01T03:00:00Z"), to, "America/Los_Angeles").unwrap();
        let midnight = "2024-01-03T08:00:00Z";
        assert_eq!(write("{from:date} {to:date} {last:date}", midnight), "2023-12-31 2024-01-03 2024-01-02");
        assert_eq!(
            write("{from:%F %T} {from:%FT%TZ} {from}", midnight),
            "2023-12-31 19:00:00 2024-01-01T03:00:00Z 2024-01-01T03:00:00Z"
        );
        // Between one and two the clock shows the same twice: what is asked for holds both.
        let twice = |template, moment| filled(template, Some(moment), moment, "America/Los_Angeles").unwrap();
        assert_eq!(twice("{from:%H:%M}-{to:%H:%M}", "2024-11-03T08:30:00Z"), "00:30-01:30");
        assert_eq!(twice("{from:%H:%M}-{to:%H:%M}", "2024-11-03T09:30:00Z"), "01:30-02:30");
        assert_eq!(twice("{from:%H:%M%z}-{to:%H:%M%z}", "2024-11-03T09:30:00Z"), "01:30-0800-01:30-0800");
    }

    #[test]
    fn a_template_has_so_many_holes() {
        assert!(pieces(&"{a}".repeat(MOST_HOLES)).is_ok());
        let refused = pieces(&"{a}".repeat(MOST_HOLES + 1)).err().unwrap();
        assert!(refused.contains("more than 100 braces"), "{refused}");
    }

    #[test]
    fn a_missing_lower_bound_leaves_its_parameter_out() {
        assert_eq!(filled("{from}", None, "2026-01-03T00:00:00Z", "UTC"), None);
        assert!(filled("{to}", None, "2026-01-03T00:00:00Z", "UTC").is_some());
    }

    #[test]
    fn wrong_templates_are_named() {
        for wrong in ["{from", "{until}", "{from:iso}", "{from:%Q}", "{from:%+}", "{}"] {
            assert!(DateTemplate::parse(wrong, &Zone::default()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_template_may_hold_other_conditions() {
        let only = |template: &str, from: bool| {
            DateTemplate::parse(template, &Zone::default()).unwrap().is_only(from)
        };
        for alone in ["{from}", ">={from:date}", "[{from}", "'{from}'"] {
            assert!(only(alone, true) && !only(alone, false), "{alone}");
        }
        for more in ["created:>={from}", "{from}..{to}", "state eq 1 and created ge {from}", "gte.{from}"] {
            assert!(!only(more, true), "{more}");
        }
        assert!(only("<{to}", false) && only("{last:date}", false));
    }
}
