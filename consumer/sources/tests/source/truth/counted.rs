//! Lists that are counted from their beginning, and change while they are read.

use std::sync::Mutex;

use protocol::warning::WarningKind;
use serde_json::{Value, json};

use super::{ids, number, read, rows, settings};
use crate::upstream::Upstream;
use crate::walker::Walked;

/// A list of 250, of which a record is removed, or before which one is put, after the first page.
async fn changed(next: Value, change: fn(&mut Vec<usize>)) -> Walked {
    let list = Mutex::new(((0..250).collect::<Vec<usize>>(), 0));
    let upstream = Upstream::start(move |parts| {
        let mut list = list.lock().unwrap();
        let begin = number(parts, "offset").unwrap_or_else(|| (number(parts, "page").unwrap() - 1) * 100);
        let page = rows(list.0.iter().copied().skip(begin).take(100));
        list.1 += 1;
        if list.1 == 1 {
            change(&mut list.0);
        }
        json!({"data": page}).to_string()
    })
    .await;
    read(&upstream, settings(next)).await.ended()
}

fn by_offset(overlap: u8) -> Value {
    json!({"style": "offset", "parameter": "offset", "overlap": overlap})
}

fn remove(list: &mut Vec<usize>) {
    list.remove(5);
}

fn insert(list: &mut Vec<usize>) {
    list.insert(0, 1000);
}

#[tokio::test]
async fn an_offset_walk_sees_that_a_record_was_removed() {
    let walked = changed(by_offset(1), remove).await;
    assert_eq!(walked.doubts(), [WarningKind::OverlapLost]);
    assert!(
        walked.doubt().unwrap().contains("page 1 was asked for one record early"),
        "{:?}",
        walked.doubt()
    );
    // By looking back one record, it has read the one that would have been missed.
    assert_eq!(walked.keys(), ids(0..250));
    // More of them hide some all the same.
    let walked = changed(by_offset(1), |list| drop(list.drain(..3))).await;
    assert_eq!(
        (walked.keys(), walked.doubts()),
        ([ids(0..100), ids(102..250)].concat(), vec![WarningKind::OverlapLost])
    );
    // Turned off, nobody sees it.
    let walked = changed(by_offset(0), remove).await;
    assert_eq!((walked.keys(), walked.doubt()), ([ids(0..100), ids(101..250)].concat(), None));
}

#[tokio::test]
async fn an_insertion_is_no_doubt() {
    for next in [by_offset(1), json!({"style": "page_number", "parameter": "page"})] {
        let walked = changed(next.clone(), insert).await;
        let mut keys = walked.keys();
        keys.sort_unstable_by_key(|key| key.parse::<usize>().unwrap());
        keys.dedup();
        assert_eq!((keys, walked.doubt(), walked.walk().fresh), (ids(0..250), None, 250), "{next}");
    }
}

#[tokio::test]
async fn page_numbers_cannot_see_a_removal_and_say_so() {
    let walked = changed(json!({"style": "page_number", "parameter": "page"}), remove).await;
    assert_eq!(walked.keys(), [ids(0..100), ids(101..250)].concat());
    assert_eq!(walked.warnings(), [(WarningKind::MovingList, 1)]);
    // A walk of one page cannot miss any.
    let one = Upstream::start(|_| json!({"data": rows(0..3), "more": false}).to_string()).await;
    let next = json!({"style": "page_number", "parameter": "page", "more": "/more"});
    assert_eq!(read(&one, settings(next)).await.ended().warnings(), []);
}

/// A link may count, too.
#[tokio::test]
async fn a_link_that_counts_cannot_see_a_removal_and_says_so() {
    for (counts, notes) in [(true, vec![(WarningKind::MovingList, 1)]), (false, vec![])] {
        let upstream = Upstream::start(move |parts| {
            let place = if counts { "offset" } else { "after" };
            let begin = number(parts, place).unwrap_or(0);
            // One is removed behind the first page.
            let list: Vec<usize> = if counts && begin > 0 { (1..250).collect() } else { (0..250).collect() };
            let page: Vec<usize> = list.into_iter().skip(begin).take(100).collect();
            let next = (page.len() == 100).then(|| format!("/list?limit=100&{place}={}", begin + 100));
            json!({"data": rows(page), "next": next}).to_string()
        })
        .await;
        let walked =
            read(&upstream, settings(json!({"style": "next_url", "pointer": "/next"}))).await.ended();
        assert_eq!((walked.warnings(), walked.doubt()), (notes, None));
        let read = if counts { [ids(0..100), ids(101..250)].concat() } else { ids(0..250) };
        assert_eq!(walked.keys(), read);
    }
}

/// Some upstreams bound a page by its bytes, so that the next record may not fit beside the last one.
#[tokio::test]
async fn pages_of_any_size_are_read_to_their_end_by_offsets() {
    let upstream = Upstream::start(|parts| {
        let begin = number(parts, "offset").unwrap();
        // Records 7 and 8 are large: each fills a page of its own.
        let large = |record: usize| record == 7 || record == 8;
        let end =
            if large(begin) { begin + 1 } else { (begin + 1..12).find(|next| large(*next)).unwrap_or(12) };
        json!({"data": rows(begin..end.min(begin + 4).max(begin))}).to_string()
    })
    .await;
    let walked = read(&upstream, settings(by_offset(1))).await.ended();
    assert_eq!((walked.keys(), walked.doubt()), (ids(0..12), None), "{:?}", upstream.seen());
}

