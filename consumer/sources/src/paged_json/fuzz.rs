//! Fuzz tests of what an upstream, and whoever writes a connection's settings, can say. See the crate `fuzz`.

use super::pointer::{MAX_POINTERS, Pointer};
use super::scan::{List, scan, scan_list};
use super::text::ReadError;
use super::*;
use crate::fetch::Body;
use crate::{Content, ParsedRecord, Reservation};
use ::fuzz::proptest::prelude::*;
use ::fuzz::{document, run, text};
use chrono::Datelike;
use protocol::slice::Span;
use reqwest::StatusCode;
use reqwest::header::{HeaderMap, LINK};
use serde_json::value::RawValue;
use serde_json::{Value, json};

const BASE: &str = "https://api.example.com/v1";
const SECRET: &str = "s3cr3t-0123456789";
const MAX_RECORDS: usize = 50;
/// What an error's cause may be as long as, in characters.
const LONGEST_CAUSE: usize = 1000;

const PAGES: &[&str] = &[
    r#"{"next": "https://api.example.com/v1/calls?cursor=b", "previous": null, "total": 3, "results": [
        {"callId": "a", "created": "2026-01-01T01:00:00.000001Z", "ended": "2026-01-01T01:05:00Z", "n": [1, 2.5e3],
         "metadata": {"é": "\u00e9\ud83d\ude00", "deep": {"er": [[1]]}}},
        {"callId": "b", "created": "2026-01-01T02:00:00Z", "ended": null},
        {"callId": "a", "created": "2026-01-01", "ended": "x", "cost": 123456789012345678901234567890.5}]}"#,
    r#"{"results":[{"callId":7,"created":"2026-01-01 05:00:00","ended":""}],"next":"?cursor=c","total":"many"}"#,
    r#"{"next": "", "results": []}"#,
];

fn settings(next: &Value) -> Value {
    json!({
        "path": "/calls",
        "query": [{"name": "sort", "value": "created"}],
        "page_size": {"parameter": "pageSize", "size": 100},
        "records": {"pointer": "/results", "id": "/callId", "time": "/created", "deferred_when_null": "/ended"},
        "next": next,
        "total": "/total",
        "dates": {"whole_days": true, "start": {"from": "all"}, "zone": "Europe/Berlin", "margin": "2 days", "parameters": [
            {"name": "from", "value": "{from:%Y-%m-%d %H:%M:%S}"}, {"name": "to", "value": "{to:unix}..{last:date}"}]},
        "auth": {"header": "X-API-Key", "value": "Key {api_key}"},
        "slicing": {"days": 7, "max_slices": 100},
        "limits": {"longest_rest": "1h", "reset_header": "x-reset"},
        "item": {"path": "/calls/{id}", "gone": {"pointer": "/gone", "value": true}}
    })
}

fn open(settings: &Value) -> Result<PagedJson, SourceError> {
    let (base, credentials) = (Url::parse(BASE).unwrap(), json!({ "api_key": SECRET }));
    PagedJson::new(&base, &credentials, &Settings::read(settings)?)
}

fn by_url() -> PagedJson {
    open(&settings(&json!({"style": "next_url", "pointer": "/next"}))).unwrap()
}

fn by_cursor() -> PagedJson {
    open(&settings(&json!({"style": "cursor", "pointer": "/next", "parameter": "after"}))).unwrap()
}

fn same_origin(one: &Url, other: &Url) -> bool {
    one.origin() == other.origin()
}

fn span(from: Option<&str>, to: &str) -> Span {
    Span { from: from.map(|from| from.parse().unwrap()), to: to.parse().unwrap() }
}

fn at<'a>(span: &'a Span, cursor: Option<&'a str>) -> PageRequest<'a> {
    PageRequest { cursor, ..PageRequest::first(span, std::time::Duration::from_secs(1)) }
}

fn january() -> Span {
    span(Some("2026-01-01T00:00:00Z"), "2026-02-01T00:00:00Z")
}

fn read(source: &PagedJson, body: &[u8]) -> Result<FetchedPage, FetchError> {
    read_at(source, None, body)
}

fn read_at(source: &PagedJson, cursor: Option<&str>, body: &[u8]) -> Result<FetchedPage, FetchError> {
    read_after(source, cursor, &Walk::NEW, body)
}

