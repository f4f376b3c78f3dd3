//! How often an upstream is asked: never more than a dozen times, and not at all when it has had enough.

use async_trait::async_trait;
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde_json::json;
use sources::examine::{Examiner, FindingKind, MOST_REQUESTS, Outcome, Verdict};
use tokio_util::sync::CancellationToken;

use super::world::{Bounds, Paging, World};
use super::{Onlooker, endpoint, examined, examined_by, found, kinds, page};
use crate::upstream::Upstream;

#[tokio::test]
async fn an_upstream_is_asked_a_dozen_times_at_most_redirects_included() {
    let worst = World {
        newest_first: true,
        total: |_| json!(null),
        cursor: |number| format!("c%3D{number}"),
        reads_cursor: |it| it.strip_prefix("c=")?.parse().ok(),
        every: chrono::TimeDelta::hours(2),
        ..World::new(Paging::Cursor, Bounds::Rfc3339)
    };
    let seen = examined(worst, worst.settings()).await;
    assert_eq!((seen.sent, seen.stopped.as_deref()), (10, None), "{seen:#?}");
    let redirected = World { redirects: true, ..worst };
    let seen = examined(redirected, redirected.settings()).await;
    assert_eq!(seen.sent, MOST_REQUESTS);
    assert!(seen.stopped.as_deref().is_some_and(|why| why.contains("12 requests")), "{seen:#?}");
    assert!(found(&seen, FindingKind::Redirected).seen.contains("/moved/calls?"), "{seen:#?}");
}

/// Every mixture of habits: `examined` sees to the number of requests, and that what is proposed is taken.
#[tokio::test]
async fn no_mixture_of_habits_makes_it_more() {
    for mixture in (0_usize..512).step_by(5) {
        let has = |bit: usize| mixture >> bit & 1 == 1;
        let paging = [Paging::PageNumber, Paging::Offset, Paging::Cursor, Paging::NextUrl][(mixture * 7) % 4];
        let bounds = [Bounds::Rfc3339, Bounds::Date, Bounds::Unix, Bounds::Clock][(mixture * 11) % 4];
        let world = World {
            newest_first: has(0),
            window: has(1).then(|| chrono::TimeDelta::days(4)),
            total: if has(2) { |totals| json!(totals.all) } else { |totals| json!(totals.on_page) },
            ignores_bound: has(3),
            shuffles: has(4),
            more: if has(5) { |more| json!(!more) } else { |more| json!(more) },
            largest_page: if has(6) { 3 } else { 1000 },
            redirects: has(7),
            grows: usize::from(has(8)),
            is_exclusive: mixture % 3 == 0,
            early: usize::from(mixture % 5 == 0),
            clock: chrono::TimeDelta::hours(if mixture % 7 == 0 { 9 } else { 0 }),
            ..World::new(paging, bounds)
        };
        let seen = examined(world, world.settings()).await;
        if let Some(settings) = seen.settings {
            sources::planning("paged_json", &settings).unwrap();
        }
    }
}

#[tokio::test]
async fn a_redirect_in_a_circle_does_not_exceed_it_either() {
    let upstream = Upstream::start(|parts| {
        (StatusCode::FOUND, [("location", format!("{}x", parts.uri))]).into_response()
    })
    .await;
    let world = World::new(Paging::Cursor, Bounds::Rfc3339);
    let seen = examined_by(&endpoint(&upstream, world.settings()), false, &Onlooker::default()).await;
    assert!(matches!(&seen.outcome, Outcome::Error(error) if error.cause.contains("redirects")), "{seen:#?}");
    assert_eq!((upstream.seen().len(), seen.sent), (4, 4));
}

#[tokio::test]
async fn an_upstream_that_has_had_enough_is_asked_no_more() {
    for (many, status, why) in [(3, 429, "asked to be left alone"), (3, 500, "several requests failed")] {
        let world =
            World { refuses_after: Some((many, status)), ..World::new(Paging::Cursor, Bounds::Rfc3339) };
        let seen = examined(world, world.settings()).await;
        let faults = if status == 429 { 1 } else { 2 };
        assert_eq!(seen.requests.len(), many + faults, "{seen:#?}");
        assert!(seen.stopped.as_deref().is_some_and(|stopped| stopped.contains(why)), "{seen:#?}");
        // What was not answered shows nothing.
        assert_eq!(kinds(&seen), []);
    }
    let world =
        World { headers: &[("x-ratelimit-remaining", "0")], ..World::new(Paging::Cursor, Bounds::Rfc3339) };
    let seen = examined(world, world.settings()).await;
    assert_eq!((seen.sent, kinds(&seen)), (1, vec![FindingKind::RateHeaders]));
}

/// Lets so many requests be sent.
struct Sparing(std::sync::atomic::AtomicU32);

#[async_trait]
impl Examiner for Sparing {
    async fn turn(&self) -> Result<(), String> {
        let left = self.0.load(std::sync::atomic::Ordering::SeqCst);
        self.0.store(left.saturating_sub(1), std::sync::atomic::Ordering::SeqCst);
        if left > 0 { Ok(()) } else { Err("enough, says the limit".to_owned()) }
    }
}

