//! What a span of time is asked for as: the date parameters of a connection, filled in.

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use common::command::YEARS;
use common::slice::{Slicing, Span};

use super::asked::Asked;
use super::settings::{Dates, Length, Parameter, Settings, Start, default_max_slices};
use super::template::DateTemplate;
use super::time::Zone;
use crate::source::SourceError;

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
    /// Whether days and clocks may be shifted against ours.
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
        let may_be_shifted = dates.zone.is_none() && !has_offset;
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
    fn unit(&self) -> TimeDelta {
        let units = self.parameters.iter().filter_map(|parameter| parameter.template.unit());
        units.max().unwrap_or(TimeDelta::zero())
    }

    /// Whether a span can be asked for, with both its ends.
    pub(super) fn has_both_ends(&self) -> bool {
        let has =
            |end: fn(&DateTemplate) -> bool| self.parameters.iter().any(|parameter| end(&parameter.template));
        has(DateTemplate::has_from) && has(DateTemplate::has_to)
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
        if self.parameters.iter().any(|parameter| parameter.template.ends_with_a_day()) {
            longest -= DAY;
        }
        if self.whole_days {
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
        let filled = |parameter| Some((&*DateParameter::name(parameter), fill(parameter)?));
        self.parameters.iter().filter_map(filled).collect()
    }

    /// What a span is asked for as.
    pub(super) fn asked(&self, span: &Span, open_end: bool) -> Asked {
        let (from, to) = self.ends(span);
        let sent =
            |end: fn(&DateTemplate) -> bool| self.parameters.iter().any(|parameter| end(&parameter.template));
        let unit = self.unit();
        let slack = if self.may_be_shifted { FARTHEST_ZONE } else { TimeDelta::zero() };
        let (first, last) = if unit >= DAY {
            let end = self.zone.midnight_after(to);
            (from.map(|from| self.zone.midnight(from)), end.checked_add_signed(unit).unwrap_or(end))
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
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn settings(dates: Value, time: bool) -> Settings {
        let mut settings = json!({
            "path": "/list", "records": {"pointer": "", "id": "/id"}, "dates": dates,
            "next": {"style": "next_url", "pointer": "/next"},
        });
        if time {
            settings["records"]["time"] = json!("/at");
        }
        Settings::read(&settings).unwrap()
    }

    fn query(dates: Value) -> DateQuery {
        let settings = settings(dates, true);
        settings.check().unwrap();
        DateQuery::new(&settings).unwrap()
    }

    fn refused(dates: Value) -> String {
        settings(dates, true).check().unwrap_err().to_string()
    }

    fn span(from: Option<&str>, to: &str) -> Span {
        Span { from: from.map(|from| from.parse().unwrap()), to: to.parse().unwrap() }
    }

    fn week() -> Span {
        span(Some("2024-03-04T00:00:00Z"), "2024-03-11T00:00:00Z")
    }

    fn filled(dates: Value, span: &Span) -> Vec<String> {
        query(dates).fill(span, false).into_iter().map(|(name, value)| format!("{name}={value}")).collect()
    }

    fn from_to(from: &str, to: &str) -> Value {
        json!([{"name": "f", "value": from}, {"name": "t", "value": to}])
    }

    #[test]
    fn what_is_asked_for_is_wider_than_the_span() {
        for (dates, sent) in [
            (json!({}), ["f=2024-03-03T23:59:59Z", "t=2024-03-11T00:00:01Z"]),
            (json!({"margin": "2h"}), ["f=2024-03-03T22:00:00Z", "t=2024-03-11T02:00:00Z"]),
            (json!({"whole_days": true}), ["f=2024-03-03T00:00:00Z", "t=2024-03-12T00:00:00Z"]),
            (
                json!({"whole_days": true, "margin": "1s"}),
                ["f=2024-03-03T23:59:59Z", "t=2024-03-11T00:00:01Z"],
            ),
        ] {
            let mut dates = dates;
            (dates["parameters"], dates["start"]) = (from_to("{from}", "{to}"), json!(null));
            assert_eq!(filled(dates.clone(), &week()), sent, "{dates}");
        }
        for (from, to, zone, sent) in [
            ("{from:date}", "{last:date}", None, ["f=2024-03-03", "t=2024-03-11"]),
            ("{from:date}", "{last:date}", Some("America/Los_Angeles"), ["f=2024-03-02", "t=2024-03-11"]),
            ("{from:%F %T}", "{to:%F %T}", None, ["f=2024-03-03 00:00:00", "t=2024-03-12 00:00:00"]),
            ("{from:%F %T}", "{to:%F %T}", Some("UTC"), ["f=2024-03-03 23:59:59", "t=2024-03-11 00:00:01"]),
            (
                "{from:%F %T}",
                "{to:%F %T}",
                Some("Asia/Tokyo"),
                ["f=2024-03-04 08:59:59", "t=2024-03-11 09:00:01"],
            ),
            ("{from:%F %R}", "{to:%F %R}", Some("UTC"), ["f=2024-03-03 23:59", "t=2024-03-11 00:01"]),
            ("{from:%FT%TZ}", "{to:%FT%TZ}", None, ["f=2024-03-03T23:59:59Z", "t=2024-03-11T00:00:01Z"]),
            ("{from:unix}", "{to:unix_ms}", None, ["f=1709510399", "t=1710115201000"]),
        ] {
            let dates = json!({"parameters": from_to(from, to), "start": null, "zone": zone});
            assert_eq!(filled(dates, &week()), sent, "{from} {zone:?}");
        }
    }

    #[test]
    fn what_was_asked_for_is_told_from_what_was_not() {
        let contains = |dates: &Value, moment: &str| {
            query(dates.clone()).asked(&week(), false).contains(moment.parse().unwrap())
        };
        let exact = json!({"parameters": from_to("{from}", "{to}"), "start": null});
        assert!(contains(&exact, "2024-03-03T23:59:58Z") && !contains(&exact, "2024-03-03T23:59:57Z"));
        assert!(contains(&exact, "2024-03-11T00:00:02Z") && !contains(&exact, "2024-03-11T00:00:03Z"));
        let days = json!({"parameters": from_to("{from:date}", "{last:date}"), "start": null});
        assert!(contains(&days, "2024-03-02T10:00:00Z") && !contains(&days, "2024-03-02T09:59:59Z"));
        let open = json!({"parameters": [{"name": "f", "value": "{from}"}], "start": null});
        assert!(contains(&open, "2031-01-01T00:00:00Z") && !contains(&open, "2023-01-01T00:00:00Z"));
        let unbounded = query(exact).asked(&span(None, "2024-03-11T00:00:00Z"), false);
        assert!(unbounded.contains("1970-01-01T00:00:00Z".parse().unwrap()) && unbounded.from.is_none());
        assert_eq!(unbounded.to_string(), "… to 2024-03-11 00:00:02 UTC");
    }

    #[test]
    fn what_is_sent_without_a_lower_bound_is_said() {
        let unbounded = span(None, "2024-03-11T00:00:00Z");
        let sent = |start: Value, from: &str| {
            let parameters = from_to(from, "{to:date}");
            filled(json!({"parameters": parameters, "start": start, "zone": "UTC"}), &unbounded)
        };
        assert_eq!(sent(json!(null), ">={from:date}"), ["t=2024-03-12"]);
        assert_eq!(sent(json!("2015-01-01"), "after {from:date}"), ["f=after 2015-01-01", "t=2024-03-12"]);
        assert_eq!(
            sent(json!("state:public"), "state:public created:>={from:date}"),
            ["f=state:public", "t=2024-03-12"]
        );
        assert_eq!(
            sent(json!({"f": "<{to:date}"}), "{from:date}..{to:date}"),
            ["f=<2024-03-12", "t=2024-03-12"]
        );
        assert_eq!(sent(json!({"f": null}), "gte.{from:date}"), ["t=2024-03-12"]);
        // A floor beyond the span is no span at all.
        let early = span(None, "2014-01-01T00:00:00Z");
        let dates = json!({"parameters": from_to("{from}", "{to}"), "start": "2015-01-01", "margin": "1s"});
        assert_eq!(filled(dates, &early), ["f=2014-01-01T00:00:01Z", "t=2014-01-01T00:00:01Z"]);
    }

    #[test]
    fn an_unsaid_start_is_refused_and_so_is_a_condition_that_would_be_dropped() {
        let dates = |start: Value, from: &str| json!({"parameters": from_to(from, "{to}"), "start": start});
        for (dates, words) in [
            (json!({"parameters": from_to("{from}", "{to}")}), "dates.start: is needed, since f has {from}"),
            (dates(json!(null), "state:public created:>={from:date}"), "would be left out"),
            (dates(json!(null), "{from}..{to}"), "would be left out"),
            (dates(json!({}), "{from}"), "does not say what is sent as f"),
            (dates(json!({"g": null, "f": null}), "{from}"), "no parameter g"),
            (dates(json!("since {from}"), "{from}"), "cannot have {from}"),
            (dates(json!("all"), "{from} {until}"), "{until} is unknown"),
            (
                json!({"parameters": from_to("{from}", "{from}"), "start": "all"}),
                "several parameters have {from}",
            ),
            (json!({"parameters": [], "start": "2015-01-01"}), "no parameter has {from}"),
            (
                json!({"parameters": [], "zone": "Mars/Olympus"}),
                "dates.zone: \"Mars/Olympus\" is not a time zone",
            ),
        ] {
            let said = refused(dates.clone());
            assert!(said.contains(words), "{dates}: {said}");
        }
        assert!(settings(json!({"parameters": [{"name": "t", "value": "{to}"}]}), true).check().is_ok());
    }

    #[test]
    fn an_open_end_sends_no_upper_bound() {
        let sent = |parameters: Value| {
            let query = query(json!({"parameters": parameters, "start": "2015-01-01"}));
            query
                .fill(&week(), true)
                .into_iter()
                .map(|(name, value)| format!("{name}={value}"))
                .collect::<Vec<_>>()
        };
        assert_eq!(sent(from_to("{from}", "<{to}")), ["f=2024-03-03T23:59:59Z"]);
        // It cannot be left out, so that it is far ahead.
        assert_eq!(sent(from_to("{from:date}..{to:date}", "{last:date}")), ["f=2024-03-03..2025-03-13"]);
        let query = query(json!({"parameters": from_to("{from}", "{to}"), "start": null}));
        assert!(query.asked(&week(), true).contains("2099-01-01T00:00:00Z".parse().unwrap()));
    }

    #[test]
    fn slices_with_their_margins_are_no_longer_than_the_upstream_answers() {
        let longest = |extra: Value, from: &str, to: &str| {
            let mut dates = json!({"parameters": from_to(from, to), "start": "2015-01-01"});
            extra.as_object().unwrap().iter().for_each(|(name, value)| dates[name] = value.clone());
            query(dates).longest_slice()
        };
        let days = TimeDelta::days;
        assert_eq!(
            longest(json!({"max_span": "30d"}), "{from}", "{to}"),
            Some(days(30) - TimeDelta::seconds(2))
        );
        assert_eq!(longest(json!({"max_span": "30d"}), "{from:date}", "{last:date}"), Some(days(28)));
        assert_eq!(longest(json!({"max_span": "30d"}), "{from:date}", "{to:date}"), Some(days(27)));
        assert_eq!(
            longest(json!({"max_span": "30d", "whole_days": true, "zone": "Asia/Tokyo"}), "{from}", "{to}"),
            Some(days(27))
        );
        assert_eq!(longest(json!({}), "{from}", "{to}"), None);
        for (dates, words) in [
            (
                json!({"max_span": "2d", "start": "2015-01-01", "parameters": from_to("{from:date}", "{last:date}")}),
                "leaves nothing",
            ),
            (
                json!({"max_span": "30d", "start": null, "parameters": from_to("{from}", "{to}")}),
                "needs a dates.start that is a date",
            ),
            (
                json!({"max_span": "30d", "parameters": [{"name": "t", "value": "{to}"}]}),
                "needs dates.parameters with {from} and {to}",
            ),
        ] {
            let said = refused(dates.clone());
            assert!(said.contains(words), "{dates}: {said}");
        }
    }

    #[test]
    fn without_a_time_nothing_is_widened_and_slices_are_refused_unless_bounds_are_exact() {
        let with = |extra: Value| {
            let mut dates = json!({"parameters": from_to("{from}", "{to}"), "start": null});
            extra.as_object().unwrap().iter().for_each(|(name, value)| dates[name] = value.clone());
            let mut settings = settings(dates, false);
            settings.slicing = Some(serde_json::from_value(json!({"days": 7})).unwrap());
            settings
        };
        let refused = with(json!({})).check().unwrap_err().to_string();
        assert!(
            refused.contains("slicing: without records.time") && refused.contains("dates.margin to 0"),
            "{refused}"
        );
        let exact = with(json!({"margin": 0}));
        exact.check().unwrap();
        let query = DateQuery::new(&exact).unwrap();
        assert_eq!(query.fill(&week(), false)[0].1, "2024-03-04T00:00:00Z");
        for wider in [json!({"margin": "1d"}), json!({"whole_days": true})] {
            assert!(with(wider).check().unwrap_err().to_string().contains("needs records.time"));
        }
    }
}