fn read_after(
    source: &PagedJson,
    cursor: Option<&str>,
    walk: &Walk,
    body: &[u8],
) -> Result<FetchedPage, FetchError> {
    let url = source.requests.url(&PageRequest { walk, ..at(&january(), cursor) }).unwrap();
    let body = Body {
        status: StatusCode::OK,
        bytes: body.to_vec(),
        is_framed: true,
        url: url.clone(),
        content_type: "application/json".to_owned(),
        headers: HeaderMap::from_iter([(LINK, HeaderValue::from_static("<?cursor=l>; rel=next"))]),
    };
    Reading {
        requests: Arc::clone(&source.requests),
        shape: Arc::clone(&source.shape),
        url,
        cursor: cursor.map(ToOwned::to_owned),
        walk: walk.clone(),
        page: 0,
        span: january(),
        asked: source.requests.asked(&january(), false),
        max_records: MAX_RECORDS,
        body,
        reservation: Reservation::default(),
    }
    .read()
}

fn short(cause: &str) -> Result<(), TestCaseError> {
    prop_assert!(
        (1..=LONGEST_CAUSE).contains(&cause.chars().count()),
        "{} characters",
        cause.chars().count()
    );
    prop_assert!(!cause.contains('\0') && !cause.contains(SECRET), "{}", cause);
    Ok(())
}

fn refused(error: &FetchError) -> Result<(), TestCaseError> {
    short(&error.to_string())?;
    let body = error.body().unwrap_or_default();
    prop_assert!(body.chars().count() <= 1024 && !body.contains('\0'));
    Ok(())
}

fn record(record: &ParsedRecord, body: &[u8]) -> Result<(), TestCaseError> {
    prop_assert!(record.key.len() <= 512 && !record.key.contains('\0'));
    if let Some(time) = record.time {
        // Postgres keeps these years, and some more.
        prop_assert!(january().contains(time) && (0..=9999).contains(&time.year()), "{}", time);
    }
    match &record.content {
        Content::Stored { hash, payload } => {
            prop_assert!(!record.key.is_empty() && record.time.is_some());
            prop_assert_eq!(*hash, *blake3::hash(payload.as_bytes()).as_bytes());
            let here = std::str::from_utf8(body).is_ok_and(|body| body.contains(&**payload));
            prop_assert!(here, "not as it came: {}", payload);
            prop_assert!(serde_json::from_str::<&RawValue>(payload).is_ok(), "no JSON: {}", payload);
        }
        Content::Deferred => prop_assert!(!record.key.is_empty()),
        Content::Gone { reason } | Content::Failed { reason } => short(reason)?,
    }
    Ok(())
}

fn page(source: &PagedJson, body: &[u8]) -> Result<(), TestCaseError> {
    let page = match read(source, body) {
        Ok(page) => page,
        Err(error) => return refused(&error),
    };
    prop_assert!(page.records.len() + page.dropped() <= MAX_RECORDS);
    prop_assert!(page.total.is_none_or(|total| (0..=answer::MAX_TOTAL).contains(&total)), "{:?}", page.total);
    for one in &page.records {
        record(one, body)?;
    }
    let Some(next) = page.next else { return Ok(()) };
    goes_on(source, &next)?;
    // The same answer again, to the next page of the walk.
    match read_after(source, Some(&next), &page.walk, body) {
        Ok(again) => prop_assert!(again.walk.met >= page.walk.met, "{:?}", again.walk),
        Err(error) => refused(&error)?,
    }
    Ok(())
}

/// What holds for a cursor that was accepted: it leads to the connection's own host, and nowhere else.
fn goes_on(source: &PagedJson, cursor: &str) -> Result<(), TestCaseError> {
    prop_assert!(!cursor.is_empty() && cursor.len() <= 16 << 10 && !cursor.contains('\0'));
    let url = source
        .requests
        .url(&at(&january(), Some(cursor)))
        .map_err(|error| TestCaseError::fail(error.to_string()))?;
    prop_assert!(same_origin(&url, &Url::parse(BASE).unwrap()), "{}", url);
    prop_assert!(
        url.username().is_empty() && url.password().is_none() && url.fragment().is_none(),
        "{}",
        url
    );
    // Written and read again, as the HTTP client does it, it is the same.
    prop_assert_eq!(Url::parse(url.as_str()), Ok(url));
    Ok(())
}

#[test]
fn a_cursor_and_a_total_have_a_limit() {
    let page = |next: usize, total: i64| {
        let body = json!({"results": [], "next": "n".repeat(next), "total": total}).to_string();
        read(&by_cursor(), body.as_bytes())
    };
    let at = page(16 << 10, answer::MAX_TOTAL).unwrap();
    assert_eq!((at.next.map(|next| next.len()), at.total), (Some(16 << 10), Some(answer::MAX_TOTAL)));
    assert_eq!(page(1, answer::MAX_TOTAL + 1).unwrap().total, None);
    assert!(page((16 << 10) + 1, 0).unwrap_err().to_string().contains("longer than 16 KiB"));
}

