//! `cancel-historical-sync`.

use super::agency::{Agency, CANCEL, calls_of};
use anyhow::{Context, Result};
use protocol::ids::JobId;
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::json;
use store::jobs::FailRight;

#[tokio::test]
async fn a_body_must_name_a_job() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    for (body, words) in [
        ("", "job_id is missing"),
        ("{}", "job_id is missing"),
        (r#"{"job_id": null}"#, "job_id is missing"),
        (r#"{"job_id": "seven"}"#, "job_id is not a UUID"),
        (r#"{"job_id": 7}"#, "job_id is not a UUID"),
        ("{", "not a JSON object"),
    ] {
        let answer = agency.api.call(CANCEL, Some(&agency.ann), body).await?;
        assert_eq!((answer.status, answer.error().contains(words)), (400, true), "{body}: {answer:?}");
    }
    let unknown = agency.call(CANCEL, &json!({ "job_id": JobId::random() })).await?;
    assert_eq!((unknown.status, unknown.error().contains("there is no job")), (404, true), "{unknown:?}");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_job_of_another_agency_is_theirs_in_whatever_state() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let (_, connection, bob) = agency.other().await?;
    let theirs = agency.fixture.accept(connection).await?;
    let body = json!({ "job_id": theirs });
    let refused = agency.call(CANCEL, &body).await?;
    assert_eq!((refused.status, refused.error().contains("another agency")), (403, true), "{refused:?}");
    let view = agency.fixture.store.jobs().get(theirs, None).await?.context("it is there")?;
    assert_eq!(view.status, JobStatus::Pending, "and goes on");

    let theirs_to_cancel = agency.api.call(CANCEL, Some(&bob), &body.to_string()).await?;
    assert_eq!(theirs_to_cancel.body, json!({ "job_id": theirs, "status": "cancelled" }));
    assert_eq!(agency.call(CANCEL, &body).await?.status, 403, "whose it is comes before its state");
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn what_is_over_cannot_be_cancelled() -> Result<()> {
    let agency = Agency::with_calls(3).await?;
    let consumer = agency.fixture.consumer().await?;
    let completed = agency.start().await?;
    agency.fixture.until_over(completed, JobStatus::Completed).await?;
    consumer.stop().await?;

    let failed = agency.start().await?;
    let error = JobError::of_job("on purpose".to_owned());
    assert!(agency.fixture.store.jobs().fail(failed, &error, FailRight::Job).await?);
    let cancelled = agency.start().await?;
    assert_eq!(agency.call(CANCEL, &json!({ "job_id": cancelled })).await?.status, 200);

    for (job, word) in [(completed, "completed"), (failed, "failed"), (cancelled, "cancelled")] {
        let refused = agency.call(CANCEL, &json!({ "job_id": job })).await?;
        assert_eq!((refused.status, &refused.body["current_status"]), (400, &json!(word)), "{refused:?}");
        assert!(refused.error().contains("cannot be cancelled"), "{refused:?}");
    }
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn a_cancel_is_final_though_a_page_is_still_held() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let job = agency.start().await?;
    agency.hold_page(job).await?;
    let cancel = agency.call(CANCEL, &json!({ "job_id": job })).await?;
    assert_eq!((cancel.status, &cancel.body), (200, &json!({ "job_id": job, "status": "cancelled" })));
    let view = agency.fixture.store.jobs().get(job, None).await?.context("it is there")?;
    assert_eq!((view.status, view.cancel_requested_by.as_deref()), (JobStatus::Cancelling, Some("ann")));

    let status = agency.status().await?;
    assert_eq!((&status["active"], &status["recent_job"]["status"]), (&json!(false), &json!("cancelled")));
    let again = agency.call(CANCEL, &json!({ "job_id": job })).await?;
    assert_eq!((again.status, &again.body["current_status"]), (400, &json!("cancelled")), "{again:?}");
    assert!(agency.fixture.store.jobs().force_cancel(job).await?.is_some());
    assert_eq!(
        agency.status().await?["recent_job"],
        status["recent_job"],
        "nothing that is shown has changed"
    );
    agency.fixture.finish([]).await
}

#[tokio::test]
async fn any_job_of_the_agency_can_be_cancelled() -> Result<()> {
    let agency = Agency::with_calls(0).await?;
    let second = calls_of(&agency.fixture, agency.account.tenant, "second").await?;
    let elsewhere = agency.fixture.accept(second).await?;
    let cancel = agency.call(CANCEL, &json!({ "job_id": elsewhere })).await?;
    assert_eq!((cancel.status, &cancel.body["status"]), (200, &json!("cancelled")), "{cancel:?}");
    agency.fixture.finish([]).await
}
