//! The native contract takes the same tokens beside its keys, and knows the same roles.

use super::agency::Agency;
use anyhow::{Context, Result, ensure};
use protocol::role::Role;
use reqwest::{Method, Response};
use serde_json::{Value, json};

async fn read(response: Response) -> Result<(u16, Value)> {
    Ok((response.status().as_u16(), response.json().await?))
}

#[tokio::test]
async fn a_users_token_is_as_good_as_a_key() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let body = json!({ "connection_id": agency.account.connection });
    let started = agency.api.native(Method::POST, "/jobs", &agency.ann).json(&body).send().await?;
    let (status, job) = read(started).await?;
    assert_eq!((status, &job["status"]), (202, &json!("pending")), "{job}");
    let id = job["id"].as_str().context("a job has an id")?.to_owned();
    let told = agency.fixture.store.events().of_job(id.parse()?).await?;
    assert_eq!(told.first().context("it was accepted")?.data["requested_by"], "ann");

    let viewer = agency.user("vera", Some(agency.account.tenant), Role::Viewer).await?;
    let (status, seen) =
        read(agency.api.native(Method::GET, &format!("/jobs/{id}"), &viewer).send().await?).await?;
    assert_eq!((status, &seen["id"]), (200, &json!(id)));
    for path in ["/jobs".to_owned(), format!("/jobs/{id}/cancel")] {
        let refused = agency.api.native(Method::POST, &path, &viewer).body("{").send().await?;
        assert_eq!(refused.headers()["content-type"], "application/problem+json");
        let (status, problem) = read(refused).await?;
        assert_eq!((status, &problem["code"]), (403, &json!("forbidden")), "{problem}");
    }
    let cancel = agency.api.native(Method::POST, &format!("/jobs/{id}/cancel"), &agency.ann).send().await?;
    assert_eq!(read(cancel).await?.0, 202);
    let view = agency.fixture.store.jobs().get(id.parse()?, None).await?.context("it is there")?;
    assert_eq!(view.cancel_requested_by.as_deref(), Some("ann"));
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn strangers_are_strangers_here_too() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    let (_, _, bob) = agency.other().await?;
    let stray = agency.user("stray", None, Role::Admin).await?;
    let path = format!("/jobs/{job}");
    for (token, status, code) in [
        ("a.b.c", 401, "unauthorized"),
        ("bh_unknown", 401, "unauthorized"),
        (stray.as_str(), 403, "forbidden"),
        (bob.as_str(), 404, "job_not_found"),
    ] {
        let (got, problem) = read(agency.api.native(Method::GET, &path, token).send().await?).await?;
        assert_eq!((got, &problem["code"]), (status, &json!(code)), "{problem}");
    }
    // Whose job it is is not told here, whoever asks to cancel it.
    let cancel = agency.api.native(Method::POST, &format!("{path}/cancel"), &bob).send().await?;
    assert_eq!(read(cancel).await?.1["code"], "job_not_found");
    agency.call(super::agency::CANCEL, &json!({ "job_id": job })).await?;
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_stream_ends_when_its_user_is_disabled_or_moved() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    let (store, tenant) = (&agency.fixture.store, agency.account.tenant);
    let (elsewhere, ..) = agency.other().await?;
    for subject in ["disabled", "moved"] {
        let token = agency.user(subject, Some(tenant), Role::Viewer).await?;
        let path = format!("/jobs/{job}/events");
        let call = agency.api.native(Method::GET, &path, &token).header("accept", "text/event-stream");
        let stream = call.send().await?;
        ensure!(stream.status() == 200, "{}", stream.status());
        match subject {
            "disabled" => assert!(store.tenants().disable_user(subject).await?),
            _ => drop(store.tenants().put_user(subject, Some(elsewhere), None).await?),
        }
        let all = stream.text().await?;
        assert!(all.contains("event: closed") && !all.contains("event: job.cancelled"), "{subject}: {all}");
    }
    agency.call(super::agency::CANCEL, &json!({ "job_id": job })).await?;
    agency.fixture.finish([]).await
}