#[test]
fn slices_and_pages_have_a_least_and_a_most() {
    let with = |slicing: Value, size: u32| {
        let mut settings = settings(&json!({"style": "next_url", "pointer": "/next"}));
        settings["slicing"] = slicing;
        settings["page_size"]["size"] = size.into();
        open(&settings).map(drop)
    };
    for (days, most) in [(1, 1), (1, 10_000), (u32::MAX, 10_000)] {
        assert!(with(json!({"days": days, "max_slices": most}), 1).is_ok(), "{days} {most}");
    }
    for (days, most) in [(0, 1), (1, 0), (1, 10_001)] {
        assert!(with(json!({"days": days, "max_slices": most}), 1).is_err(), "{days} {most}");
    }
    assert!(with(json!({"days": 1}), 0).is_err());
}

#[test]
fn pages() {
    let others = [
        json!({"style": "link_header"}),
        json!({"style": "last_id", "parameter": "starting_after", "more": "/more"}),
        json!({"style": "page_number", "parameter": "page", "pages": "/pages"}),
        json!({"style": "offset", "parameter": "offset", "until_total": true}),
    ];
    let mut sources = vec![by_url(), by_cursor()];
    sources.extend(others.iter().map(|next| open(&settings(next)).unwrap()));
    run("pages", document(PAGES), |body| sources.iter().try_for_each(|source| page(source, &body)));
}

#[test]
fn next_pages() {
    let (by_url, by_cursor) = (by_url(), by_cursor());
    let valid = [
        "https://api.example.com/v1/calls?cursor=b&pageSize=100",
        "/v1/calls?cursor=%2Fb#x",
        "calls?cursor=b c",
        "?cursor=é",
        "//api.example.com:443/v1/calls",
        "eyJpZCI6MTJ9==",
    ];
    run("next pages", text(&valid), |next| {
        let Ok(next) = String::from_utf8(next.0) else { return Ok(()) };
        let there = json!({"callId": "a", "created": "2026-01-01"});
        let body = json!({ "results": [there], "next": next }).to_string();
        for source in [&by_url, &by_cursor] {
            let asked = source.requests.url(&at(&january(), None)).unwrap();
            match read(source, body.as_bytes()).map(|page| page.next) {
                Ok(None) => prop_assert!(next.is_empty(), "{:?} ends the list", next),
                Ok(Some(cursor)) => {
                    goes_on(source, &cursor)?;
                    // Else a page that names itself would be walked for ever.
                    let there = source.requests.url(&at(&january(), Some(&cursor))).unwrap();
                    let again = read_at(source, Some(&cursor), body.as_bytes());
                    prop_assert!(
                        again.is_err() || next.starts_with(['?', '#']) || there != asked,
                        "{:?}",
                        again
                    );
                }
                Err(error) => refused(&error)?,
            }
        }
        Ok(())
    });
}

#[test]
fn settings_of_connections() {
    let valid: Vec<String> = [
        settings(&json!({"style": "next_url", "pointer": "/next"})),
        settings(&json!({"style": "cursor", "pointer": "/meta/next", "parameter": "after"})),
        json!({"path": "/", "records": {"pointer": "", "id": ["/a", "/b/0"]}, "next": {"style": "next_url", "pointer": "/n"}}),
    ]
    .iter()
    .map(Value::to_string)
    .collect();
    let valid: Vec<&str> = valid.iter().map(String::as_str).collect();
    let spans = [
        january(),
        span(None, "0000-01-01T00:00:00.000001Z"),
        span(Some("0000-01-01T00:00:00Z"), "9999-12-31T23:59:59.999999Z"),
    ];
    run("settings of connections", document(&valid), |settings| {
        let Ok(settings) = serde_json::from_slice::<Value>(&settings) else { return Ok(()) };
        let opened = match (planning(&settings), open(&settings)) {
            (Ok(_), Ok(opened)) => opened,
            (plan, opened) => {
                for error in [plan.err(), opened.err()].into_iter().flatten() {
                    short(&error.to_string())?;
                }
                return Ok(());
            }
        };
        if let Some((name, value)) = &opened.auth {
            prop_assert!(value.is_sensitive() && !["host", "connection", "te"].contains(&name.as_str()));
        }
        for span in &spans {
            let url = opened
                .requests
                .url(&at(span, None))
                .map_err(|error| TestCaseError::fail(error.to_string()))?;
            prop_assert!(same_origin(&url, &Url::parse(BASE).unwrap()), "{}", url);
            prop_assert!(!url.as_str().contains(SECRET), "{}", url);
        }
        page(&opened, PAGES[0].as_bytes())
    });
}

