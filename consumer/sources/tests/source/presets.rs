//! What upstreams are asked for: Ultravox, Datasette, and a list with cursors and a bearer token.

use std::time::Duration;

use chrono::TimeDelta;
use protocol::slice::{Slicing, Span};
use serde_json::{Value, json};
use sources::{Endpoint, PageRequest, open, planning};
use url::Url;

use crate::upstream::{Upstream, fetch, fetcher, list_settings, source, span};

const BUDGET: Duration = Duration::from_secs(20);

#[tokio::test]
async fn ultravox_is_asked_for_whole_days() {
    let upstream = Upstream::start(|parts| {
        let host = parts.headers["host"].to_str().unwrap();
        json!({"next": format!("http://{host}/api/calls?cursor=cD0y&pageSize=100"), "previous": null, "total": 3,
            "results": [
                {"callId": "in", "created": "2026-01-01T15:00:00.000001Z", "ended": "2026-01-01T15:01:00Z"},
                {"callId": "out", "created": "2026-01-01T14:59:59.999999Z", "ended": "2026-01-01T15:01:00Z"},
                {"callId": "on", "created": "2026-01-02T09:00:00Z", "ended": null}]})
        .to_string()
    })
    .await;
    let base = upstream.url.join("/prefix/").unwrap();
    let source = source("ultravox", &base, Value::Null);
    let span = Span {
        from: Some("2026-01-01T15:00:00Z".parse().unwrap()),
        to: "2026-01-02T10:00:00Z".parse().unwrap(),
    };
    let page = source.fetch(PageRequest::first(&span, BUDGET), &fetcher()).await.unwrap();
    let keys: Vec<_> = page.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!((keys, page.dropped(), page.total), (vec!["in", "on"], 1, Some(3)));
    let next = page.next.unwrap();
    assert_eq!(next, "/api/calls?cursor=cD0y&pageSize=100");
    // The same next page again: a loop.
    fetch(&*source, &fetcher(), Some(&next), BUDGET).await.unwrap_err();
    assert_eq!(
        upstream.seen(),
        [
            "/prefix/api/calls?pageSize=100&fromDate=2026-01-01T00%3A00%3A00Z&toDate=2026-01-03T00%3A00%3A00Z",
            "/api/calls?cursor=cD0y&pageSize=100",
        ]
    );
    assert_eq!(upstream.seen_header("x-api-key"), ["s3cret", "s3cret"]);
}

