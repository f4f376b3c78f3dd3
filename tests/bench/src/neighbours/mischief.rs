//! What a tenant with ordinary API keys, and upstreams of its choice, can do to the others.

use super::ground::Ground;
use anyhow::Result;
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep};
use uuid::Uuid;

/// Who sends floods shares the machine with the programs, so a flood has a rate: requests per second.
const FLOOD: u32 = 250;
/// Requests of a flood that are under way at a time; who floods waits for no answer.
const UNDER_WAY: usize = 200;
/// Sockets that are never read from, and requests on each.
const UNREAD: (usize, usize) = (24, 8);
/// Streams that are kept open.
const STREAMS: usize = 100;
/// Before what was closed or refused is opened again.
const AGAIN: Duration = Duration::from_millis(200);
/// How long plans are left alone before their jobs are cancelled, and how long before all begins anew.
const PLANNED: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(1));

/// A kind of it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Mischief {
    Unread,
    Streams,
    Silent,
    Huge,
    Endless,
    Plans,
    StartsAndCancels,
    Statuses,
    Guesses,
}

/// Mischief that is being done.
pub(super) struct Doing(JoinSet<()>);

impl Doing {
    pub(super) fn end(mut self) {
        self.0.abort_all();
    }
}

impl Mischief {
    pub(super) const ALL: [Self; 9] = [
        Self::Unread,
        Self::Streams,
        Self::Silent,
        Self::Huge,
        Self::Endless,
        Self::Plans,
        Self::StartsAndCancels,
        Self::Statuses,
        Self::Guesses,
    ];

    pub(super) fn told(self) -> &'static str {
        match self {
            Self::Unread => "large answers are never read",
            Self::Streams => "100 event streams",
            Self::Silent => "24 upstreams announce and stay silent",
            Self::Huge => "24 upstreams send pages of 6 MB",
            Self::Endless => "24 lists never end",
            Self::Plans => "24 starts of 9,862 slices, again and again",
            Self::StartsAndCancels => "a flood of starts and cancels",
            Self::Statuses => "a flood of status requests",
            Self::Guesses => "a flood of wrong keys",
        }
    }

    pub(super) async fn begin(self, ground: &Arc<Ground>) -> Result<Doing> {
        let mut doing = JoinSet::new();
        let other = &ground.other;
        match self {
            Self::Unread => {
                for number in 0..UNREAD.0 {
                    doing.spawn(never_read(Arc::clone(ground), number));
                }
            }
            Self::Streams => {
                let job = start(ground, other.hanging[0]).await?;
                for _ in 0..STREAMS {
                    doing.spawn(follow(Arc::clone(ground), job));
                }
            }
            Self::Silent => start_all(ground, &other.silent).await?,
            Self::Huge => start_all(ground, &other.huge).await?,
            Self::Endless => start_all(ground, &other.endless).await?,
            Self::Plans => drop(doing.spawn(plan_and_cancel(Arc::clone(ground)))),
            Self::StartsAndCancels => drop(doing.spawn(flood(Arc::clone(ground), start_and_cancel))),
            Self::Statuses => drop(doing.spawn(flood(Arc::clone(ground), ask_for_status))),
            Self::Guesses => drop(doing.spawn(flood(Arc::clone(ground), guess))),
        }
        Ok(Doing(doing))
    }
}

/// What the answer is does not matter.
async fn answered(request: RequestBuilder) {
    if let Ok(answer) = request.send().await {
        drop(answer.bytes().await);
    }
}

async fn start(ground: &Ground, connection: Uuid) -> Result<Uuid> {
    let job = Uuid::new_v4();
    ground.deployment.publish("start", json!({ "job_id": job, "connection_id": connection })).await?;
    let there = "select count(*) = 1 from jobs where id = any($1)";
    ground.deployment.until(there, &[job]).await?;
    Ok(job)
}

async fn start_all(ground: &Ground, connections: &[Uuid]) -> Result<()> {
    for connection in connections {
        ground.deployment.publish("start", json!({ "connection_id": connection })).await?;
    }
    Ok(())
}

