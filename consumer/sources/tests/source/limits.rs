//! Bodies that are too large, too long, or too slow.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::response::IntoResponse;
use futures::future::join_all;

use sources::FetchError;

use crate::upstream::{
    Upstream, answer, endless, fetch, fetcher, limited, list, permanent, record, small_limits, stuck,
    transient,
};

/// `gzip` of 100 000 spaces.
const BOMB: &[u8] = include_bytes!("spaces.gz");

#[tokio::test]
async fn a_body_without_end_is_cut_at_the_limit() {
    let sent = Arc::new(Mutex::new(0));
    let count = Arc::clone(&sent);
    let upstream = Upstream::start(move |_| endless("                ", &count)).await;
    let cause = permanent(upstream.fetch_with(&limited(small_limits()), None).await);
    assert!(cause.contains("page of more than 65536 bytes"), "{cause}");
    // Beyond the limit there are only the buffers in between.
    assert!(*sent.lock().unwrap() < 32 << 20);
}

#[tokio::test]
async fn a_body_that_announces_a_gigabyte_is_not_read() {
    let upstream = Upstream::start(|_| ([("content-length", (1 << 30).to_string())], stuck("{"))).await;
    let cause = permanent(upstream.fetch_with(&limited(small_limits()), None).await);
    assert!(cause.contains("page of more than"), "{cause}");
}

#[tokio::test]
async fn what_is_announced_and_does_not_come_takes_nothing_from_others() {
    const SILENT: usize = 16;
    let http = limited(small_limits());
    let silent = Upstream::start(|_| ([("content-length", (60 << 10).to_string())], stuck("{"))).await;
    let body = answer(&[record("a")]);
    let large = Upstream::text(format!("{body}{}", " ".repeat(60 << 10))).await;
    let waiting = join_all((0..SILENT).map(|_| silent.fetch_with(&http, None)));
    let others = async {
        while silent.seen().len() < SILENT {
            tokio::task::yield_now().await;
        }
        large.fetch_with(&http, None).await
    };
    tokio::select! {
        given_up = waiting => panic!("the silent ones end only with their budget: {given_up:?}"),
        page = others => assert_eq!(page.unwrap().records.len(), 1),
    }
}

#[tokio::test]
async fn the_limit_counts_bytes_after_decompression() {
    let upstream = Upstream::start(|_| ([("content-encoding", "gzip")], BOMB)).await;
    let cause = permanent(upstream.fetch_with(&limited(small_limits()), None).await);
    assert!(cause.contains("page of more than"), "{cause}");
    // Within the limit it is only spaces.
    assert!(transient(upstream.fetch().await).contains("an empty body"));
}

#[tokio::test]
async fn a_page_that_never_ends_is_transient() {
    for upstream in [
        Upstream::start(|_| stuck("{\"items\":[").into_response()).await,
        Upstream::start(|_| endless_heartbeat()).await,
    ] {
        let cause =
            transient(fetch(&*list(&upstream.url), &fetcher(), None, Duration::from_millis(150)).await);
        assert_eq!(cause, "no complete answer within 150ms");
    }
}

/// A byte every few milliseconds: never silent, never done.
fn endless_heartbeat() -> axum::response::Response {
    let ticks = futures::stream::unfold(tokio::time::interval(Duration::from_millis(5)), |mut ticks| async {
        ticks.tick().await;
        Some((Ok::<_, std::convert::Infallible>(" "), ticks))
    });
    axum::body::Body::from_stream(ticks).into_response()
}

#[tokio::test]
async fn a_page_may_have_its_limit_of_bytes_and_not_one_more() {
    let http = limited(small_limits());
    let body = answer(&[record("a")]);
    let padded = |bytes: usize| format!("{body}{}", " ".repeat(bytes - body.len()));
    let upstream = Upstream::text(padded(64 << 10)).await;
    assert_eq!(upstream.fetch_with(&http, None).await.unwrap().bytes, 64 << 10);
    let upstream = Upstream::text(padded((64 << 10) + 1)).await;
    let cause = permanent(upstream.fetch_with(&http, None).await);
    assert!(cause.contains("page of more than 65536 bytes"), "{cause}");
}

#[tokio::test]
async fn a_page_has_no_more_records_than_allowed() {
    let records = |count: usize| vec![record("a"); count];
    let http = limited(small_limits());
    let upstream = Upstream::text(answer(&records(100))).await;
    assert_eq!(upstream.fetch_with(&http, None).await.unwrap().records.len(), 100);
    let upstream = Upstream::text(answer(&records(101))).await;
    let cause = permanent(upstream.fetch_with(&http, None).await);
    assert!(cause.contains("more than 100 records"), "{cause}");
}

#[tokio::test]
async fn large_pages_share_the_byte_budget() {
    // Enough for one large page beside the small share of the other slot.
    let http = limited(small_limits());
    let large = Upstream::text(format!("{}{}", answer(&[record("a")]), " ".repeat(20_000))).await;
    let small = Upstream::text(answer(&[record("b")])).await;

    let held = large.fetch_with(&http, None).await.unwrap();
    assert!(held.reservation.is_large());
    let second = fetch(&*list(&large.url), &http, None, Duration::from_millis(150)).await;
    assert!(matches!(second, Err(FetchError::NoRoom { .. })), "{second:?}");
    assert!(!small.fetch_with(&http, None).await.unwrap().reservation.is_large());

    drop(held);
    assert!(large.fetch_with(&http, None).await.is_ok());
    // A body of unknown length reserves when it outgrows its share.
    let chunked = Upstream::start(|_| {
        let text = format!("{}{}", answer(&[record("a")]), " ".repeat(20_000));
        axum::body::Body::from_stream(futures::stream::iter([Ok::<_, std::convert::Infallible>(text)]))
    })
    .await;
    assert!(chunked.fetch_with(&http, None).await.unwrap().reservation.is_large());
}

#[tokio::test]
async fn a_large_body_that_stops_leaves_its_share_to_others() {
    // Enough for one large page.
    let http = limited(small_limits());
    let begun: &str = Box::leak(format!("{{\"items\":[{}", " ".repeat(20_000)).into_boxed_str());
    let silent = Upstream::start(move |_| stuck(begun)).await;
    let large = Upstream::text(format!("{}{}", answer(&[record("a")]), " ".repeat(20_000))).await;
    let (stopped, page) = tokio::join!(silent.fetch_with(&http, None), async {
        while silent.seen().is_empty() {
            tokio::task::yield_now().await;
        }
        large.fetch_with(&http, None).await
    });
    assert_eq!(page.unwrap().records.len(), 1);
    assert!(transient(stopped).contains("the answer stopped for 2s"));
}

#[tokio::test]
async fn a_page_of_megabytes_is_read_apart() {
    let records = (0..10_000).map(|index| {
        let mut record = record(&index.to_string());
        record["note"] = "x".repeat(300).into();
        record
    });
    let upstream = Upstream::text(answer(&records.collect::<Vec<_>>())).await;
    let page = upstream.fetch().await.unwrap();
    assert!(page.bytes > 3 << 20);
    assert_eq!(page.records.len(), 10_000);
    assert_eq!(page.records.last().unwrap().key, "9999");
    assert!(page.reservation.is_large());
}