#[tokio::test]
async fn the_limits_of_the_connection_are_kept() {
    let world = World::new(Paging::PageNumber, Bounds::Rfc3339);
    for (many, first) in [(0, false), (2, true)] {
        let upstream = world.start().await;
        let seen = examined_by(&endpoint(&upstream, world.settings()), false, &Sparing(many.into())).await;
        assert_eq!((seen.sent, seen.stopped.as_deref()), (many, Some("enough, says the limit")));
        assert_eq!(matches!(seen.outcome, Outcome::Page(_)), first, "{seen:#?}");
        assert_eq!(upstream.seen().len(), usize::try_from(many).unwrap());
    }
}

/// Interrupts when the third request has ended.
#[derive(Default)]
struct Impatient(Onlooker, CancellationToken);

#[async_trait]
impl Examiner for Impatient {
    fn asked(&self, asked: &sources::examine::Asked) {
        self.0.asked(asked);
        if self.0.0.lock().unwrap().len() == 3 {
            self.1.cancel();
        }
    }

    async fn turn(&self) -> Result<(), String> {
        if self.1.is_cancelled() { std::future::pending().await } else { Ok(()) }
    }

    async fn interrupted(&self) {
        self.1.cancelled().await;
    }
}

#[tokio::test]
async fn what_was_learned_before_an_interruption_is_told() {
    let world = World { largest_page: 4, ..World::new(Paging::PageNumber, Bounds::Rfc3339) };
    let upstream = world.start().await;
    let seen = examined_by(&endpoint(&upstream, world.settings()), false, &Impatient::default()).await;
    assert_eq!((seen.sent, seen.stopped.as_deref()), (3, Some("it was interrupted")));
    assert_eq!(kinds(&seen), [FindingKind::PageSizeClamped]);
}

#[tokio::test]
async fn one_page_is_enough_for_whoever_is_in_a_hurry() {
    let world = World { largest_page: 4, ..World::new(Paging::PageNumber, Bounds::Rfc3339) };
    let upstream = world.start().await;
    let seen = examined_by(&endpoint(&upstream, world.settings()), true, &Onlooker::default()).await;
    assert_eq!((seen.sent, kinds(&seen), page(&seen).stored), (1, vec![], 4));
}

#[tokio::test]
async fn pages_of_which_records_fail_say_why() {
    let world = World {
        id: |number| if number % 5 == 0 { json!(null) } else { json!(number) },
        ..World::new(Paging::PageNumber, Bounds::Rfc3339)
    };
    let seen = examined(world, world.settings()).await;
    let page_seen = page(&seen);
    assert_eq!((page_seen.verdict(), page_seen.failed), (Verdict::SomeFailed, 2));
    assert_eq!((page_seen.reasons.len(), page_seen.reasons[0].count), (1, 2));
    assert!(page_seen.reasons[0].reason.contains("no id at \"/id\""), "{page_seen:?}");
    let world = World { id: |_| json!(null), ..world };
    assert_eq!(page(&examined(world, world.settings()).await).verdict(), Verdict::AllFailed);
}

#[tokio::test]
async fn a_preset_is_examined_and_its_own_settings_are_proposed() {
    let upstream = Upstream::start(|parts| {
        let page = usize::from(parts.uri.query().is_some_and(|query| query.contains("cursor")));
        let results: Vec<_> = (0..50)
            .map(|call| json!({"callId": format!("{page}-{call}"), "created": "2026-02-01T00:00:00Z", "ended": "2026-02-01T00:00:00Z"}))
            .collect();
        axum::Json(json!({"results": results, "next": (page == 0).then_some("/api/calls?cursor=1"), "total": 50}))
    })
    .await;
    let ultravox = sources::Endpoint { kind: "ultravox".to_owned(), ..endpoint(&upstream, json!({})) };
    let seen = examined_by(&ultravox, false, &Onlooker::default()).await;
    let patch = json!({"page_size": 50, "total_is": "estimate"});
    assert_eq!(seen.patch, Some(patch), "{seen:#?}");
}

#[tokio::test]
async fn no_secret_of_the_connection_is_shown() {
    let world = World::new(Paging::NextUrl, Bounds::Rfc3339);
    let upstream = Upstream::start(|parts| {
        let key = parts.headers.get("x-api-key").map(|key| key.to_str().unwrap().to_owned()).unwrap_or_default();
        let row = |id: &str| json!({"id": format!("{id} {key}"), "at": key});
        let body = json!({"data": [row("a"), row("b")], "next": format!("/calls?key={key}"), "total": 9, "more": true});
        ([("x-ratelimit-limit", key.clone()), ("link", key.clone())], axum::Json(body)).into_response()
    })
    .await;
    let mut settings = world.settings();
    settings["auth"] = json!({"header": "x-api-key", "value": "{api_key}"});
    let seen = examined_by(&endpoint(&upstream, settings), false, &Onlooker::default()).await;
    let told = serde_json::to_string(&seen).unwrap();
    assert!(told.contains("[redacted]") && !told.contains("s3cret"), "{told}");
}