/// Asks for large answers on one connection, and keeps it until it is closed.
async fn never_read(ground: Arc<Ground>, number: usize) {
    let (host, key) = (ground.api.trim_start_matches("http://"), &ground.other.keys[0]);
    let path = match number % 2 {
        0 => format!("/v1/jobs/{}/results?limit=500", ground.other.wide),
        _ => "/docs/swagger-ui-bundle.js".to_owned(),
    };
    let request = format!("GET {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {key}\r\n\r\n");
    loop {
        let held = async {
            let mut socket = TcpStream::connect(host).await?;
            socket.write_all(request.repeat(UNREAD.1).as_bytes()).await?;
            // A closed connection is seen by whoever still sends.
            loop {
                sleep(AGAIN).await;
                socket.write_all(b"\r\n").await?;
            }
        };
        let _closed: std::io::Result<()> = held.await;
        sleep(AGAIN).await;
    }
}

async fn follow(ground: Arc<Ground>, job: Uuid) {
    let host = ground.api.trim_start_matches("http://").to_owned();
    let key = &ground.other.keys[0];
    let request = format!(
        "GET /api/v1/jobs/{job}/events HTTP/1.1\r\nhost: {host}\r\naccept: text/event-stream\r\nauthorization: Bearer {key}\r\nconnection: close\r\n\r\n"
    );
    loop {
        let held = async {
            let mut socket = TcpStream::connect(&host).await?;
            socket.write_all(request.as_bytes()).await?;
            let mut read = [0; 4096];
            while socket.read(&mut read).await? > 0 {}
            std::io::Result::Ok(())
        };
        drop(held.await);
        sleep(AGAIN).await;
    }
}

async fn plan_and_cancel(ground: Arc<Ground>) {
    loop {
        let jobs: Vec<Uuid> = ground.other.many_slices.iter().map(|_| Uuid::new_v4()).collect();
        for (job, connection) in jobs.iter().zip(&ground.other.many_slices) {
            let start = json!({
                "job_id": job, "connection_id": connection,
                "date_from": "1999-01-01T00:00:00Z", "date_to": "2025-12-31T00:00:00Z",
            });
            drop(ground.deployment.publish("start", start).await);
        }
        sleep(PLANNED.0).await;
        for job in &jobs {
            drop(ground.deployment.publish("cancel", json!({ "job_id": job })).await);
        }
        sleep(PLANNED.1).await;
    }
}

async fn start_and_cancel(ground: Arc<Ground>, nth: usize) {
    let other = &ground.other;
    let key = &other.keys[nth % other.keys.len()];
    let post = |path: &str, body: Value| {
        other.client.post(format!("{}/api/v1/jobs{path}", ground.api)).bearer_auth(key).json(&body)
    };
    let start = post("", json!({ "connection_id": other.hanging[nth % other.hanging.len()] }));
    // Refusals are part of it.
    let Ok(Ok(started)) = start.send().await.map(Response::error_for_status) else { return };
    let Ok(started) = started.json::<Value>().await else { return };
    if let Some(job) = started["id"].as_str() {
        answered(post(&format!("/{job}/cancel"), json!({}))).await;
    }
}

async fn ask_for_status(ground: Arc<Ground>, nth: usize) {
    let other = &ground.other;
    let path = ["", "/explain", "/events"][nth % 3];
    let url = format!("{}/api/v1/jobs/{}{path}", ground.api, other.wide);
    answered(other.client.get(url).bearer_auth(&other.keys[nth % other.keys.len()])).await;
}

async fn guess(ground: Arc<Ground>, nth: usize) {
    let key = &ground.other.keys[0];
    let wrong = format!("{}{nth:08}", &key[..key.len() - 8]);
    answered(ground.other.client.get(format!("{}/api/v1/jobs", ground.api)).bearer_auth(wrong)).await;
}

/// Does something at a rate, whether or not it was answered before.
async fn flood<F: Future<Output = ()> + Send + 'static>(
    ground: Arc<Ground>,
    each: impl Fn(Arc<Ground>, usize) -> F + Send + 'static,
) {
    let mut under_way = JoinSet::new();
    let mut ticks = interval(Duration::from_secs(1) / FLOOD);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    for nth in 0.. {
        ticks.tick().await;
        while under_way.try_join_next().is_some() {}
        if under_way.len() < UNDER_WAY {
            under_way.spawn(each(Arc::clone(&ground), nth));
        }
    }
}
