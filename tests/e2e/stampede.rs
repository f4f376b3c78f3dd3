//! A thousand starts of one connection at once, through four producers: one job, and 999 clear refusals that name it.

use anyhow::{Context, Result, ensure};
use futures::future::try_join_all;
use identity::api_key::ApiKey;
use protocol::job::JobStatus;
use reqwest::{Client, StatusCode};
use serde_json::{Value, json};
use std::time::Instant;
use testkit::fixture::Fixture;
use testkit::listener::Listener;

const PRODUCERS: usize = 4;
const STARTS: usize = 1000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_starts_at_once() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let events = Listener::to_events(&fixture).await?;
    let key = ApiKey::generate();
    fixture.store.tenants().create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
    let mut producers = Vec::new();
    for _ in 0..PRODUCERS {
        let program = fixture.producer_program()?;
        // On a slow machine the last of 250 requests waits long for its turn at one of four database connections.
        let program = program.env("BACKHAUL__API__REQUEST_TIMEOUT_MS", "60000");
        producers.push(program.env("BACKHAUL__DATABASE__CONNECT_TIMEOUT_MS", "55000").start()?);
    }
    let mut addresses = Vec::new();
    for producer in &producers {
        producer.ready().await?;
        addresses.push(format!("http://{}/api/v1/jobs", producer.address().await?));
    }

    let client = Client::new();
    let body = json!({ "connection_id": account.connection });
    let began = Instant::now();
    let requests = (0..STARTS).map(|number| {
        let request = client.post(&addresses[number % PRODUCERS]).bearer_auth(key.expose()).json(&body);
        async move {
            let answer = request.send().await?;
            anyhow::Ok((answer.status(), answer.json::<Value>().await?))
        }
    });
    let answers = try_join_all(requests).await?;
    tracing::info!(elapsed = ?began.elapsed(), "a thousand answers");

    let accepted: Vec<_> = answers.iter().filter(|(status, _)| *status == StatusCode::ACCEPTED).collect();
    ensure!(accepted.len() == 1, "{} are accepted", accepted.len());
    let job = accepted[0].1["id"].as_str().context("a job has an id")?;
    for (status, problem) in answers.iter().filter(|(status, _)| *status != StatusCode::ACCEPTED) {
        assert_eq!((*status, &problem["code"]), (StatusCode::CONFLICT, &json!("job_active")), "{problem}");
        assert_eq!(problem["job_id"], job);
        assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(job)), "{problem}");
    }
    let jobs: i64 = sqlx::query_scalar("select count(*) from jobs").fetch_one(&fixture.database.pool).await?;
    assert_eq!(jobs, 1);

    // Each refusal is told, with the same name.
    let refusals = |heard: &[testkit::listener::Heard]| {
        heard.iter().filter(|heard| heard.routing_key == "job.rejected").count() >= STARTS - 1
    };
    let consumer = fixture.consumer().await?;
    for heard in events.until(refusals).await? {
        if heard.routing_key == "job.rejected" {
            assert_eq!(heard.json()["data"]["active_job_id"], job);
        }
    }
    fixture.until_over(job.parse()?, JobStatus::Completed).await?;
    for mut producer in producers {
        producer.terminate()?;
        assert!(producer.exit().await?.success());
    }
    events.close().await?;
    fixture.finish([consumer]).await
}
