//! What a span of time is asked for as: the date parameters of a connection, filled in.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use protocol::command::YEARS;
use protocol::slice::{Slicing, Span};

use super::asked::Asked;
use super::settings::{Dates, Length, Parameter, Settings, Start, default_max_slices};
use super::template::DateTemplate;
use super::time::Zone;
use crate::SourceError;

/// How far days and clocks of an unknown zone may be from UTC's.
const FARTHEST_ZONE: TimeDelta = TimeDelta::hours(14);
const DAY: TimeDelta = TimeDelta::days(1);
/// Where a bound cannot be left out, this much later stands for none.
const FAR_AHEAD: TimeDelta = TimeDelta::days(366);

/// The date parameters of a connection.
#[derive(Clone, Debug, Default)]
pub(super) struct DateQuery {
    parameters: Vec<DateParameter>,
    zone: Zone,
    /// Whether its days, or the clocks of its formats, may be shifted against ours.
    may_be_shifted: bool,
    whole_days: bool,
    margin: TimeDelta,
    /// What is sent where there is no lower bound.
    floor: Option<DateTime<Utc>>,
    max_span: Option<TimeDelta>,
}

#[derive(Clone, Debug)]
struct DateParameter {
    name: String,
    template: DateTemplate,
    /// What stands for it where there is no lower bound.
    unbounded: Option<DateTemplate>,
}

impl DateQuery {
    /// Reads the settings, which agree with each other: `check` has seen to that.
    pub(super) fn new(settings: &Settings) -> Result<Self, SourceError> {
        let Some(dates) = &settings.dates else { return Ok(Self::default()) };
        let zone = settings.zone()?;
        let parameters = dates.parameters.iter().map(|parameter| DateParameter::new(parameter, dates, &zone));
        let parameters = parameters.collect::<Result<Vec<_>, _>>()?;
        let has_offset = parameters.iter().all(|parameter| parameter.template.has_offset());
        let may_be_shifted = dates.zone.is_none() && (dates.whole_days || !has_offset);
        let floor = match &dates.start {
            Some(Start::At(moment)) => Some(*moment),
            Some(Start::Missing | Start::Instead(_) | Start::Each(_)) | None => None,
        };
        let mut query = Self {
            parameters,
            zone,
            may_be_shifted,
            whole_days: dates.whole_days,
            margin: TimeDelta::zero(),
            floor,
            max_span: dates.max_span.map(|Length(span)| span),
        };
        // Without a time, nothing drops what a margin brings.
        let usual = || if settings.records.time.is_some() { query.usual_margin() } else { TimeDelta::zero() };
        query.margin = dates.margin.map_or_else(usual, |Length(margin)| margin);
        Ok(query)
    }

    /// One unit of the format; a day where whole days are asked for, or a clock may be shifted.
    fn usual_margin(&self) -> TimeDelta {
        let unit = self.unit();
        if self.whole_days || self.may_be_shifted { unit.max(DAY) } else { unit }
    }

    /// The coarsest unit of the formats.
    pub(super) fn unit(&self) -> TimeDelta {
        let units = self.parameters.iter().filter_map(|parameter| parameter.template.unit());
        units.max().unwrap_or(TimeDelta::zero())
    }

    /// Whether a span can be asked for, with both its ends.
    pub(super) fn has_both_ends(&self) -> bool {
        let has =
            |end: fn(&DateTemplate) -> bool| self.parameters.iter().any(|parameter| end(&parameter.template));
        has(DateTemplate::has_from) && has(DateTemplate::has_to)
    }

