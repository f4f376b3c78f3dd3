//! Each habit of an upstream, the settings that are proposed, and that with them nothing is left to propose.

use axum::http::StatusCode;
use axum::response::IntoResponse;
use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sources::examine::FindingKind::*;
use sources::examine::{Examination, FindingKind, Verdict, merge};

use super::world::{Answer, Bounds, Paging, World};
use super::{examined, found, kinds, page, told};

const COUNTED: World = World::new(Paging::PageNumber, Bounds::Rfc3339);
const OFFSET: World = World::new(Paging::Offset, Bounds::Rfc3339);
const CURSOR: World = World::new(Paging::Cursor, Bounds::Rfc3339);

/// Examines an upstream with the settings that fit one without habits. Nothing is found but this; and where settings are
/// proposed, they are the ones that are expected, and nothing more is proposed with them.
async fn shows(world: World, kind: FindingKind, patch: Option<Value>) -> Examination {
    shows_with(world, world.settings(), kind, patch).await
}

async fn shows_with(world: World, settings: Value, kind: FindingKind, patch: Option<Value>) -> Examination {
    let seen = examined(world, settings.clone()).await;
    assert_eq!(kinds(&seen), [kind], "{world:?}\n{}", told(&seen));
    assert_eq!(found(&seen, kind).settings, patch, "{}", told(&seen));
    assert_eq!(seen.patch, patch);
    if let Some(patch) = patch {
        let patched = merge(&settings, &patch);
        assert_eq!(seen.settings.as_ref(), Some(&patched));
        let again = examined(world, patched).await;
        assert_eq!(again.patch, None, "{}", told(&again));
    }
    seen
}

#[tokio::test]
async fn a_default_window_is_found() {
    let start = Some(json!({"dates": {"start": "2000-01-01"}}));
    let window = Some(TimeDelta::days(4));
    for paging in [Paging::PageNumber, Paging::Offset, Paging::Cursor, Paging::NextUrl] {
        for newest_first in [false, true] {
            // The window has one page, or several.
            for every in [TimeDelta::hours(20), TimeDelta::hours(2)] {
                let world = World { window, newest_first, every, ..World::new(paging, Bounds::Rfc3339) };
                shows(world, DefaultWindow, start.clone()).await;
            }
            // Where totals do not tell either: of a window of one page, or of several in a list that reaches far back.
            for (records, days) in [(60, 4), (600, 40)] {
                let window = Some(TimeDelta::days(days));
                let every = TimeDelta::hours(20);
                let world =
                    World { window, newest_first, every, records, ..World::new(paging, Bounds::Rfc3339) };
                let mut settings = world.settings();
                settings.as_object_mut().unwrap().remove("total");
                shows_with(world, settings, DefaultWindow, start.clone()).await;
            }
        }
    }
}

#[tokio::test]
async fn a_start_that_needs_too_many_slices_is_not_proposed() {
    let world = World { window: Some(TimeDelta::days(4)), ..COUNTED };
    let mut settings = world.settings();
    settings["slicing"] = json!({"days": 7});
    shows_with(world, settings, DefaultWindow, Some(json!({"dates": {"start": "2010-01-01"}}))).await;
}

