//! The bursts.

use super::Plan;
use super::ground::Ground;
use anyhow::{Context, Result, ensure};
use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;
use uuid::Uuid;

/// Publishes starts at once, and returns how many were accepted and planned per second: from the first publish to the last
/// plan.
pub(super) async fn starts(ground: &Ground, number: usize) -> Result<f64> {
    let jobs: Vec<Uuid> = (0..number).map(|_| Uuid::new_v4()).collect();
    let began = Utc::now();
    publish_starts(ground, &jobs).await?;
    ground
        .deployment
        .until(
            "select count(*) = cardinality($1) from jobs where id = any($1) and started_at is not null",
            &jobs,
        )
        .await?;
    let last: DateTime<Utc> = sqlx::query_scalar("select max(started_at) from jobs where id = any($1)")
        .bind(&jobs)
        .fetch_one(&mut ground.deployment.session().await?)
        .await?;
    Ok(f64::from(u32::try_from(number)?) / (last - began).as_seconds_f64())
}

async fn publish_starts(ground: &Ground, jobs: &[Uuid]) -> Result<()> {
    let starts = jobs.iter().zip(&ground.connections);
    let publishes = starts.map(|(job, connection)| {
        ground.deployment.publish("start", json!({ "job_id": job, "connection_id": connection }))
    });
    try_join_all(publishes).await.map(drop)
}

/// Cancels at once jobs whose pages hang; from each publish to the end of its job.
pub(super) async fn cancels(ground: &Ground, number: usize) -> Result<Vec<Duration>> {
    let jobs: Vec<Uuid> = (0..number).map(|_| Uuid::new_v4()).collect();
    publish_starts(ground, &jobs).await?;
    let all_hang =
        "select count(*) = cardinality($1) from slices where job_id = any($1) and lease_token is not null";
    ground.deployment.until(all_hang, &jobs).await?;
    let publishes = jobs.iter().map(async |job| {
        let began = Utc::now();
        ground.deployment.publish("cancel", json!({ "job_id": job })).await?;
        anyhow::Ok((*job, began))
    });
    let began = try_join_all(publishes).await?;
    ground
        .deployment
        .until(
            "select count(*) = cardinality($1) from jobs where id = any($1) and status = 'cancelled'",
            &jobs,
        )
        .await?;
    let ended: Vec<(Uuid, DateTime<Utc>)> =
        sqlx::query_as("select id, finished_at from jobs where id = any($1)")
            .bind(&jobs)
            .fetch_all(&mut ground.deployment.session().await?)
            .await?;
    let ended: std::collections::HashMap<_, _> = ended.into_iter().collect();
    began
        .into_iter()
        .map(|(job, began)| Ok((*ended.get(&job).context("the job")? - began).to_std().unwrap_or_default()))
        .collect()
}

/// Starts jobs over HTTP, so many callers at a time, and then cancels them; how long each answer took.
pub(super) async fn over_http(ground: &Ground, plan: Plan) -> Result<(Vec<Duration>, Vec<Duration>)> {
    let started = try_join_all((0..plan.callers).map(async |caller| {
        let mut answers = Vec::new();
        for call in 0..plan.calls {
            let number = caller * plan.calls + call;
            let connection = ground.connections.get(number).context("a connection")?;
            let (took, job) = post(ground, number, "", json!({ "connection_id": connection })).await?;
            answers.push((took, number, job["id"].as_str().context("a job")?.to_owned()));
        }
        anyhow::Ok(answers)
    }))
    .await?;
    let cancelled = try_join_all(started.iter().map(async |of_caller| {
        let mut answers = Vec::new();
        for (_, number, job) in of_caller {
            answers.push(post(ground, *number, &format!("/{job}/cancel"), json!({})).await?.0);
        }
        anyhow::Ok(answers)
    }))
    .await?;
    Ok((started.into_iter().flatten().map(|(took, ..)| took).collect(), cancelled.concat()))
}

async fn post(ground: &Ground, connection: usize, path: &str, body: Value) -> Result<(Duration, Value)> {
    let began = Instant::now();
    let call =
        ground.client.post(format!("{}{path}", ground.api)).bearer_auth(ground.key(connection)).json(&body);
    let answer = call.send().await?;
    let (status, body) = (answer.status(), answer.text().await?);
    ensure!(status.is_success(), "POST …/jobs{path} is answered {status}: {body}");
    Ok((began.elapsed(), serde_json::from_str(&body)?))
}
