//! The events of a job over HTTP: as a list, and as a stream.

use anyhow::{Context, Result};
use futures::StreamExt;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use reqwest::{Method, Response, StatusCode};
use serde_json::{Value, json};
use testkit::api::{Api, new_key, read};
use testkit::fixture::Fixture;

/// One event of a stream.
#[derive(Debug)]
struct Sent {
    id: Option<i64>,
    kind: String,
    data: Value,
}

/// Reads a stream to its end, or until `enough`.
async fn sent(response: Response, enough: impl Fn(&[Sent]) -> bool) -> Result<Vec<Sent>> {
    assert_eq!(response.headers()["content-type"], "text/event-stream");
    let (mut text, mut events) = (String::new(), Vec::new());
    let mut chunks = response.bytes_stream();
    while let Some(chunk) = chunks.next().await {
        text.push_str(std::str::from_utf8(&chunk?)?);
        while let Some((block, rest)) = text.split_once("\n\n").map(|(b, r)| (b.to_owned(), r.to_owned())) {
            text = rest;
            let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
            let Some(data) = field("data:") else { continue };
            events.push(Sent {
                id: field("id:").map(str::parse).transpose()?,
                kind: field("event:").context("an event has a kind")?.to_owned(),
                data: serde_json::from_str(data)?,
            });
            if enough(&events) {
                return Ok(events);
            }
        }
    }
    Ok(events)
}

fn kept(events: &[Sent]) -> Vec<&str> {
    events.iter().filter(|event| event.id.is_some()).map(|event| event.kind.as_str()).collect()
}

async fn stream(api: &Api, job: JobId, last: Option<i64>) -> Result<Response> {
    let mut request = api.events_as(&api.key, job);
    if let Some(last) = last {
        request = request.header("last-event-id", last.to_string());
    }
    Ok(request.send().await?.error_for_status()?)
}

#[tokio::test]
async fn a_stream_follows_a_job_to_its_end() -> Result<()> {
    let fixture = Fixture::with_calls(40).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    let following = stream(&api, job, None).await?;

    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    // The first page is settled, and the second one held: that much progress is told while the job stands still.
    let progress = sent(stream(&api, job, None).await?, |events| {
        events.last().is_some_and(|event| event.kind == "job.progressed")
    });
    let progress = progress.await?;
    let last = progress.last().context("there is progress")?;
    assert_eq!((last.id, &last.data["counters"]["processed"]), (None, &json!(10)));

    fixture.upstream.release();
    let events = sent(following, |_| false).await?;
    assert_eq!(kept(&events), ["job.accepted", "job.started", "job.completed"]);
    let end = events.last().context("it has ended")?;
    assert_eq!((&end.data["status"], &end.data["counters"]["imported"]), (&json!("completed"), &json!(40)));

    // From where a broken stream ended; and of a job that is over, at once.
    let rest = sent(stream(&api, job, events[0].id).await?, |_| false).await?;
    assert_eq!(kept(&rest), ["job.started", "job.completed"]);
    let nothing = sent(stream(&api, job, end.id).await?, |_| false).await?;
    assert!(nothing.is_empty(), "{nothing:?}");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn the_list_comes_in_parts() -> Result<()> {
    let fixture = Fixture::with_calls(3).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    let (mut kinds, mut after) = (Vec::new(), 0);
    loop {
        let path = format!("/{job}/events?limit=2&after={after}");
        let (status, body) = read(api.jobs(Method::GET, &path).send().await?).await?;
        assert_eq!(status, StatusCode::OK);
        let data = body["data"].as_array().context("a list")?;
        assert!(data.len() <= 2 && data.iter().all(|event| event["id"].is_i64()), "{body}");
        kinds.extend(data.iter().map(|event| event["event"].as_str().unwrap_or_default().to_owned()));
        match body["pagination"]["next_after"].as_i64() {
            Some(next) => after = next,
            None => break,
        }
    }
    assert_eq!(kinds, ["accepted", "started", "completed"]);

    for (wrong, status, code) in [
        ("limit=0", 400, "invalid_query"),
        ("limit=501", 400, "invalid_query"),
        ("after=x", 400, "invalid_query"),
        ("colour=blue", 422, "unknown_parameter"),
    ] {
        let answer = api.jobs(Method::GET, &format!("/{job}/events?{wrong}")).send().await?;
        let (got, body) = read(answer).await?;
        assert_eq!((got.as_u16(), &body["code"]), (status, &json!(code)), "{wrong}");
    }
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_place_that_is_no_event_is_refused_by_the_list_and_the_stream() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    for accept in ["application/json", "text/event-stream"] {
        let asked = api.jobs(Method::GET, &format!("/{job}/events")).header("accept", accept);
        let (status, problem) = read(asked.header("last-event-id", "HrJ").send().await?).await?;
        assert_eq!(
            (status, &problem["code"]),
            (StatusCode::BAD_REQUEST, &json!("invalid_header")),
            "{accept}"
        );
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn another_tenant_hears_nothing_and_followers_are_limited() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    let stranger = new_key(&fixture, fixture.store.tenants().create("stranger", 16).await?.id).await?;
    for accept in ["application/json", "text/event-stream"] {
        let request = api.jobs_as(&stranger, Method::GET, &format!("/{job}/events"));
        let (status, body) = read(request.header("accept", accept).send().await?).await?;
        assert_eq!((status, &body["code"]), (StatusCode::NOT_FOUND, &json!("job_not_found")), "{accept}");
    }

    let mut open = Vec::new();
    for _ in 0..20 {
        open.push(stream(&api, job, None).await?);
    }
    let request = api.events_as(&api.key, job);
    let (status, body) = read(request.send().await?).await?;
    assert_eq!(
        (status, &body["code"]),
        (StatusCode::SERVICE_UNAVAILABLE, &json!("too_many_streams")),
        "{body}"
    );
    // The list is still there; and each stream ends with the job.
    assert_eq!(api.jobs(Method::GET, &format!("/{job}/events")).send().await?.status(), StatusCode::OK);
    let cancel = api.jobs(Method::POST, &format!("/{job}/cancel")).send().await?;
    assert_eq!(cancel.status(), StatusCode::ACCEPTED);
    for response in open {
        let events = sent(response, |_| false).await?;
        assert_eq!(kept(&events).last(), Some(&"job.cancelled"));
    }
    fixture.finish([]).await
}