/// An offset within a page gives the whole of that page.
#[tokio::test]
async fn offsets_that_are_only_taken_as_multiples_of_the_page_size_lose_nothing() {
    for (count, total) in [
        (250, json!(null)),
        (250, json!(250)),
        (200, json!(null)),
        (100, json!(null)),
        (99, json!(99)),
        (300, json!(300)),
        (99, json!(null)),
        (1, json!(null)),
    ] {
        let named = total.clone();
        let upstream = Upstream::start(move |parts| {
            let page = number(parts, "offset").unwrap() / 100;
            json!({"data": rows((0..count).skip(page * 100).take(100)), "total": named}).to_string()
        })
        .await;
        let walked = read(&upstream, settings(by_offset(1))).await.ended();
        assert_eq!(
            (walked.keys(), walked.doubts(), walked.doubt()),
            (ids(0..count), vec![], None),
            "{count} {total}"
        );
        let moving = if count >= 100 { vec![(WarningKind::MovingList, 1)] } else { Vec::new() };
        assert_eq!(walked.warnings(), moving, "{count} {total}");
        // One page is asked for twice.
        assert!(upstream.seen().len() <= count.div_ceil(100) + 3, "{count} {total}: {:?}", upstream.seen());
        // Known beforehand, nothing is asked for twice.
        let before = upstream.seen().len();
        let walked = read(&upstream, settings(by_offset(0))).await.ended();
        let moving =
            if upstream.seen().len() > before + 1 { vec![(WarningKind::MovingList, 1)] } else { Vec::new() };
        assert_eq!(
            (walked.keys(), walked.doubts(), walked.doubt()),
            (ids(0..count), vec![], None),
            "{count} {total}"
        );
        assert_eq!(walked.warnings(), moving, "{count} {total}");
    }
}

#[tokio::test]
async fn a_walk_by_offsets_asks_for_no_more_pages_than_it_needs() {
    for (total, requests) in [(json!(250), 4), (json!(null), 5)] {
        let named = total.clone();
        let upstream = Upstream::start(move |parts| {
            let begin = number(parts, "offset").unwrap();
            json!({"data": rows((0..250).skip(begin).take(100)), "total": named}).to_string()
        })
        .await;
        let walked = read(&upstream, settings(by_offset(1))).await.ended();
        assert_eq!((walked.keys(), walked.doubt()), (ids(0..250), None));
        assert_eq!(upstream.seen().len(), requests, "{total}: {:?}", upstream.seen());
    }
}

/// Some upstreams give their last page for any offset beyond it.
#[tokio::test]
async fn a_last_page_that_comes_again_beyond_the_end_is_the_end() {
    for count in [1, 2, 99, 100, 101, 150, 200, 250] {
        let upstream = Upstream::start(move |parts| {
            let begin = number(parts, "offset").unwrap();
            let begin = if begin >= count { (count - 1) / 100 * 100 } else { begin };
            json!({"data": rows((begin..count).take(100))}).to_string()
        })
        .await;
        let walked = read(&upstream, settings(by_offset(1))).await.ended();
        assert_eq!(
            (walked.keys(), walked.doubts(), walked.doubt()),
            (ids(0..count), vec![], None),
            "{count}"
        );
        assert!(upstream.seen().len() <= count.div_ceil(100) + 4, "{count}: {:?}", upstream.seen());
    }
}

/// A full page that comes again and again, whatever is asked for, may be all that is ever shown.
#[tokio::test]
async fn an_offset_that_the_upstream_does_not_know_is_a_doubt() {
    let upstream = Upstream::start(|_| json!({"data": rows(0..100)}).to_string()).await;
    let walked = read(&upstream, settings(by_offset(1))).await.ended();
    assert_eq!((walked.keys(), walked.doubts()), (ids(0..100), vec![WarningKind::SamePage]));
    assert!(walked.doubt().unwrap().contains("next.parameter"), "{:?}", walked.doubt());
}

/// Records are removed between the page that was asked for early, which is the first one again, and the one after it.
#[tokio::test]
async fn where_an_offset_cannot_overlap_a_list_that_shrinks_is_noted() {
    let upstream = Upstream::start(|parts| {
        // By the third request only 60 are left.
        let count = if number(parts, "offset") == Some(100) { 60 } else { 130 };
        let page = number(parts, "offset").unwrap() / 100;
        json!({"data": rows((130 - count..130).skip(page * 100).take(100))}).to_string()
    })
    .await;
    let walked = read(&upstream, settings(by_offset(1))).await.ended();
    assert_eq!((walked.keys(), walked.warnings()), (ids(0..100), vec![(WarningKind::MovingList, 1)]));
}
