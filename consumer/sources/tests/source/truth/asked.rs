//! What a span is asked for as, so that no bound of an upstream loses a record; and what it does if the bounds are lost.

use chrono::{DateTime, FixedOffset, NaiveDate, TimeDelta, Utc};
use protocol::slice::{Slicing, Span};
use protocol::warning::WarningKind;
use serde_json::{Value, json};
use sources::{PageRequest, planning};

use super::{ever, ids, job, open, query, read, settings};
use crate::upstream::{Upstream, fetcher};
use crate::walker::{Walked, keys};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().unwrap()
}

fn by_url(dates: Value) -> Value {
    let mut settings = settings(json!({"style": "next_url", "pointer": "/next"}));
    settings["dates"] = dates;
    settings["slicing"] = json!({"days": 7});
    settings.as_object_mut().unwrap().remove("total");
    settings
}

fn from_to(from: &str, to: &str) -> Value {
    json!([{"name": "from", "value": from}, {"name": "to", "value": to}])
}

/// Records at these times, of which an upstream lists those that it takes for asked for.
async fn listing(
    times: Vec<DateTime<Utc>>,
    takes: impl Fn(&str, &str, DateTime<Utc>) -> bool + Send + Sync + 'static,
) -> Upstream {
    Upstream::start(move |parts| {
        let query = query(parts);
        let (from, to) = (query.get("from").map_or("", |from| from), query.get("to").map_or("", |to| to));
        let asked = times.iter().enumerate().filter(|(_, time)| takes(from, to, **time));
        let data: Vec<_> = asked.map(|(id, time)| json!({"id": id, "at": time.to_rfc3339()})).collect();
        json!({"data": data, "next": null}).to_string()
    })
    .await
}

/// The ids that a job has kept, each of them once.
fn kept(walks: &[Walked]) -> Vec<String> {
    let mut kept: Vec<_> = walks.iter().flat_map(Walked::keys).collect();
    kept.sort_unstable_by_key(|key| key.parse::<usize>().unwrap());
    assert!(
        walks.iter().all(|walked| walked.doubts().is_empty()),
        "{:?}",
        walks.iter().map(Walked::doubts).collect::<Vec<_>>()
    );
    kept
}

#[tokio::test]
async fn days_of_another_zone_lose_nothing_at_a_cut() {
    // Hourly records of 21 days; the upstream's days are those of a zone.
    let hours: Vec<_> =
        (0..21 * 24).map(|hour| at("2026-01-05T00:30:00Z") + TimeDelta::hours(hour)).collect();
    for offset in [-8, 5, 14, -12] {
        let zone = FixedOffset::east_opt(offset * 3600).unwrap();
        let in_days = move |from: &str, to: &str, time: DateTime<Utc>| {
            let day = |text: &str| text[..10].parse::<NaiveDate>().unwrap();
            let here = time.with_timezone(&zone).date_naive();
            day(from) <= here && here <= day(to)
        };
        let upstream = listing(hours.clone(), in_days).await;
        for (dates, from_to) in [
            (json!({"whole_days": true}), from_to("{from}", "{to}")),
            (json!({}), from_to("{from:date}", "{last:date}")),
        ] {
            let mut dates = dates;
            (dates["parameters"], dates["start"]) = (from_to, json!(null));
            let walks =
                job(&upstream, &by_url(dates.clone()), "2026-01-05T00:00:00Z", "2026-01-26T00:00:00Z").await;
            assert_eq!((walks.len(), kept(&walks)), (3, ids(0..504)), "{offset} {dates}");
        }
    }
}

#[tokio::test]
async fn clocks_of_another_zone_lose_nothing_at_a_cut() {
    let hours: Vec<_> =
        (0..21 * 24).map(|hour| at("2026-01-05T00:30:00Z") + TimeDelta::hours(hour)).collect();
    let pattern = |zone: Value| {
        by_url(
            json!({"parameters": from_to("{from:%Y-%m-%d %H:%M:%S}", "{to:%Y-%m-%d %H:%M:%S}"), "start": null, "zone": zone}),
        )
    };
    for (zone, offset) in [(json!(null), -8), (json!("Asia/Tokyo"), 9)] {
        let of = FixedOffset::east_opt(offset * 3600).unwrap();
        let upstream = listing(hours.clone(), move |from, to, time| {
            let here = time.with_timezone(&of).format("%Y-%m-%d %H:%M:%S").to_string();
            *from <= *here && *here < *to
        })
        .await;
        let walks =
            job(&upstream, &pattern(zone.clone()), "2026-01-05T00:00:00Z", "2026-01-26T00:00:00Z").await;
        assert_eq!(kept(&walks), ids(0..504), "{zone}");
        // A known zone needs no margin of a day.
        let asked_twice =
            walks.iter().flat_map(Walked::warnings).any(|(kind, _)| kind == WarningKind::DroppedByMargin);
        assert_eq!(asked_twice, zone.is_null(), "{zone}");
    }
}