#[test]
fn base_urls() {
    let valid =
        ["https://api.example.com/v1/", "http://10.0.0.1:8080", "https://[2606:4700::1111]/a%20b/../c"];
    let settings = Settings::read(&settings(&json!({"style": "next_url", "pointer": "/next"}))).unwrap();
    run("base URLs", text(&valid), |base| {
        let Some(base) = std::str::from_utf8(&base).ok().and_then(|base| Url::parse(base).ok()) else {
            return Ok(());
        };
        match PagedJson::new(&base, &json!({ "api_key": SECRET }), &settings) {
            Ok(opened) => {
                let url = opened.requests.url(&at(&january(), None)).unwrap();
                prop_assert!(same_origin(&url, &base) && url.host().is_some(), "{}", url);
                prop_assert!(url.username().is_empty() && url.password().is_none(), "{}", url);
                prop_assert!(matches!(url.scheme(), "http" | "https"), "{}", url);
                prop_assert!(url.path().ends_with("/calls"), "{}", url);
            }
            Err(error) => short(&error.to_string())?,
        }
        Ok(())
    });
}

#[test]
fn pointers() {
    let texts =
        ["/next", "/results/0/callId", "/results/1", "/results/0/metadata/deep/er/0/0", "/a/b~1c~0d/0", ""];
    let pointers: Vec<Pointer> = texts.iter().map(|text| Pointer::parse(text).unwrap()).collect();
    run("pointers", document(PAGES), |body| {
        let Ok(body) = std::str::from_utf8(&body) else { return Ok(()) };
        let mut places = [None; MAX_POINTERS];
        let found = places.get_mut(..pointers.len()).unwrap();
        let scanned = scan(body, &pointers, found);
        // It is JSON if the library says so, whatever is looked for in it.
        let whole = serde_json::from_str::<&RawValue>(body);
        prop_assert_eq!(scanned.is_ok(), whole.is_ok(), "{:?} {:?}", scanned, whole);
        prop_assert_eq!(&scanned, &scan(body, &[], &mut []));
        // The library's own tree has the same in the same places. It takes no number beyond a float's range.
        let Ok(tree) = serde_json::from_str::<Value>(body) else { return Ok(()) };
        for (text, json) in texts.iter().zip(found.iter()) {
            let value: Option<Value> = json.map(|json| serde_json::from_str(json).unwrap());
            prop_assert_eq!(value.as_ref(), tree.pointer(text), "{}", text);
        }
        Ok(())
    });
}

#[test]
fn lists() {
    #[derive(serde::Deserialize)]
    struct Split<'a> {
        #[serde(borrow)]
        results: Vec<&'a RawValue>,
    }
    let parse =
        |texts: &[&str]| -> Vec<_> { texts.iter().map(|text| Pointer::parse(text).unwrap()).collect() };
    let inside = parse(&["/callId", "/metadata/deep/er/0", "/n/1"]);
    let usual = parse(&["/results"]);
    // Something may be looked for inside the list, too, or lead to it, and there may be more around it.
    let others =
        [&["/results", "/results/1/callId", "/results", ""][..], &["/results/0/metadata/deep/er", "/next"]];
    for outside in [usual.clone()].into_iter().chain(others.map(parse)) {
        run("lists", document(PAGES), |body| {
            let Ok(body) = std::str::from_utf8(&body) else { return Ok(()) };
            let (mut places, mut alone) = ([None; MAX_POINTERS], [None; MAX_POINTERS]);
            let (found, alone) = (&mut places[..outside.len()], &mut alone[..outside.len()]);
            let mut list = List {
                pointer: 0,
                max: MAX_RECORDS,
                inside: &inside,
                begun: 0,
                items: None,
                found: Vec::new(),
            };
            let read = scan_list(body, &outside, found, &mut list);
            if read == Err(ReadError::TooMany(MAX_RECORDS)) {
                return Ok(());
            }
            prop_assert_eq!(read, scan(body, &outside, alone).map(drop));
            prop_assert!(read.is_err() || found == alone, "{:?} {:?}", found, alone);
            let Some(items) = list.items.filter(|_| read.is_ok()) else { return Ok(()) };
            // Of a name that comes twice, the library takes none.
            if let (true, Ok(Split { results })) = (outside == usual, serde_json::from_str(body)) {
                let whole: Vec<_> = results.iter().map(|record| record.get()).collect();
                prop_assert_eq!(items.iter().map(|item| item.json).collect::<Vec<_>>(), whole);
            }
            for (item, found) in items.iter().zip(list.found.chunks(inside.len())) {
                let mut alone = vec![None; inside.len()];
                let storable = scan(item.json, &inside, &mut alone);
                prop_assert_eq!((Ok(&item.storable), found), (storable.as_ref(), &*alone));
            }
            Ok(())
        });
    }
}