#[tokio::test]
async fn ultravox_without_a_lower_bound() {
    let upstream = Upstream::text(r#"{"next":"","results":[]}"#).await;
    let source = source("ultravox", &upstream.url, json!({"page_size": 50, "sort": "created"}));
    let span = Span { from: None, to: "2026-01-03T00:00:00Z".parse().unwrap() };
    source.fetch(PageRequest::first(&span, BUDGET), &fetcher()).await.unwrap();
    assert_eq!(upstream.seen(), ["/api/calls?sort=created&pageSize=50&toDate=2026-01-03T00%3A00%3A00Z"]);
}

fn datasette() -> Value {
    json!({
        "path": "/flights/flights.json",
        "query": [{"name": "_shape", "value": "objects"}, {"name": "_labels", "value": "off"}],
        "page_size": {"parameter": "_size", "size": 1000},
        "records": {"pointer": "/rows", "id": ["/time_hour", "/carrier", "/flight"], "time": "/time_hour"},
        "next": {"style": "next_url", "pointer": "/next_url"},
        "total": "/filtered_table_rows_count",
        "dates": {"parameters": [
            {"name": "time_hour__gte", "value": "{from:%Y-%m-%d %H:%M:%S}"},
            {"name": "time_hour__lt", "value": "{to:%Y-%m-%d %H:%M:%S}"}],
            "start": null, "zone": "UTC"},
        "slicing": {"days": 30, "max_slices": 20},
    })
}

#[tokio::test]
async fn datasette_is_read_by_next_url() {
    let upstream = Upstream::start(|parts| {
        let host = parts.headers["host"].to_str().unwrap();
        json!({"ok": true, "database": "flights", "rows": [
                {"rowid": 1, "carrier": "UA", "flight": 1545, "dep_time": 517.0, "time_hour": "2026-01-01 05:00:00"},
                {"rowid": 2, "carrier": "UA", "flight": 1714, "dep_time": null, "time_hour": "2026-01-01T05:00:00Z"}],
            "filtered_table_rows_count": 336_776, "next": "1000",
            "next_url": format!("http://{host}/flights/flights.json?_shape=objects&_size=1000&_next=1000")})
        .to_string()
    })
    .await;
    let source = source("paged_json", &upstream.url, datasette());
    let page = fetch(&*source, &fetcher(), None, BUDGET).await.unwrap();
    let keys: Vec<_> = page.records.iter().map(|record| record.key.as_str()).collect();
    assert_eq!(keys, ["2026-01-01 05:00:00|UA|1545", "2026-01-01T05:00:00Z|UA|1714"]);
    assert_eq!(page.records[0].time, page.records[1].time);
    assert_eq!(page.total, Some(336_776));
    assert_eq!(page.next.as_deref(), Some("/flights/flights.json?_shape=objects&_size=1000&_next=1000"));
    assert_eq!(
        upstream.seen(),
        ["/flights/flights.json?_shape=objects&_labels=off&_size=1000\
         &time_hour__gte=2025-12-31+23%3A59%3A59&time_hour__lt=2026-01-11+00%3A00%3A01",]
    );
}

#[tokio::test]
async fn a_cursor_goes_into_its_parameter() {
    let upstream = Upstream::text(r#"{"data":{"list":[{"id":1}],"count":1},"meta":{"next":42}}"#).await;
    let settings = json!({
        "path": "/v1/items", "query": [{"name": "a", "value": "b c"}],
        "records": {"pointer": "/data/list", "id": "/id"}, "total": "/data/count",
        "next": {"style": "cursor", "pointer": "/meta/next", "parameter": "after"},
        "auth": {"header": "Authorization", "value": "Bearer {api_key}"},
    });
    let source = source("paged_json", &upstream.url, settings);
    let page = fetch(&*source, &fetcher(), None, BUDGET).await.unwrap();
    assert_eq!((page.records[0].key.as_str(), page.records[0].time, page.total), ("1", None, Some(1)));
    assert_eq!(page.next.as_deref(), Some("42"));
    fetch(&*source, &fetcher(), Some("7&x=1"), BUDGET).await.unwrap();
    let looped = fetch(&*source, &fetcher(), Some("42"), BUDGET).await.unwrap_err();
    assert!(looped.to_string().contains("cursor loop"), "{looped}");
    assert_eq!(
        upstream.seen(),
        ["/v1/items?a=b+c", "/v1/items?a=b+c&after=7%26x%3D1", "/v1/items?a=b+c&after=42",]
    );
    assert_eq!(upstream.seen_header("authorization")[0], "Bearer s3cret");
}

#[test]
fn planning_reads_how_to_slice() {
    let slicing = |kind, settings: &Value| planning(kind, settings).unwrap().slicing;
    assert_eq!(slicing("ultravox", &json!({})), Some(Slicing::days(7, 1000)));
    let few = json!({"slice_days": 1, "max_slices": 5});
    assert_eq!(slicing("ultravox", &few), Some(Slicing::days(1, 5)));
    assert_eq!(slicing("paged_json", &datasette()), Some(Slicing::days(30, 20)));
    assert_eq!(slicing("paged_json", &list_settings()), None);
    assert_eq!(planning("ultravox", &json!({ "overlap_hours": 2 })).unwrap().overlap, TimeDelta::hours(2));
    assert_eq!(planning("paged_json", &list_settings()).unwrap().overlap, TimeDelta::days(1));
}

#[test]
fn wrong_settings_are_named() {
    let wrong = |kind: &str, base: &str, credentials: Value, settings: Value| {
        let base_url = Url::parse(base).unwrap();
        open(&Endpoint { kind: kind.to_owned(), base_url, credentials, settings }).unwrap_err().to_string()
    };
    let key = || json!({"api_key": "s3cret"});
    let list = |change: &dyn Fn(&mut Value)| {
        let mut settings = list_settings();
        change(&mut settings);
        wrong("paged_json", "http://x.org", key(), settings)
    };
    for (error, words) in [
        (wrong("xml", "http://x.org", key(), json!({})), "unknown source \"xml\""),
        (wrong("ultravox", "http://x.org", key(), json!({"pagesize": 1})), "unknown field `pagesize`"),
        (wrong("ultravox", "http://x.org", json!({}), json!({})), "\"api_key\" must be a text"),
        (wrong("ultravox", "http://x.org", json!({"api_key": "a\nb"}), json!({})), "cannot carry"),
        (wrong("ultravox", "ftp://x.org", key(), json!({})), "must begin with http"),
        (wrong("ultravox", "http://u:p@x.org", key(), json!({})), "belong into the credentials"),
        (wrong("ultravox", "http://x.org/?a=b", key(), json!({})), "neither a query"),
        (wrong("ultravox", "http://x.org", key(), json!({"slice_days": 0})), "slicing"),
        (wrong("paged_json", "http://x.org", key(), Value::Null), "settings of the connection"),
        (list(&|settings| settings["path"] = json!("list?x")), "path:"),
        (list(&|settings| settings["records"]["id"] = json!([])), "records.id"),
        (list(&|settings| settings["records"]["id"] = json!("id")), "not a JSON pointer"),
        (list(&|settings| settings["next"] = json!({"style": "cursor", "pointer": "/n"})), "parameter"),
        (list(&|settings| settings["auth"]["header"] = json!("Host")), "auth.header"),
        (list(&|settings| settings["slicing"] = json!({"days": 1})), "needs dates.parameters"),
        (list(&|settings| settings["dates"] = json!({"parameters": [{"name": "a", "value": "{x}"}]})), "{x}"),
        (
            list(&|settings| settings["dates"] = json!({"parameters": [{"name": "a", "value": "{from}"}]})),
            "dates.start",
        ),
        (list(&|settings| settings["total_is"] = json!("about")), "total_is"),
        (list(&|settings| settings["limits"] = json!({"longest_rest": 0})), "limits.longest_rest"),
        (list(&|settings| settings["confirm_after"] = json!(7)), "with its unit"),
        (list(&|settings| settings["straggler_days"] = json!(0)), "straggler_days"),
        (
            list(&|settings| {
                settings["next"] = json!({"style": "offset", "parameter": "o"});
                settings["delete_at_once"] = json!(true);
            }),
            "delete_at_once",
        ),
        (
            list(&|settings| settings["item"] = json!({"path": "/{id}", "gone": {"status": [403]}})),
            "item.gone.status",
        ),
    ] {
        assert!(error.contains(words) && !error.contains("s3cret"), "{error}");
    }
    let endpoint = Endpoint {
        kind: "ultravox".to_owned(),
        base_url: Url::parse("http://x.org").unwrap(),
        credentials: key(),
        settings: json!({}),
    };
    let shown = format!("{endpoint:?} {:?} {:?}", open(&endpoint).unwrap(), span());
    assert!(!shown.contains("s3cret"), "{shown}");
}