    /// Whether a lower bound can be sent.
    pub(super) fn has_lower_bound(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.template.has_from())
    }

    /// Whether an upper bound can be sent.
    pub(super) fn has_upper_bound(&self) -> bool {
        self.parameters.iter().any(|parameter| parameter.template.has_to())
    }

    /// By how much more is asked for on either side.
    pub(super) const fn margin(&self) -> TimeDelta {
        self.margin
    }

    /// Whether its days, or the clocks of its formats, may be shifted against ours.
    pub(super) const fn may_be_shifted(&self) -> bool {
        self.may_be_shifted
    }

    pub(super) fn has_margin(&self) -> bool {
        self.margin > TimeDelta::zero()
    }

    /// What is sent where there is no lower bound.
    pub(super) const fn floor(&self) -> Option<DateTime<Utc>> {
        self.floor
    }

    /// How long a slice may be, so that with all that it is widened by it is no longer than the upstream answers.
    pub(super) fn longest_slice(&self) -> Option<TimeDelta> {
        let mut longest = self.max_span? - self.margin * 2;
        // The last day may be taken for one that belongs to the span.
        if self.whole_days || self.parameters.iter().any(|parameter| parameter.template.ends_with_a_day()) {
            longest -= DAY;
        }
        if self.whole_days || self.unit() >= DAY {
            // Cuts are at midnight in UTC.
            let other_midnights = if self.zone.is_utc() { TimeDelta::zero() } else { DAY };
            longest = TimeDelta::days((longest - other_midnights).num_days());
        }
        Some(longest)
    }

    /// The parameters of a span.
    pub(super) fn fill(&self, span: &Span, open_end: bool) -> Vec<(&str, String)> {
        let (from, to) = self.ends(span);
        let fill = |parameter: &'_ DateParameter| {
            let template = match from {
                None if parameter.template.has_from() => parameter.unbounded.as_ref()?,
                _ => &parameter.template,
            };
            match open_end && template.has_to() {
                true if template.is_only(false) => None,
                true => template.fill(from, to.checked_add_signed(FAR_AHEAD).unwrap_or(to), &self.zone),
                false => template.fill(from, to, &self.zone),
            }
        };
        let filled = |parameter| Some((DateParameter::name(parameter), fill(parameter)?));
        self.parameters.iter().filter_map(filled).collect()
    }

    /// What a span is asked for as.
    pub(super) fn asked(&self, span: &Span, open_end: bool) -> Asked {
        let (from, to) = self.ends(span);
        let sent =
            |end: fn(&DateTemplate) -> bool| self.parameters.iter().any(|parameter| end(&parameter.template));
        let unit = self.unit();
        let slack = if self.may_be_shifted { FARTHEST_ZONE } else { TimeDelta::zero() };
        let (first, last) = if unit >= DAY || self.whole_days {
            let end = self.zone.midnight_after(to);
            (from.map(|from| self.zone.midnight(from)), end.checked_add_signed(unit.max(DAY)).unwrap_or(end))
        } else {
            (from.and_then(|from| from.checked_sub_signed(unit)), to.checked_add_signed(unit).unwrap_or(to))
        };
        Asked {
            from: first
                .filter(|_| sent(DateTemplate::has_from))
                .and_then(|from| from.checked_sub_signed(slack)),
            to: Some(last)
                .filter(|_| sent(DateTemplate::has_to) && !open_end)
                .and_then(|to| to.checked_add_signed(slack)),
        }
    }

    /// What is sent as the ends of a span.
    fn ends(&self, span: &Span) -> (Option<DateTime<Utc>>, DateTime<Utc>) {
        let (mut from, mut to) = (span.from, span.to);
        if self.whole_days {
            from = from.map(|from| self.zone.midnight(from));
            to = self.zone.midnight_after(to);
        }
        // At the ends of the calendar there is nothing to lose.
        to = storable(to.checked_add_signed(self.margin)).unwrap_or(to);
        from = from.map(|from| storable(from.checked_sub_signed(self.margin)).unwrap_or(from));
        (from.or_else(|| self.floor.map(|floor| floor.min(to))), to)
    }
}

impl DateParameter {
    fn new(parameter: &Parameter, dates: &Dates, zone: &Zone) -> Result<Self, SourceError> {
        let name = &parameter.name;
        let parse = |text: &str| {
            DateTemplate::parse(text, zone)
                .map_err(|why| SourceError::settings(format!("dates.parameters, {name}: {why}")))
        };
        let template = parse(&parameter.value)?;
        let unbounded = instead(dates, parameter, &template)?.map(|text| parse(&text)).transpose()?;
        if unbounded.as_ref().is_some_and(DateTemplate::has_from) {
            let why = "dates.start: what is sent where there is no lower bound cannot have {from}";
            return Err(SourceError::settings(why));
        }
        Ok(Self { name: name.clone(), template, unbounded })
    }

    fn name(&self) -> &str {
        &self.name
    }
}

/// What is sent for a parameter where there is no lower bound; `None` leaves it out.
fn instead(
    dates: &Dates,
    parameter: &Parameter,
    template: &DateTemplate,
) -> Result<Option<String>, SourceError> {
    let Parameter { name, value } = parameter;
    if !template.has_from() {
        return Ok(None);
    }
    let wrong = |why: String| Err(SourceError::settings(format!("dates.start: {why}")));
    match &dates.start {
        Some(Start::At(_)) => Ok(None),
        Some(Start::Missing) if template.is_only(true) => Ok(None),
        Some(Start::Missing) => wrong(format!(
            "without a lower bound the parameter {name} would be left out, and {value:?} has more in it: say what is sent \
             instead, such as {{{name:?}: \"…\"}}, or {{{name:?}: null}} if it can be left out"
        )),
        Some(Start::Instead(text))
            if dates.parameters.iter().filter(|other| other.value.contains("{from")).count() == 1 =>
        {
            Ok(Some(text.clone()))
        }
        Some(Start::Instead(_)) => wrong(
            "several parameters have {from}: name them, such as {\"since\": \"…\", \"q\": null}".to_owned(),
        ),
        Some(Start::Each(each)) => match each.get(name) {
            Some(text) => Ok(text.clone()),
            None => wrong(format!("does not say what is sent as {name} where there is no lower bound")),
        },
        None => wrong(format!(
            "is needed, since {name} has {{from}}: a date such as \"2015-01-01\" before which there is nothing, or null if the \
             upstream lists everything without the parameter, or what is sent instead"
        )),
    }
}

/// A moment, if Postgres and most upstreams know its year.
fn storable(moment: Option<DateTime<Utc>>) -> Option<DateTime<Utc>> {
    moment.filter(|moment| YEARS.contains(&moment.year()))
}

/// How jobs are cut into slices.
pub(super) fn slicing(settings: &Settings, query: &DateQuery) -> Option<Slicing> {
    let longest = query.longest_slice();
    let (step, max_slices) = match settings.slicing {
        Some(slicing) => (TimeDelta::try_days(slicing.days.into()), slicing.max_slices),
        None => (None, default_max_slices()),
    };
    (step.is_some() || longest.is_some()).then_some(Slicing { step, longest, max_slices, start: query.floor })
}

#[cfg(test)]
mod tests;
