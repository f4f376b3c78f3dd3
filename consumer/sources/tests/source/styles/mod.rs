//! The styles of paging: the documented settings of each, on a server that pages so, and on ones that do it badly.

mod nasty;
mod servers;

use protocol::slice::Span;
use protocol::warning::WarningKind;
use serde_json::Value;
use sources::{FetchError, FetchedPage, Source, planning};
use url::Url;

use crate::upstream::{fetcher, source};
use crate::walker::{Checkpoint, Walked, keys, walk_from};
use servers::List;

const STYLES: [&str; 6] = ["next_url", "link_header", "cursor", "last_id", "page_number", "offset"];

/// The settings that the documentation gives for a style.
fn documented(style: &str) -> Value {
    let text = include_str!("../../../../../docs/sources/paged-json.md");
    let (_, after) = text.split_once(&format!("<!-- style: {style} -->\n```json\n")).unwrap();
    let (json, _) = after.split_once("\n```").unwrap();
    serde_json::from_str(json).unwrap()
}

/// Parts of settings that the documentation shows, each put into the settings of one list.
fn documented_parts() -> Vec<Value> {
    let text = include_str!("../../../../../docs/sources/paged-json.md");
    let parts =
        text.split("<!-- part -->\n```json\n").skip(1).map(|after| after.split_once("\n```").unwrap().0);
    let parts = parts.map(|part| serde_json::from_str::<Value>(part).unwrap());
    let whole = |part: Value| {
        let mut settings = documented("page_number");
        settings.as_object_mut().unwrap().extend(part.as_object().unwrap().clone());
        settings
    };
    parts.map(whole).collect()
}

#[test]
fn every_documented_part_of_settings_is_accepted() {
    let parts = documented_parts();
    let blocks = include_str!("../../../../../docs/sources/paged-json.md").matches("```json\n").count();
    assert_eq!(parts.len() + STYLES.len(), blocks);
    for part in parts {
        planning("paged_json", &part).unwrap();
        open(&Url::parse("https://x.org").unwrap(), part);
    }
}

fn open(url: &Url, settings: Value) -> Box<dyn Source> {
    source("paged_json", url, settings)
}

fn span() -> Span {
    Span { from: None, to: "2026-02-01T00:00:00Z".parse().unwrap() }
}

async fn page(source: &dyn Source, cursor: Option<&str>) -> Result<FetchedPage, FetchError> {
    Checkpoint::at(cursor).fetch(source, &span(), &fetcher()).await
}

async fn walk(source: &dyn Source) -> Walked {
    walk_from(source, &span(), Checkpoint::default()).await.ended()
}

/// The rest of a walk after its first page.
async fn rest(source: &dyn Source, first: &FetchedPage) -> Walked {
    let after = Checkpoint::default().after(first).unwrap();
    walk_from(source, &span(), after).await.ended()
}

fn ids(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|index| format!("r{index:02}")).collect()
}

#[tokio::test]
async fn every_documented_style_reads_the_whole_list_and_goes_on_at_any_checkpoint() {
    for style in STYLES {
        // 100 records are asked for, and 10 given.
        let upstream = List::of(25, 10).serve(style).await;
        let settings = documented(style);
        let walked = walk(&*open(&upstream.url, settings.clone())).await;
        assert_eq!(walked.keys(), ids(0..25), "{style}");
        assert_eq!((walked.doubts(), walked.doubt()), (Vec::new(), None), "{style}");
        assert_eq!(walked.walk().fresh, 25, "{style}");
        for (number, (checkpoint, _)) in walked.pages.iter().enumerate() {
            // Another process knows nothing but the checkpoint.
            let again = walk_from(&*open(&upstream.url, settings.clone()), &span(), checkpoint.clone()).await;
            let rest: Vec<_> = walked.pages[number..].iter().flat_map(|(_, page)| keys(page)).collect();
            assert_eq!(again.keys(), rest, "{style} from {checkpoint:?}");
            assert_eq!(again.walk(), walked.walk(), "{style} from {checkpoint:?}");
        }
        let requests = upstream.seen();
        let path = settings["path"].as_str().unwrap();
        assert!(requests.iter().all(|request| request.starts_with(path)), "{requests:?}");
    }
}

