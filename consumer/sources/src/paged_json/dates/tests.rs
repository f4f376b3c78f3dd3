//! What a span is asked for as.

use super::*;
use serde_json::{Value, json};

fn settings(dates: Value, time: bool) -> Settings {
    let mut settings = json!({
        "path": "/list", "records": {"pointer": "", "id": "/id"},
        "next": {"style": "next_url", "pointer": "/next"},
    });
    settings["dates"] = dates;
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
        (json!({"whole_days": true, "margin": "1s"}), ["f=2024-03-03T23:59:59Z", "t=2024-03-11T00:00:01Z"]),
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
    assert_eq!(sent(json!({"f": "<{to:date}"}), "{from:date}..{to:date}"), ["f=<2024-03-12", "t=2024-03-12"]);
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
    assert_eq!(longest(json!({"max_span": "30d"}), "{from}", "{to}"), Some(days(30) - TimeDelta::seconds(2)));
    assert_eq!(longest(json!({"max_span": "30d"}), "{from:date}", "{last:date}"), Some(days(28)));
    assert_eq!(longest(json!({"max_span": "30d"}), "{from:date}", "{to:date}"), Some(days(27)));
    assert_eq!(
        longest(json!({"max_span": "30d", "whole_days": true, "zone": "Asia/Tokyo"}), "{from}", "{to}"),
        Some(days(26))
    );
    // Days that do not begin when slices do are touched on both sides.
    let elsewhere = json!({"max_span": "30d", "zone": "Asia/Kolkata"});
    assert_eq!(longest(elsewhere.clone(), "{from:date}", "{last:date}"), Some(days(27)));
    assert_eq!(longest(elsewhere, "{from:date}", "{to:date}"), Some(days(26)));
    assert_eq!(longest(json!({"max_span": "84h"}), "{from:date}", "{last:date}"), Some(days(1)));
    // The day that the span ends with may be taken for one that belongs to it.
    assert_eq!(longest(json!({"max_span": "30d", "whole_days": true}), "{from}", "{to}"), Some(days(27)));
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
