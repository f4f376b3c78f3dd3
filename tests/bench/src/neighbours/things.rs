//! The ordinary things that a tenant does.

use super::ground::Ground;
use anyhow::{Context, Result};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use uuid::Uuid;

/// What they are, in the order in which they are done.
pub(super) const THINGS: [&str; 10] = [
    "start over HTTP → answer",
    "event stream → first event",
    "start over HTTP → record is there",
    "status",
    "list of jobs",
    "explain",
    "results",
    "list of connections",
    "cancel over HTTP → answer",
    "start by message → record is there",
];

/// What counts for a request that was refused, or for what has not happened in this time.
pub(super) const REFUSED: Duration = Duration::from_secs(5);
/// Between two looks at whether a job is over.
const LOOK: Duration = Duration::from_millis(4);
/// Between two times that all is done: a caller has a rate.
const PAUSE: Duration = Duration::from_millis(50);

/// How long each took.
#[derive(Debug, Default)]
pub(super) struct Times(pub(super) [Vec<Duration>; THINGS.len()]);

/// Does all of them once, one after the other.
pub(super) async fn once(ground: &Ground, times: &mut Times) -> Result<()> {
    let mut note = |thing: usize, took: Duration| times.0[thing].push(took);
    let victim = &ground.victim;
    let get = |path: String| victim.client.get(format!("{}{path}", ground.api)).bearer_auth(&victim.key);
    let post = |path: String, body: Value| {
        victim.client.post(format!("{}{path}", ground.api)).bearer_auth(&victim.key).json(&body)
    };

    let began = Instant::now();
    let (took, job) =
        started(post("/api/v1/jobs".to_owned(), json!({ "connection_id": victim.small }))).await?;
    note(0, took);
    if let Some(job) = job {
        let events = get(format!("/api/v1/jobs/{job}/events")).header("accept", "text/event-stream");
        note(1, first_event(events).await);
        note(2, over(ground, job, began).await?);
        for (thing, path) in [
            (3, format!("/api/v1/jobs/{job}")),
            (4, "/api/v1/jobs?limit=20".to_owned()),
            (5, format!("/api/v1/jobs/{job}/explain")),
            (6, format!("/v1/jobs/{job}/results?limit=100")),
        ] {
            note(thing, whole(get(path)).await);
        }
    }
    let list =
        victim.client.get(format!("{}/source-connections", ground.api)).header("x-api-key", &victim.key);
    note(7, whole(list).await);
    let hangs = post("/api/v1/jobs".to_owned(), json!({ "connection_id": victim.hanging }));
    if let (_, Some(job)) = started(hangs).await? {
        note(8, whole(post(format!("/api/v1/jobs/{job}/cancel"), json!({}))).await);
        over(ground, job, Instant::now()).await?;
    }
    let (job, began) = (Uuid::new_v4(), Instant::now());
    ground.deployment.publish("start", json!({ "job_id": job, "connection_id": victim.small })).await?;
    note(9, over(ground, job, began).await?);
    sleep(PAUSE).await;
    Ok(())
}

/// From the request to the end of its answer.
async fn whole(request: RequestBuilder) -> Duration {
    let began = Instant::now();
    let read = async { request.send().await?.error_for_status()?.bytes().await };
    if read.await.is_ok() { began.elapsed() } else { REFUSED }
}

async fn started(request: RequestBuilder) -> Result<(Duration, Option<Uuid>)> {
    let began = Instant::now();
    let Ok(answer) = request.send().await.and_then(Response::error_for_status) else {
        return Ok((REFUSED, None));
    };
    let job: Value = answer.json().await?;
    Ok((began.elapsed(), Some(job["id"].as_str().context("a job")?.parse()?)))
}

async fn first_event(request: RequestBuilder) -> Duration {
    let began = Instant::now();
    let read = async { request.send().await?.error_for_status()?.chunk().await };
    if matches!(read.await, Ok(Some(_))) { began.elapsed() } else { REFUSED }
}

/// Waits until a job is over. One that takes too long is cancelled, so that the next can begin.
async fn over(ground: &Ground, job: Uuid, began: Instant) -> Result<Duration> {
    let mut session = ground.session.lock().await;
    let over = "select exists (select from jobs where id = $1 and finished_at is not null)";
    while !sqlx::query_scalar::<_, bool>(over).bind(job).fetch_one(&mut *session).await? {
        if began.elapsed() > REFUSED {
            ground.deployment.publish("cancel", json!({ "job_id": job })).await?;
            return Ok(REFUSED);
        }
        sleep(LOOK).await;
    }
    Ok(began.elapsed())
}