#[tokio::test]
async fn bounds_may_be_exclusive() {
    // Fifty a day, at midnight, for 28 days.
    let midnights: Vec<_> =
        (0..1400).map(|id| at("2026-01-05T00:00:00Z") + TimeDelta::days(id / 50)).collect();
    for (format, exclusive) in [
        ("rfc3339", [true, true]),
        ("rfc3339", [true, false]),
        ("unix", [true, true]),
        ("%FT%TZ", [false, true]),
    ] {
        let read = move |text: &str| {
            let seconds = text.parse().ok().and_then(|seconds| DateTime::from_timestamp(seconds, 0));
            seconds.unwrap_or_else(|| at(text))
        };
        let upstream = listing(midnights.clone(), move |from, to, time| {
            let (from, to) = (read(from), read(to));
            (if exclusive[0] { from < time } else { from <= time })
                && (if exclusive[1] { time < to } else { time <= to })
        })
        .await;
        let parameters = from_to(&format!("{{from:{format}}}"), &format!("{{to:{format}}}"));
        let dates = json!({"parameters": parameters, "start": null});
        let walks = job(&upstream, &by_url(dates), "2026-01-05T00:00:00Z", "2026-02-02T00:00:00Z").await;
        assert_eq!((walks.len(), kept(&walks)), (4, ids(0..1400)), "{format} {exclusive:?}");
    }
}

/// The next page's URL does not have the dates: every slice walks the whole list.
#[tokio::test]
async fn a_next_page_that_drops_the_dates_is_told() {
    let upstream = Upstream::start(|parts| {
        let query = query(parts);
        let page: i64 = query.get("cursor").map_or(0, |page| page.parse().unwrap());
        let first = if query.contains_key("from") { "2026-01-05T12:00:00Z" } else { "2020-01-01T00:00:00Z" };
        let time = at(first) + TimeDelta::days(page);
        let next = (page < 9).then(|| format!("/list?cursor={}", page + 1));
        json!({"data": [{"id": page, "at": time.to_rfc3339()}], "next": next}).to_string()
    })
    .await;
    let dates = json!({"parameters": from_to("{from}", "{to}"), "start": null});
    let walks = job(&upstream, &by_url(dates), "2026-01-05T00:00:00Z", "2026-01-12T00:00:00Z").await;
    let [walked] = walks.as_slice() else { panic!("{}", walks.len()) };
    assert_eq!((walked.keys(), walked.warnings()), (ids([0]), vec![(WarningKind::OutsideAsked, 9)]));
    let (_, page) = &walked.pages[1];
    assert_eq!((page.dropped_beyond, page.outside_ids.clone()), (1, ids([1])));
    let text = &page.warnings[0].text;
    assert!(
        text.contains("such as \"1\" of 2020-01-02T00:00:00+00:00") && text.contains("2026-01-04 23:59:58"),
        "{text}"
    );
}

#[tokio::test]
async fn a_job_without_a_lower_bound_sends_what_the_settings_say() {
    let month = [at("2025-12-15T00:00:00Z"), at("2015-06-01T00:00:00Z"), at("2014-01-01T00:00:00Z")];
    // Without a bound, only the last thirty days are listed.
    let upstream = listing(month.to_vec(), |from, _, time| {
        if from.is_empty() { time > at("2025-12-01T00:00:00Z") } else { at(from) <= time }
    })
    .await;
    let dates = |start: Value| json!({"parameters": [{"name": "from", "value": "{from}"}], "start": start});
    let with = |start: Value| {
        let mut settings = by_url(dates(start));
        settings.as_object_mut().unwrap().remove("slicing");
        settings
    };
    assert_eq!(read(&upstream, with(json!(null))).await.ended().keys(), ids([0]));
    assert_eq!(read(&upstream, with(json!("2015-01-01"))).await.ended().keys(), ids([0, 1]));
    // What is older and comes all the same is kept: the floor is only sent.
    let everything = listing(month.to_vec(), |_, _, _| true).await;
    assert_eq!(read(&everything, with(json!("2015-01-01"))).await.ended().keys(), ids(0..3));
    assert_eq!(everything.seen()[0], "/list?limit=100&from=2015-01-01T00%3A00%3A00Z");
    // Unsaid, it is refused.
    let mut unsaid = with(json!(null));
    unsaid["dates"].as_object_mut().unwrap().remove("start");
    let refused = planning("paged_json", &unsaid).unwrap_err().to_string();
    assert!(refused.contains("dates.start: is needed"), "{refused}");
}