#[tokio::test]
async fn a_window_of_which_nothing_is_seen_is_not_found() {
    // The window is wider than everything.
    let world = World { window: Some(TimeDelta::days(400)), ..COUNTED };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn long_spans_that_are_refused_are_found() {
    let world = World { longest_span: Some(TimeDelta::days(31)), every: TimeDelta::hours(3), ..COUNTED };
    shows(world, LongSpanRefused, None).await;
}

#[tokio::test]
async fn a_lower_bound_that_is_ignored_is_found() {
    let none = Some(json!({"dates": null, "slicing": null}));
    for newest_first in [false, true] {
        for bounds in [Bounds::Rfc3339, Bounds::Date, Bounds::Unix, Bounds::Clock] {
            let world = World { ignores_bound: true, newest_first, ..World::new(Paging::Cursor, bounds) };
            shows(world, BoundIgnored, none.clone()).await;
        }
    }
    // All that is known is within a few hours: it may as well be a clock.
    let world = World { ignores_bound: true, every: TimeDelta::minutes(5), ..COUNTED };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn a_bound_that_is_about_another_time_is_found() {
    let world =
        World { other_time: TimeDelta::days(3), newest_first: true, every: TimeDelta::hours(11), ..COUNTED };
    let seen = examined(world, world.settings()).await;
    let found = found(&seen, BoundIgnored);
    assert!(found.means.contains("about another time") && found.settings.is_none(), "{}", told(&seen));
}

#[tokio::test]
async fn a_bound_that_leaves_out_its_moment_is_found_and_the_margin_does_for_it() {
    for newest_first in [false, true] {
        let world = World { is_exclusive: true, newest_first, ..COUNTED };
        let seen = shows(world, BoundExclusive, None).await;
        assert!(found(&seen, BoundExclusive).means.contains("margin of 1 s"), "{}", told(&seen));
    }
}

#[tokio::test]
async fn whole_days_are_found() {
    for newest_first in [false, true] {
        let world = World { whole_days: true, newest_first, ..COUNTED };
        shows(world, WholeDays, Some(json!({"dates": {"whole_days": true}}))).await;
    }
}

#[tokio::test]
async fn days_of_another_zone_are_found() {
    for newest_first in [false, true] {
        for (hours, zone) in [(5, "Etc/GMT-5"), (-7, "Etc/GMT+7")] {
            let clock = TimeDelta::hours(hours);
            // Close enough together to tell hours apart.
            let every = TimeDelta::minutes(55);
            for bounds in [Bounds::Date, Bounds::Clock] {
                let world = World { clock, every, newest_first, ..World::new(Paging::Cursor, bounds) };
                let mut settings = world.settings();
                settings["page_size"]["size"] = json!(100);
                shows_with(world, settings, BoundShifted, Some(json!({"dates": {"zone": zone}}))).await;
            }
        }
    }
    // Records that are days apart tell nothing of hours.
    let world = World {
        clock: TimeDelta::hours(5),
        every: TimeDelta::days(2),
        ..World::new(Paging::Cursor, Bounds::Date)
    };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn a_bound_with_which_nothing_comes_is_found() {
    let world = World { nothing_with_bound: true, ..COUNTED };
    shows(world, BoundMisread, None).await;
}

/// How a time is written.
type Written = fn(DateTime<Utc>) -> Value;

#[tokio::test]
async fn times_in_another_format_are_found() {
    let formats: [(Written, &str); 6] = [
        (|time| json!(time.timestamp()), "unix"),
        (|time| json!(time.timestamp_millis().to_string()), "unix_ms"),
        (|time| json!(time.timestamp_micros()), "unix_us"),
        (|time| json!(time.to_rfc2822()), "rfc2822"),
        (|time| json!(time.format("%d.%m.%Y %H:%M").to_string()), "%d.%m.%Y %H:%M"),
        (|time| json!(time.format("%d/%m/%Y %H:%M:%S").to_string()), "%d/%m/%Y %H:%M:%S"),
    ];
    for (time, format) in formats {
        let world = World { time, every: TimeDelta::hours(70), ..COUNTED };
        let seen = shows(world, TimeFormat, Some(json!({"records": {"time_format": format}}))).await;
        assert_eq!((page(&seen).verdict(), page(&seen).failed), (Verdict::AllFailed, 10));
    }
    // Seconds that are taken for milliseconds can be read, but not as a moment that makes sense.
    let world = World { time: |time| json!(time.timestamp()), ..COUNTED };
    let mut settings = world.settings();
    settings["records"]["time_format"] = json!("unix_ms");
    shows_with(world, settings, TimeFormat, Some(json!({"records": {"time_format": "unix"}}))).await;
    // Days and months up to 12 may be either.
    let world = World {
        time: |time| json!(time.format("%m/%d/%Y").to_string()),
        every: TimeDelta::minutes(1),
        ..COUNTED
    };
    let seen = shows(world, TimeFormat, None).await;
    assert!(found(&seen, TimeFormat).means.contains("%d/%m/%Y, %m/%d/%Y"), "{}", told(&seen));
    // Nothing fits.
    let world = World { time: |_| json!("yesterday"), ..COUNTED };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn a_clock_that_is_ahead_is_found() {
    let time = |time: DateTime<Utc>| json!((time + TimeDelta::hours(5)).format("%F %T").to_string());
    let world = World { time, newest_first: true, every: TimeDelta::minutes(30), ..COUNTED };
    let seen = examined(world, world.settings()).await;
    assert!(kinds(&seen).contains(&ClockAhead), "{}", told(&seen));
    let with_offset = World { time: |time| json!((time + TimeDelta::hours(5)).to_rfc3339()), ..world };
    assert!(!kinds(&examined(with_offset, world.settings()).await).contains(&ClockAhead));
}

#[tokio::test]
async fn a_total_that_does_not_change_with_the_bound_is_found() {
    for newest_first in [false, true] {
        let world = World { total: |totals| json!(totals.all), newest_first, ..COUNTED };
        shows(world, TotalUnfiltered, Some(json!({"total_is": "unfiltered"}))).await;
    }
    // Nothing is left out: it cannot be seen.
    let world = World { total: |totals| json!(totals.all), records: 1, ..COUNTED };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn a_total_that_lies_is_found() {
    let estimate = Some(json!({"total_is": "estimate"}));
    for world in [COUNTED, OFFSET, CURSOR] {
        shows(
            World { total: |totals| json!(totals.on_page), ..world },
            TotalOfPage,
            Some(json!({"total": null})),
        )
        .await;
        // Smaller than two pages.
        shows(World { total: |_| json!(15), ..world }, TotalWrong, estimate.clone()).await;
        // Larger than the whole list.
        for records in [1, 7, 15] {
            let total = |totals: super::world::Totals| json!(totals.listed + 3);
            let mut settings = world.settings();
            settings["next"].as_object_mut().unwrap().remove("more");
            let world = World { total, records, ..world };
            shows_with(world, settings, TotalWrong, estimate.clone()).await;
        }
    }
}

#[tokio::test]
async fn a_page_size_that_is_not_kept_is_found() {
    for world in [COUNTED, OFFSET, CURSOR] {
        let clamped = World { largest_page: 4, ..world };
        shows(clamped, PageSizeClamped, Some(json!({"page_size": {"size": 4}}))).await;
        let larger = World { smallest_page: 25, ..world };
        shows(larger, PageSizeIgnored, Some(json!({"page_size": {"size": 25}}))).await;
        // A list that is just shorter than its page.
        let short = World { records: 4, ..world };
        assert_eq!(kinds(&examined(short, short.settings()).await), []);
    }
}

#[tokio::test]
async fn an_unstable_order_is_found() {
    for world in [COUNTED, CURSOR] {
        let world = World { shuffles: true, ..world };
        shows(world, UnstableOrder, None).await;
    }
}

#[tokio::test]
async fn a_list_that_moves_is_found() {
    let world = World { grows: 1, newest_first: true, every: TimeDelta::minutes(1), ..COUNTED };
    shows(world, ListMoves, None).await;
    // Where the oldest come first, what is new does not move what is read.
    let world = World { newest_first: false, ..world };
    assert_eq!(kinds(&examined(world, world.settings()).await), []);
}

#[tokio::test]
async fn ids_that_repeat_are_found() {
    let world = World { early: 3, ..OFFSET };
    let seen = examined(world, world.settings()).await;
    assert!(found(&seen, IdsRepeat).seen.starts_with("3 ids on both"), "{}", told(&seen));
    let world = World { id: |number| json!(format!("call-{}", number / 2)), ..COUNTED };
    let seen = examined(world, world.settings()).await;
    assert!(found(&seen, IdsRepeat).seen.contains("10 records, and 5 ids"), "{}", told(&seen));
}

#[tokio::test]
async fn a_page_parameter_that_is_not_known_is_found() {
    for world in [COUNTED, OFFSET, CURSOR] {
        let seen = shows(World { ignores_page: true, ..world }, PageIgnored, None).await;
        assert_eq!(found(&seen, PageIgnored).seen, "the same 10 records");
    }
}

#[tokio::test]
async fn a_page_before_the_first_one_is_found() {
    let world = World { first_page: 0, ..COUNTED };
    shows(world, EarlierFirstPage, Some(json!({"next": {"first": 0}}))).await;
    // Where there is none, upstreams give the first page, or refuse it.
    for beyond in [(|_| Answer::Nothing) as fn(super::world::Place) -> Answer, |_| Answer::Status(400)] {
        let world = World { beyond, ..COUNTED };
        assert!(!kinds(&examined(world, world.settings()).await).contains(&EarlierFirstPage));
    }
}

#[tokio::test]
async fn a_flag_that_means_the_contrary_is_found() {
    for world in [COUNTED, OFFSET, CURSOR] {
        for records in [15, 60] {
            let world = World { more: |more| json!(!more), records, ..world };
            shows(world, FlagContradicts, Some(json!({"next": {"more": null, "done": "/more"}}))).await;
        }
        // One that is always the same is no flag.
        let world = World { more: |_| json!(false), records: 15, ..world };
        shows(world, FlagContradicts, Some(json!({"next": {"more": null, "done": null}}))).await;
    }
}

#[tokio::test]
async fn what_comes_beyond_the_end_is_found() {
    for world in [COUNTED, OFFSET] {
        for records in [23, 15, 10] {
            for status in [404, 422] {
                let world = World {
                    records,
                    beyond: if status == 404 { |_| Answer::Status(404) } else { |_| Answer::Status(422) },
                    ..world
                };
                let seen = shows(world, EndRefused, Some(json!({"next": {"end_status": [status]}}))).await;
                assert_eq!(found(&seen, EndRefused).seen, format!("status {status}"));
            }
        }
        // A fault is no end, and far beyond it the status may be about something else.
        shows(World { beyond: |_| Answer::Status(500), ..world }, EndRefused, None).await;
        let mut settings = world.settings();
        settings.as_object_mut().unwrap().remove("total");
        shows_with(World { beyond: |_| Answer::Status(400), ..world }, settings.clone(), EndRefused, None)
            .await;
        let not_found = Some(json!({"next": {"end_status": [404]}}));
        shows_with(World { beyond: |_| Answer::Status(404), ..world }, settings, EndRefused, not_found).await;

        let again = World { beyond: |place| Answer::Page(place.last), records: 15, ..world };
        assert!(kinds(&examined(again, again.settings()).await).contains(&LastPageAgain));
        shows(World { beyond: |_| Answer::Page(0), ..world }, FirstPageAgain, None).await;
    }
}

#[tokio::test]
async fn how_ids_are_answered_is_found() {
    let with_400 = World {
        item: |found| match found {
            Some(record) => axum::Json(record).into_response(),
            None => StatusCode::BAD_REQUEST.into_response(),
        },
        ..COUNTED
    };
    shows(with_400, GoneAnswer, Some(json!({"item": {"gone": {"status": [404, 410, 400]}}}))).await;
    let with_200 = World {
        item: |found| axum::Json(found.unwrap_or_else(|| json!({"error": "none"}))).into_response(),
        ..COUNTED
    };
    let seen = shows(with_200, GoneAnswer, None).await;
    assert!(found(&seen, GoneAnswer).means.contains("pointer and value"), "{}", told(&seen));
    let nowhere = World { item: |_| StatusCode::NOT_FOUND.into_response(), ..COUNTED };
    shows(nowhere, ItemMissing, None).await;
    let faulty = World {
        item: |found| match found {
            Some(record) => axum::Json(record).into_response(),
            None => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
        },
        ..COUNTED
    };
    let seen = shows(faulty, GoneAnswer, None).await;
    assert_eq!(found(&seen, GoneAnswer).seen, "status 500");
}

#[tokio::test]
async fn how_a_cursor_is_written_is_found() {
    // Sent as it is, it is decoded once.
    let as_it_came = World {
        cursor: |number| format!("c%3D{number}"),
        reads_cursor: |it| it.strip_prefix("c=")?.parse().ok(),
        ..CURSOR
    };
    shows(as_it_came, EncodedCursor, Some(json!({"next": {"encoded": true}}))).await;
    let plain = World { reads_cursor: |it| it.strip_prefix("c%3D")?.parse().ok(), ..as_it_came };
    shows(plain, EncodedCursor, Some(json!({"next": {"encoded": false}}))).await;
    let both = World { reads_cursor: |it| it.get(it.len() - 2..)?.parse().ok(), ..as_it_came };
    let seen = shows(both, EncodedCursor, None).await;
    assert_eq!(found(&seen, EncodedCursor).seen, "page 2 both times");
}

#[tokio::test]
async fn headers_about_a_limit_are_found() {
    let known =
        World { headers: &[("x-ratelimit-remaining", "59"), ("ratelimit-policy", "60;w=60")], ..COUNTED };
    let seen = shows(known, RateHeaders, None).await;
    let found_here = found(&seen, RateHeaders);
    assert!(found_here.seen.contains("x-ratelimit-remaining: 59"), "{found_here:?}");
    assert!(found_here.means.contains("1.000 per second"), "{found_here:?}");
    let limit_alone = World { headers: &[("x-ratelimit-limit", "60")], ..COUNTED };
    let seen = shows(limit_alone, RateHeaders, None).await;
    assert!(found(&seen, RateHeaders).means.contains("rests when it is refused"), "{}", told(&seen));
    let own = World { headers: &[("x-quota-remaining", "59"), ("x-quota-reset", "30")], ..COUNTED };
    let patch = json!({"limits": {"remaining_header": "x-quota-remaining", "reset_header": "x-quota-reset"}});
    shows(own, RateHeaders, Some(patch)).await;
}

#[tokio::test]
async fn several_habits_are_found_together_and_their_settings_are_one_patch() {
    let world = World {
        total: |totals| json!(totals.all),
        largest_page: 5,
        beyond: |_| Answer::Status(404),
        is_exclusive: true,
        ..COUNTED
    };
    let seen = examined(world, world.settings()).await;
    assert_eq!(
        kinds(&seen),
        [BoundExclusive, TotalUnfiltered, PageSizeClamped, EndRefused],
        "{}",
        told(&seen)
    );
    let patch = json!({"total_is": "unfiltered", "page_size": {"size": 5}, "next": {"end_status": [404]}});
    assert_eq!(seen.patch, Some(patch));
}
