//! Examinations: each habit of an upstream is found where it is, and nowhere else.

mod habits;
mod honest;
mod requests;
mod world;

use std::sync::Mutex;
use std::time::Duration;

use chrono::{DateTime, Utc};
use protocol::slice::Span;
use serde_json::{Value, json};
use sources::examine::{
    Asked, Examination, ExamineRequest, Examiner, Finding, FindingKind, MOST_REQUESTS, Outcome, PageSeen,
    examine,
};
use sources::{Endpoint, FetchConfig};

use crate::upstream::Upstream;
use world::World;

/// Whoever looks on: counts what it is told.
#[derive(Default)]
struct Onlooker(Mutex<Vec<String>>);

impl Examiner for Onlooker {
    fn asked(&self, asked: &Asked) {
        self.0.lock().unwrap().push(asked.purpose.clone());
    }
}

fn now() -> DateTime<Utc> {
    "2026-03-01T18:00:00Z".parse().unwrap()
}

fn endpoint(upstream: &Upstream, settings: Value) -> Endpoint {
    Endpoint {
        kind: "paged_json".to_owned(),
        base_url: upstream.url.clone(),
        credentials: json!({"api_key": "s3cret-of-this-test"}),
        settings,
    }
}

async fn examined_by(endpoint: &Endpoint, quick: bool, examiner: &dyn Examiner) -> Examination {
    let span = Span { from: None, to: now() };
    let budget = Duration::from_secs(20);
    let request = ExamineRequest { span, cursor: None, budget, show: 3, quick, now: now() };
    let limits = FetchConfig { allow_private_addresses: true, ..FetchConfig::default() };
    examine(endpoint, request, limits, examiner).await.unwrap()
}

/// Examines an upstream, and sees to what holds for every examination.
async fn examined(world: World, settings: Value) -> Examination {
    let upstream = world.start().await;
    let onlooker = Onlooker::default();
    let seen = examined_by(&endpoint(&upstream, settings), false, &onlooker).await;
    let sent = u32::try_from(upstream.seen().len()).unwrap();
    assert!(sent <= MOST_REQUESTS && seen.sent == sent, "{sent} {:#?}", seen.requests);
    assert_eq!(onlooker.0.into_inner().unwrap().len(), seen.requests.len());
    for found in &seen.findings {
        for words in [&found.asked, &found.seen, &found.means] {
            assert!(!words.is_empty() && !words.contains("  "), "{found:?}");
        }
    }
    seen
}

/// What an assertion shows.
fn told(seen: &Examination) -> String {
    let asked = seen.requests.iter().map(|asked| {
        format!(
            "{}: {} {:?} {:?} of {:?}",
            asked.purpose, asked.url, asked.status, asked.records, asked.total
        )
    });
    let found = seen.findings.iter().map(|found| format!("{found:?}"));
    asked.chain(found).chain(seen.stopped.clone()).collect::<Vec<_>>().join("\n")
}

fn kinds(seen: &Examination) -> Vec<FindingKind> {
    seen.findings.iter().map(|found| found.kind).collect()
}

fn found(seen: &Examination, kind: FindingKind) -> &Finding {
    let found = seen.findings.iter().find(|found| found.kind == kind);
    found.unwrap_or_else(|| panic!("no {kind:?}: {}", told(seen)))
}

fn page(seen: &Examination) -> &PageSeen {
    match &seen.outcome {
        Outcome::Page(page) => page,
        Outcome::Error(error) => panic!("{error:?}"),
    }
}