#[tokio::test]
async fn every_documented_style_reads_lists_that_end_with_a_full_page_or_are_empty() {
    for style in STYLES {
        for (count, most) in [(20, 10), (0, 10), (1, 1), (3, 1), (2, 2), (3, 2), (11, 10)] {
            let upstream = List::of(count, most).serve(style).await;
            let walked = walk(&*open(&upstream.url, documented(style))).await;
            assert_eq!(walked.keys(), ids(0..count), "{style}, {count} records");
            assert_eq!((walked.doubts(), walked.doubt()), (Vec::new(), None), "{style}, {count} records");
        }
    }
}

#[tokio::test]
async fn what_is_asked_for_is_the_first_page_and_then_its_cursor() {
    for (style, asked) in [
        ("next_url", ["/api/v1/calls?page_size=100", "from=2"]),
        ("link_header", ["/repos/acme/shop/issues?state=all&direction=asc&per_page=100", "page=2"]),
        ("cursor", ["/v1/contacts?limit=100", "cursor=opaque%2B%2F%3D2"]),
        ("last_id", ["/v1/charges?limit=100&created%5Blt%5D=1769904001", "starting_after=r01"]),
        ("page_number", ["/api/orders?per_page=100&page=1", "page=2"]),
        // One record early: it shows whether the list has moved.
        ("offset", ["/rest/items?sort=created_at&limit=100&offset=0", "offset=1"]),
    ] {
        let upstream = List::of(4, 2).serve(style).await;
        walk(&*open(&upstream.url, documented(style))).await;
        let seen = upstream.seen();
        assert_eq!(seen[0], asked[0], "{style}");
        assert!(seen[1].contains(asked[1]), "{style}: {seen:?}");
    }
}

/// What the documentation says of a list that changes: nothing is lost by an insertion.
#[tokio::test]
async fn an_insertion_during_a_walk_loses_nothing_in_any_style() {
    for style in STYLES {
        let list = List::of(9, 3);
        let upstream = list.serve(style).await;
        let source = open(&upstream.url, documented(style));
        let first = page(&*source, None).await.unwrap();
        list.insert(0, "new");
        let rest = rest(&*source, &first).await;
        let mut read = [keys(&first), rest.keys()].concat();
        let counts_rows = !matches!(style, "last_id");
        assert_eq!(read.len(), if counts_rows { 10 } else { 9 }, "{style}: {read:?}");
        read.sort_unstable();
        read.dedup();
        assert_eq!(read, ids(0..9), "{style}");
        assert_eq!((rest.doubts(), rest.doubt()), (Vec::new(), None), "{style}");
        assert_eq!(
            rest.walk().fresh,
            if matches!(style, "page_number" | "offset" | "last_id") { 9 } else { 10 },
            "{style}"
        );
    }
}

/// And what is lost by a removal, where rows are counted: by offsets with a sign, by page numbers without one.
#[tokio::test]
async fn a_removal_during_a_walk_hides_one_record_where_rows_are_counted() {
    for (style, hidden) in [("page_number", true), ("offset", true), ("last_id", false)] {
        let list = List::of(9, 3);
        let upstream = list.serve(style).await;
        let source = open(&upstream.url, documented(style));
        let first = page(&*source, None).await.unwrap();
        list.remove(0);
        let rest = rest(&*source, &first).await;
        match style {
            // The one that was to be read again is gone from its place.
            "offset" => {
                assert_eq!(rest.keys(), ids(3..9), "the overlap had it");
                assert!(rest.doubts().contains(&WarningKind::OverlapLost), "{:?}", rest.doubts());
                assert!(rest.doubt().is_some());
            }
            _ => {
                assert_eq!(rest.keys(), ids(if hidden { 4..9 } else { 3..9 }), "{style}");
                assert_eq!(rest.doubt(), None, "{style}");
            }
        }
        let notes = rest.warnings().into_iter().filter(|(kind, _)| kind.is_note()).collect::<Vec<_>>();
        let moving = if style == "page_number" { vec![(WarningKind::MovingList, 1)] } else { Vec::new() };
        assert_eq!(notes, moving, "{style}");
        // The next walk finds it.
        assert_eq!(walk(&*source).await.keys(), ids(1..9), "{style}");
    }
}
