//! The settings that a user of a world's upstream writes for it, with the mistake that they make.

use super::world::{Bounds, Dates, End, Format, Mistake, Style, Total, World};
use chrono::DateTime;
use serde_json::{Value, json};

/// How many days before the last midnight the floor is: no upstream has anything older.
pub(super) const FLOOR_DAYS: i64 = 40;

/// The settings of a world's connection. `midnight` is the last one, in milliseconds since 1970.
#[must_use]
pub fn settings(world: &World, midnight: i64) -> Value {
    let mut settings = json!({
        "path": "/items",
        "page_size": { "parameter": "limit", "size": world.page_size },
        "records": records(world),
        "next": next(world),
        "overlap_hours": world.overlap_hours,
        "confirm_after": 0,
    });
    let is = |mistake| world.mistake == Some(mistake);
    if world.total != Total::Absent {
        settings["total"] =
            if world.total_in_header { json!({ "header": "X-Total-Count" }) } else { json!("/total") };
    }
    let total_is = match world.total {
        Total::Unfiltered => Some("unfiltered"),
        Total::Estimate(_) => Some("estimate"),
        Total::Absent | Total::Exact | Total::Lie(_) | Total::Falling => None,
    };
    if let Some(total_is) = total_is.filter(|_| !is(Mistake::Total)) {
        settings["total_is"] = json!(total_is);
    }
    if let Some(dates) = world.dates {
        settings["dates"] = span(world, dates, midnight);
        if let Some(days) = world.slices {
            settings["slicing"] = json!({ "days": days });
        }
    } else if world.zone.ahead() != 0 && !is(Mistake::Zone) {
        settings["dates"] = json!({ "parameters": [], "zone": world.zone.name() });
    }
    if world.item {
        settings["item"] = json!({ "path": "/items/{id}" });
    }
    if world.delete_at_once {
        settings["delete_at_once"] = json!(true);
    }
    settings
}

fn records(world: &World) -> Value {
    let is = |mistake| world.mistake == Some(mistake);
    let mut records = json!({
        "pointer": "/data",
        "id": if is(Mistake::Id) { "/uuid" } else { "/id" },
        "deferred_when_null": "/ended",
    });
    let Some(format) = world.time else { return records };
    records["time"] = json!("/at");
    if world.says_updated() {
        records["time_is"] = json!("updated");
    }
    let format = match format {
        Format::Rfc3339 | Format::Offset | Format::Bare => None,
        Format::Pattern => Some("%d/%m/%Y %H:%M:%S"),
        Format::Unix => Some("unix"),
        Format::UnixMs => Some("unix_ms"),
        Format::Rfc2822 => Some("rfc2822"),
    };
    if let Some(format) = format.filter(|_| !is(Mistake::Format)) {
        records["time_format"] = json!(format);
    }
    records
}

fn next(world: &World) -> Value {
    let is = |mistake| world.mistake == Some(mistake);
    let parameter = |name: &'static str| if is(Mistake::Parameter) { "unheard_of" } else { name };
    let pointer = if is(Mistake::Next) { "/links/next" } else { "/next" };
    let mut next = match world.style {
        Style::PageNumber => json!({ "style": "page_number", "parameter": parameter("page") }),
        Style::Offset | Style::RoundedOffset => {
            json!({ "style": "offset", "parameter": parameter("offset") })
        }
        Style::Cursor => {
            json!({ "style": "cursor", "pointer": pointer, "parameter": parameter("cursor") })
        }
        Style::NextUrl => json!({ "style": "next_url", "pointer": pointer }),
        Style::LinkHeader => json!({ "style": "link_header" }),
        Style::LastId => json!({ "style": "last_id", "parameter": parameter("after_id") }),
    };
    if is(Mistake::End) {
        return next;
    }
    match world.end {
        End::Mark => next["end_marks"] = json!([false]),
        End::More => next["more"] = json!("/more"),
        End::Done => next["done"] = json!("/done"),
        End::Status => next["end_status"] = json!(404),
        End::Pages => next["pages"] = json!("/pages"),
        End::UntilTotal => next["until_total"] = json!(true),
        End::Usual | End::Missing | End::Empty | End::LastAgain => {}
    }
    next
}

fn span(world: &World, dates: Dates, midnight: i64) -> Value {
    let (from, to) = match dates.bounds {
        Bounds::Rfc3339 | Bounds::WholeDays => ("{from}", "{to}"),
        Bounds::Unix => ("{from:unix}", "{to:unix}"),
        Bounds::Days => ("{from:date}", "{to:date}"),
        Bounds::LastDay => ("{from:date}", "{last:date}"),
        Bounds::Local => ("{from:%Y-%m-%d %H:%M:%S}", "{to:%Y-%m-%d %H:%M:%S}"),
    };
    let mut span = json!({
        "parameters": [{ "name": "from", "value": from }, { "name": "to", "value": to }],
        "start": null,
    });
    if dates.floor && world.mistake != Some(Mistake::Window) {
        let floor = DateTime::from_timestamp_millis(midnight - FLOOR_DAYS * 86_400_000).unwrap_or_default();
        span["start"] = json!(floor.format("%F").to_string());
    }
    if let Some(days) = dates.max_span {
        span["max_span"] = json!(format!("{days}d"));
    }
    if dates.bounds == Bounds::WholeDays {
        span["whole_days"] = json!(true);
    }
    if world.zone.ahead() != 0 && world.mistake != Some(Mistake::Zone) {
        span["zone"] = json!(world.zone.name());
    }
    if world.time.is_none() {
        span["margin"] = json!(0);
    }
    span
}
