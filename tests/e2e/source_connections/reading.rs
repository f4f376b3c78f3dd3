//! Lists of jobs, and single ones.

use super::client::World;
use anyhow::Result;
use protocol::job::JobStatus;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn jobs_are_listed_newest_first() -> Result<()> {
    let world = World::with_calls(1).await?;
    let connection = world.connection(&json!({})).await?;
    assert_eq!(world.get(&format!("/{connection}/jobs")).await?.body, json!([]));
    let mut jobs = Vec::new();
    for _ in 0..105 {
        let job = world.run(connection, "").await?;
        assert_eq!(world.cancel(connection, job).await?.status, 200);
        jobs.insert(0, json!(job));
    }
    let listed = async |query: &str| -> Result<Vec<Value>> {
        let answer = world.get(&format!("/{connection}/jobs{query}")).await?;
        assert_eq!(answer.status, 200, "{answer:?}");
        Ok(answer.body.as_array().into_iter().flatten().map(|job| job["id"].clone()).collect())
    };
    assert_eq!(listed("").await?, jobs[..100]);
    assert_eq!(listed("?limit=1").await?, jobs[..1]);
    assert_eq!(listed("?limit=1000").await?, jobs);
    let newest = world.get(&format!("/{connection}/jobs?limit=1")).await?.body[0].clone();
    let id = newest["id"].as_str().unwrap_or_default().parse()?;
    assert_eq!(
        newest,
        world.job(connection, protocol::ids::JobId(id)).await?,
        "the same as it is shown alone"
    );

    for (given, word) in [
        ("0", "greater_than_equal"),
        ("1001", "less_than_equal"),
        ("-3", "greater_than_equal"),
        ("many", "int_parsing"),
    ] {
        let wrong = world.get(&format!("/{connection}/jobs?limit={given}")).await?;
        assert_eq!((wrong.status, wrong.wrong()?), (422, json!([[["query", "limit"], word]])), "{given}");
    }
    let gone = world.get(&format!("/{}/jobs", Uuid::new_v4())).await?;
    assert_eq!((gone.status, gone.detail()), (404, "Source connection not found"));
    world.finish([]).await
}

#[tokio::test]
async fn a_job_is_found_under_its_own_connection_only() -> Result<()> {
    let world = World::with_calls(5).await?;
    let connection = world.connection(&json!({})).await?;
    let mut draft = world.draft(&json!({}));
    draft["name"] = json!("others");
    let other = protocol::ids::ConnectionId(world.call(Method::POST, "", &draft).await?.id()?);
    let job = world.run(connection, "").await?;
    for (path, detail) in [
        (format!("/{other}/jobs/{job}"), "Sync job not found"),
        (format!("/{connection}/jobs/{}", Uuid::new_v4()), "Sync job not found"),
        (format!("/{}/jobs/{job}", Uuid::new_v4()), "Source connection not found"),
    ] {
        let gone = world.get(&path).await?;
        assert_eq!((gone.status, gone.body), (404, json!({ "detail": detail })), "{path}");
        let gone = world.post(&format!("{path}/cancel")).await?;
        assert_eq!((gone.status, gone.body), (404, json!({ "detail": detail })), "{path}");
    }
    assert_eq!(world.job(connection, job).await?["status"], "PENDING", "nothing was cancelled");
    let wrong = world.get(&format!("/{connection}/jobs/17")).await?;
    assert_eq!((wrong.status, wrong.wrong()?), (422, json!([[["path", "job_id"], "uuid_parsing"]])));
    let wrong = world.get("/17").await?;
    assert_eq!(
        (wrong.status, wrong.wrong()?),
        (422, json!([[["path", "source_connection_id"], "uuid_parsing"]]))
    );
    let consumer = world.fixture.consumer().await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    world.finish([consumer]).await
}
