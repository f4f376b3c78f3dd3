//! Members of bodies and parameters of queries that the native contract does not know: each is refused by its name, with
//! the nearest, and nothing is done.

use anyhow::{Context, Result};
use protocol::job::JobStatus;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::api::{Api, read};
use testkit::fixture::Fixture;

/// Demands a 422 with this code, whose detail has these words.
fn refused(answer: (StatusCode, Value), code: &str, words: &str) {
    let (status, problem) = answer;
    assert_eq!((status.as_u16(), &problem["code"]), (422, &json!(code)), "{problem}");
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains(words)), "{words}: {problem}");
}

#[tokio::test]
async fn a_member_that_is_not_known_starts_and_cancels_nothing() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let post =
        async |path: &str, body: &Value| read(api.jobs(Method::POST, path).json(body).send().await?).await;

    for (field, nearest) in [
        ("from", "date_from"),
        ("since", "date_from"),
        ("to", "date_to"),
        ("until", "date_to"),
        ("dateFrom", "date_from"),
        ("date_form", "date_from"),
        ("connection", "connection_id"),
        ("documents", "document_ids"),
        ("onConflict", "on_conflict"),
        ("colour", ""),
    ] {
        let mut body = json!({ "connection_id": account.connection });
        body[field] = json!("2026-01-01T00:00:00Z");
        let words = format!("the field \"{field}\" is not known here; did you mean {nearest}");
        refused(post("", &body).await?, "unknown_field", &words);
    }
    refused(post("", &json!({ "from": 1 })).await?, "unknown_field", "did you mean date_from?");
    fixture.until_sql("select not exists (select from jobs)").await?;

    let (_, job) = post("", &json!({ "connection_id": account.connection })).await?;
    let id = job["id"].as_str().context("a job has an id")?.to_owned();
    let path = |action: &str| format!("/{id}/{action}");
    refused(
        post(&path("cancel"), &json!({ "reasn": "typo" })).await?,
        "unknown_field",
        "did you mean reason?",
    );
    refused(post(&path("cancel"), &json!({ "reason": 7 })).await?, "invalid", "reason: ");
    refused(post(&path("cancel"), &json!([])).await?, "invalid", "JSON object");
    for action in ["pause", "unpause", "resume"] {
        refused(
            post(&path(action), &json!({ "reason": "x" })).await?,
            "unknown_field",
            "\"reason\" is not known",
        );
        let broken = read(api.jobs(Method::POST, &path(action)).body("{").send().await?).await?;
        assert_eq!((broken.0.as_u16(), &broken.1["code"]), (400, &json!("not_json")));
    }
    let (_, seen) = read(api.jobs(Method::GET, &format!("/{id}")).send().await?).await?;
    assert_eq!(json!([seen["status"], seen["paused"]]), json!(["pending", false]), "nothing was done");

    // What may be left out may be written as nothing.
    for body in ["", " ", "{}", "null"] {
        let paused = read(api.jobs(Method::POST, &path("pause")).body(body).send().await?).await?;
        assert_eq!((paused.0.as_u16(), &paused.1["paused"]), (202, &json!(true)), "{body:?}");
    }
    assert_eq!(post(&path("unpause"), &json!({})).await?.0, StatusCode::ACCEPTED);
    assert_eq!(post(&path("cancel"), &json!({ "reason": null })).await?.0, StatusCode::ACCEPTED);
    fixture.until_over(id.parse()?, JobStatus::Cancelled).await?;
    fixture.finish([]).await
}

#[tokio::test]
async fn a_parameter_that_is_not_known_is_refused_on_every_route() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let job = fixture.accept(account.connection).await?;
    let paths = api::routes();
    let native: Vec<_> = paths.iter().filter(|route| route.path.starts_with("/api/v1/jobs")).collect();
    assert_eq!(native.len(), 9, "{native:?}");
    for route in native {
        let path = route.path.trim_start_matches("/api/v1/jobs").replace("{id}", &job.to_string());
        let ask = async |query: &str| {
            let request = api.jobs(route.method.clone(), &format!("{path}?{query}"));
            read(request.json(&json!({ "connection_id": account.connection })).send().await?).await
        };
        for query in ["colour=blue", "%66rom=2026-01-01", "x", "=", "date_from=2026-01-01T00:00:00Z"] {
            refused(ask(query).await?, "unknown_parameter", "is not known here");
        }
    }
    let list = async |query: &str| read(api.jobs(Method::GET, query).send().await?).await;
    refused(
        list("?statuss=failed").await?,
        "unknown_parameter",
        "did you mean status? Known are connection_id,",
    );
    refused(list("?Limit=5").await?, "unknown_parameter", "did you mean limit?");
    let (status, problem) = list("?limit=many").await?;
    assert_eq!((status.as_u16(), &problem["code"]), (400, &json!("invalid_query")), "{problem}");
    let events = list(&format!("/{job}/events?befor=7")).await?;
    refused(events, "unknown_parameter", "did you mean after?");
    assert_eq!(list("?limit=5&status=pending&").await?.0, StatusCode::OK);
    assert_eq!(list(&format!("/{job}?")).await?.0, StatusCode::OK);
    let (_, seen) = list(&format!("/{job}")).await?;
    assert_eq!(json!([seen["status"], seen["paused"]]), json!(["pending", false]), "nothing was done");
    let (status, _) = read(api.jobs(Method::POST, &format!("/{job}/cancel")).send().await?).await?;
    assert_eq!(status, StatusCode::ACCEPTED);
    fixture.finish([]).await
}
