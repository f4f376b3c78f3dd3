use super::*;
use futures::future::join_all;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use std::time::Instant;

async fn upstream() -> SampleUpstream {
    SampleUpstream::start(Options::new([TenantOptions::new("a", 250), TenantOptions::new("b", 3)]))
        .await
        .unwrap()
}

fn client() -> Client {
    sealing::install_tls_provider();
    Client::builder().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn get(upstream: &SampleUpstream, query: &str) -> reqwest::RequestBuilder {
    client().get(format!("{}/api/calls?{query}", upstream.base_url())).header("X-API-Key", upstream.key("a"))
}

/// The records of a page as their exact bytes.
fn records(page: &str) -> Vec<String> {
    #[derive(serde::Deserialize)]
    struct Page<'a> {
        #[serde(borrow)]
        results: Vec<&'a serde_json::value::RawValue>,
    }
    serde_json::from_str::<Page<'_>>(page)
        .unwrap()
        .results
        .iter()
        .map(|record| record.get().to_owned())
        .collect()
}

#[tokio::test]
async fn walking_the_list_gives_exactly_what_is_expected() {
    let upstream = upstream().await;
    upstream.edit("a", 3);
    upstream.delete("a", 4);
    let created = upstream.created("a", 100).unwrap();
    let added = upstream.add("a", created);
    upstream.set_running("a", 5, true);

    let mut found = Vec::new();
    let mut url = format!("{}/api/calls?pageSize=1000", upstream.base_url());
    loop {
        let answer = client().get(&url).header("X-API-Key", "key-a").send().await.unwrap();
        let text = answer.text().await.unwrap();
        let page: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(page["total"], 250);
        found.extend(records(&text));
        let Some(next) = page["next"].as_str() else { break };
        url = next.to_owned();
    }
    let expected: Vec<_> = upstream.expected("a", Span::ALL).collect();
    found.reverse();
    assert_eq!(found.len(), 250);
    for (text, expected) in found.iter().zip(&expected) {
        assert_eq!(blake3::hash(text.as_bytes()).as_bytes(), &expected.hash);
        assert!(text.contains(&expected.id));
        assert_eq!(expected.running, text.contains(r#""ended":null"#));
    }
    assert!(expected.iter().any(|call| call.id == upstream.id("a", added)));
    assert!(upstream.fetches().values().all(|times| *times == 1));
    assert_eq!(upstream.seen(), Seen { requests: 3, answered: 3, most_open: 1, ..Seen::default() });
}

#[tokio::test]
async fn keys_ids_and_paths_are_checked() {
    let upstream = upstream().await;
    let status = async |path: &str, key: &str| {
        let request = client().get(format!("{}{path}", upstream.base_url())).header("X-API-Key", key);
        request.send().await.unwrap().status()
    };
    let one = format!("/api/calls/{}", upstream.id("a", 7));
    assert_eq!(status("/api/calls", "nobody").await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&one, "key-a").await, StatusCode::OK);
    assert_eq!(status(&one, "key-b").await, StatusCode::NOT_FOUND);
    assert_eq!(status("/api/calls?pageSize=x", "key-a").await, StatusCode::BAD_REQUEST);
    assert_eq!(status("/api/other", "key-a").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn limits_refuse_and_say_for_how_long() {
    let upstream = upstream().await;
    upstream.behave(|behaviour| {
        behaviour.limit = Some(Limit { by: LimitBy::EveryNth(2), retry_after: Some("7".to_owned()) });
    });
    assert_eq!(get(&upstream, "").send().await.unwrap().status(), 200);
    let refused = get(&upstream, "").send().await.unwrap();
    assert_eq!((refused.status().as_u16(), &refused.headers()["retry-after"]), (429, &"7".parse().unwrap()));

    upstream
        .behave(|behaviour| behaviour.limit = Some(Limit { by: LimitBy::PerSecond(0), retry_after: None }));
    assert_eq!(get(&upstream, "").send().await.unwrap().status(), 429);
    assert_eq!(upstream.seen().limited, 2);
}

#[tokio::test]
async fn a_gate_holds_lets_through_and_releases() {
    let upstream = upstream().await;
    upstream.hold_if(|asked| asked.tenant == "a" && asked.is_first_page());
    let requests: Vec<_> = (0..3).map(|_| tokio::spawn(get(&upstream, "").send())).collect();
    assert_eq!(upstream.until(|seen| seen.held == 3).await.open, 3);
    let other = client().get(format!("{}/api/calls", upstream.base_url())).header("X-API-Key", "key-b");
    assert_eq!(other.send().await.unwrap().status(), 200);

    upstream.let_through(1);
    upstream.until(|seen| seen.held == 2 && seen.answered == 2).await;
    upstream.release();
    for answer in join_all(requests).await {
        assert_eq!(answer.unwrap().unwrap().status(), 200);
    }
    assert_eq!(get(&upstream, "").send().await.unwrap().status(), 200);
    assert_eq!(upstream.seen().disconnects, 0);
}

#[tokio::test]
async fn a_client_that_leaves_is_noticed_at_once_wherever_its_request_is() {
    let upstream = upstream().await;
    upstream.hold_if(|asked| asked.number == 1);
    upstream.script(|asked| asked.number == 2, Answer::Hang);
    upstream.script(|asked| asked.number == 3, Answer::Stall);
    for number in 1..=3 {
        let request = get(&upstream, "").send();
        let client = tokio::spawn(async move { request.await.unwrap().bytes().await });
        upstream.until(|seen| seen.held == 1).await;
        let left = Instant::now();
        client.abort();
        let seen = upstream.until(|seen| seen.disconnects == number).await;
        assert_eq!((seen.open, seen.held), (0, 0));
        let noticed = upstream.disconnects().pop().unwrap();
        assert_eq!(noticed.asked.number, number);
        assert!(noticed.at >= left);
    }
    upstream.script(|_asked| true, Answer::Endless);
    let mut answer = get(&upstream, "").send().await.unwrap();
    assert!(answer.chunk().await.unwrap().is_some());
    drop(answer);
    upstream.until(|seen| seen.disconnects == 4).await;
}

#[tokio::test]
async fn scripted_answers_arrive_as_scripted() {
    let upstream = upstream().await;
    upstream.script(|_asked| true, Answer::json(r#"{"results":[]}"#));
    upstream.script(|_asked| true, Answer::redirect("http://elsewhere.example/"));
    upstream.script(|_asked| true, Answer::retry_after(503, "Wed, 21 Oct 2026 07:28:00 GMT"));
    upstream.script_times(|_asked| true, Answer::html(), 2);
    let next = async || get(&upstream, "").send().await.unwrap();
    assert_eq!(next().await.text().await.unwrap(), r#"{"results":[]}"#);
    assert_eq!(next().await.headers()["location"], "http://elsewhere.example/");
    let busy = next().await;
    assert_eq!((busy.status().as_u16(), busy.headers().contains_key("retry-after")), (503, true));
    for _ in 0..2 {
        assert!(next().await.text().await.unwrap().starts_with("<!doctype html>"));
    }
    assert!(next().await.text().await.unwrap().starts_with(r#"{"next":"http://127.0.0.1:"#));
}

#[tokio::test]
async fn broken_bodies_are_broken_as_announced() {
    let upstream = upstream().await;
    upstream.script(|_asked| true, Answer::Truncate);
    let cut = get(&upstream, "").send().await.unwrap();
    assert!(cut.content_length().unwrap() > 20_000);
    assert!(cut.text().await.is_err());

    upstream.script(|_asked| true, Answer::Stall);
    let mut stalled = get(&upstream, "").send().await.unwrap();
    let announced = stalled.content_length().unwrap();
    let mut read = u64::try_from(stalled.chunk().await.unwrap().unwrap().len()).unwrap();
    upstream.until(|seen| seen.held == 1).await;
    upstream.release();
    while let Some(chunk) = stalled.chunk().await.unwrap() {
        read += u64::try_from(chunk.len()).unwrap();
    }
    assert_eq!(read, announced);

    for announced in [true, false] {
        upstream.script(|_asked| true, Answer::Huge { bytes: 3_000_000, announced });
        let huge = get(&upstream, "").send().await.unwrap();
        assert_eq!(huge.content_length(), announced.then_some(3_000_000));
        assert_eq!(huge.bytes().await.unwrap().len(), 3_000_000);
    }
}

#[tokio::test]
async fn a_call_may_be_any_text() {
    let upstream = upstream().await;
    upstream.set_raw("b", 1, r#"{"callId":"x","n":1e400000}"#);
    let request = client().get(format!("{}/api/calls", upstream.base_url())).header("X-API-Key", "key-b");
    let page = request.send().await.unwrap().text().await.unwrap();
    assert_eq!(records(&page)[1], r#"{"callId":"x","n":1e400000}"#);
    assert_eq!(upstream.expected("b", Span::ALL).filter(|call| call.raw).count(), 1);
}