#[tokio::test]
async fn a_condition_beside_the_date_is_never_dropped() {
    let upstream = Upstream::text(r#"{"data":[],"next":null}"#).await;
    let with = |start: Value| {
        let q = json!([{"name": "q", "value": "state:public created:>={from:date}"}]);
        let mut settings = by_url(json!({"parameters": q, "start": start, "zone": "UTC"}));
        settings.as_object_mut().unwrap().remove("slicing");
        settings
    };
    let refused = planning("paged_json", &with(json!(null))).unwrap_err().to_string();
    assert!(refused.contains("parameter q would be left out"), "{refused}");
    read(&upstream, with(json!("state:public"))).await.ended();
    read(&upstream, with(json!("2015-01-01"))).await.ended();
    let asked: Vec<_> = upstream.seen();
    assert_eq!(
        asked,
        ["/list?limit=100&q=state%3Apublic", "/list?limit=100&q=state%3Apublic+created%3A%3E%3D2015-01-01"]
    );
}

#[test]
fn a_job_that_needs_too_many_slices_is_refused_with_the_figure() {
    let days = |days: i64| Span {
        from: Some(at("2023-01-01T00:00:00Z")),
        to: at("2023-01-01T00:00:00Z") + TimeDelta::days(days),
    };
    let mut settings = by_url(json!({"parameters": from_to("{from}", "{to}"), "start": null}));
    settings["slicing"] = json!({"days": 1, "max_slices": 1000});
    let slicing = planning("paged_json", &settings).unwrap().slicing;
    assert_eq!(Slicing::cut(slicing, days(1000)).unwrap().len(), 1000);
    let refused = Slicing::cut(slicing, days(1001)).unwrap_err().to_string();
    assert!(refused.contains("needs 1001 slices") && refused.contains("set it to 1001"), "{refused}");
    // The same for a job that begins with the floor.
    settings["dates"]["start"] = json!("2023-01-01");
    let planning = planning("paged_json", &settings).unwrap();
    assert!(planning.check_start(at("2025-09-27T00:00:00Z")).is_ok());
    let refused = planning.check_start(at("2025-09-28T00:00:00Z")).unwrap_err().to_string();
    assert!(refused.contains("dates.start: ") && refused.contains("set it to 1001"), "{refused}");
    let slices = Slicing::cut(planning.slicing, Span { from: None, to: at("2023-01-04T00:00:00Z") }).unwrap();
    assert_eq!((slices.len(), slices[0].from, slices[1].from), (3, None, Some(at("2023-01-02T00:00:00Z"))));
}

#[tokio::test]
async fn nothing_longer_is_asked_for_than_the_upstream_answers() {
    let upstream = Upstream::start(|parts| {
        let query = query(parts);
        let length = at(&query["to"]) - at(&query["from"]);
        assert!(length <= TimeDelta::days(30), "{length}");
        r#"{"data":[],"next":null}"#
    })
    .await;
    for (slicing, slices) in [(json!({"days": 90}), 13), (json!({"days": 7}), 53), (json!(null), 13)] {
        let dates = json!({"parameters": from_to("{from}", "{to}"), "start": "2025-01-01", "max_span": "30d", "margin": "6h"});
        let mut settings = by_url(dates);
        settings["slicing"] = slicing.clone();
        let walks = job(&upstream, &settings, "2025-01-01T00:00:00Z", "2026-01-01T00:00:00Z").await;
        assert_eq!(walks.len(), slices, "{slicing}");
    }
}

#[tokio::test]
async fn a_span_with_an_open_end_drops_nothing_as_too_new() {
    let upstream = listing(vec![at("2026-01-06T00:00:00Z"), at("2031-01-01T00:00:00Z")], |_, to, time| {
        to.is_empty() || time < at(to)
    })
    .await;
    let mut settings = by_url(json!({"parameters": from_to("{from}", "{to}"), "start": null}));
    settings["records"]["time_is"] = json!("updated");
    let source = open(&upstream, settings);
    let span = Span { to: at("2026-02-01T00:00:00Z"), ..ever() };
    let request =
        PageRequest { open_end: true, ..PageRequest::first(&span, std::time::Duration::from_secs(20)) };
    let page = source.fetch(request, &fetcher()).await.unwrap();
    assert_eq!((keys(&page), page.dropped()), (ids(0..2), 0));
    let page = source.fetch(PageRequest { open_end: false, ..request }, &fetcher()).await.unwrap();
    assert_eq!((keys(&page), page.dropped()), (ids([0]), 0));
}
