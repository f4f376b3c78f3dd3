//! Templates in settings: text with holes in braces, for dates and for credentials.

use chrono::format::{Item, StrftimeItems};
use chrono::{DateTime, NaiveTime, SecondsFormat, TimeDelta, Utc};
use common::slice::Span;

use crate::source::SourceError;
use crate::source::error::quote;

enum Piece<'t> {
    Text(&'t str),
    Hole(&'t str),
}

/// Cuts a template at its braces.
fn pieces(template: &str) -> Result<Vec<Piece<'_>>, String> {
    let mut pieces = Vec::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once('{') {
        let (hole, after) =
            after.split_once('}').ok_or_else(|| format!("{template:?} has a brace that is not closed"))?;
        pieces.extend([Piece::Text(text), Piece::Hole(hole)]);
        rest = after;
    }
    pieces.push(Piece::Text(rest));
    Ok(pieces)
}

/// Fills a header's template. No message of it holds a secret.
pub(super) fn fill_credentials(
    template: &str,
    credentials: &serde_json::Value,
) -> Result<String, SourceError> {
    let mut filled = String::new();
    let pieces = pieces(template).map_err(|reason| SourceError::settings(format!("auth.value: {reason}")))?;
    for piece in pieces {
        match piece {
            Piece::Text(text) => filled.push_str(text),
            Piece::Hole(name) => match credentials.get(name).and_then(serde_json::Value::as_str) {
                Some(secret) if !secret.is_empty() => filled.push_str(secret),
                _ => {
                    let reason = format!("{:?} must be a text", quote(name));
                    return Err(SourceError::Credentials { reason });
                }
            },
        }
    }
    Ok(filled)
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
    Strftime(String),
}

impl DateTemplate {
    pub(super) fn parse(template: &str) -> Result<Self, String> {
        let pieces = pieces(template)?.into_iter().map(|piece| match piece {
            Piece::Text(text) => Ok(DatePiece::Text(text.to_owned())),
            Piece::Hole(hole) => {
                let (edge, format) = hole.split_once(':').unwrap_or((hole, "rfc3339"));
                Ok(DatePiece::Edge(Edge::parse(edge)?, Format::parse(format)?))
            }
        });
        Ok(Self(pieces.collect::<Result<_, String>>()?))
    }

    pub(super) fn has_from(&self) -> bool {
        self.has(|edge| edge == Edge::From)
    }

    pub(super) fn has_to(&self) -> bool {
        self.has(|edge| edge != Edge::From)
    }

    fn has(&self, wanted: impl Fn(Edge) -> bool) -> bool {
        self.0.iter().any(|piece| matches!(piece, DatePiece::Edge(edge, _) if wanted(*edge)))
    }

    /// The value for a span; `None` when it needs a lower bound and there is none.
    pub(super) fn fill(&self, span: &Span) -> Option<String> {
        let mut filled = String::new();
        for piece in &self.0 {
            match piece {
                DatePiece::Text(text) => filled.push_str(text),
                DatePiece::Edge(Edge::From, format) => filled.push_str(&format.write(span.from?)),
                DatePiece::Edge(Edge::To, format) => filled.push_str(&format.write(span.to)),
                DatePiece::Edge(Edge::Last, format) => filled.push_str(&format.write(last_day(span.to))),
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
    fn parse(format: &str) -> Result<Self, String> {
        match format {
            "rfc3339" => Ok(Self::Rfc3339),
            "date" => Ok(Self::Date),
            "unix" => Ok(Self::Unix),
            custom if custom.contains('%') && !StrftimeItems::new(custom).any(|item| item == Item::Error) => {
                Ok(Self::Strftime(custom.to_owned()))
            }
            _ => {
                Err(format!("date format {format:?} is unknown: use rfc3339, date, unix or one of strftime"))
            }
        }
    }

    fn write(&self, moment: DateTime<Utc>) -> String {
        match self {
            Self::Rfc3339 => moment.to_rfc3339_opts(SecondsFormat::AutoSi, true),
            Self::Date => moment.format("%Y-%m-%d").to_string(),
            Self::Unix => moment.timestamp().to_string(),
            Self::Strftime(format) => moment.format(format).to_string(),
        }
    }
}

/// Widens a span to whole days. At the ends of the calendar it stays as it is.
pub(super) fn whole_days(span: &Span) -> Span {
    let up = |moment: DateTime<Utc>| {
        let day = midnight(moment);
        if day == moment { Some(moment) } else { day.checked_add_signed(TimeDelta::days(1)) }
    };
    Span { from: span.from.map(midnight), to: up(span.to).unwrap_or(span.to) }
}

fn midnight(moment: DateTime<Utc>) -> DateTime<Utc> {
    moment.date_naive().and_time(NaiveTime::MIN).and_utc()
}

fn last_day(to: DateTime<Utc>) -> DateTime<Utc> {
    midnight(to.checked_sub_signed(TimeDelta::nanoseconds(1)).unwrap_or(to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filled(template: &str, from: Option<&str>, to: &str) -> Option<String> {
        let span = Span { from: from.map(|from| from.parse().unwrap()), to: to.parse().unwrap() };
        DateTemplate::parse(template).unwrap().fill(&span)
    }

    #[test]
    fn a_credential_that_is_missing_is_named_briefly() {
        let template = format!("Key {{{}}}", "a".repeat(2000));
        let refused = fill_credentials(&template, &serde_json::json!({})).unwrap_err().to_string();
        assert!(refused.contains("must be a text") && refused.chars().count() < 200, "{refused}");
    }

    #[test]
    fn dates_are_written_in_every_format() {
        let (from, to) = (Some("2026-01-01T15:30:00Z"), "2026-01-03T00:00:00.000001Z");
        let write = |template| filled(template, from, to).unwrap();
        assert_eq!(write("{from}"), "2026-01-01T15:30:00Z");
        assert_eq!(write("{to:rfc3339}"), "2026-01-03T00:00:00.000001Z");
        assert_eq!(write("{from:date}..{last:date}"), "2026-01-01..2026-01-03");
        assert_eq!(write("{from:unix}"), "1767281400");
        assert_eq!(write("{from:%Y-%m-%d %H:%M:%S}"), "2026-01-01 15:30:00");
        assert_eq!(filled("{last:date}", from, "2026-01-03T00:00:00Z").unwrap(), "2026-01-02");
    }

    #[test]
    fn a_missing_lower_bound_leaves_its_parameter_out() {
        assert_eq!(filled("{from}", None, "2026-01-03T00:00:00Z"), None);
        assert!(filled("{to}", None, "2026-01-03T00:00:00Z").is_some());
    }

    #[test]
    fn wrong_templates_are_named() {
        for wrong in ["{from", "{until}", "{from:iso}", "{from:%Q}", "{}"] {
            assert!(DateTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn whole_days_hold_the_span() {
        let span = |from: &str, to: &str| Span { from: Some(from.parse().unwrap()), to: to.parse().unwrap() };
        let days = span("2026-01-01T00:00:00Z", "2026-01-04T00:00:00Z");
        assert_eq!(whole_days(&span("2026-01-01T15:30:00Z", "2026-01-03T00:00:00.000001Z")), days);
        assert_eq!(whole_days(&days), days);
    }

    #[test]
    fn a_missing_credential_is_named() {
        let credentials = serde_json::json!({"token": "s3cret", "port": 7});
        assert_eq!(fill_credentials("Bearer {token}", &credentials).unwrap(), "Bearer s3cret");
        for template in ["{api_key}", "{port}", "{token"] {
            let error = fill_credentials(template, &credentials).unwrap_err().to_string();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }
}
