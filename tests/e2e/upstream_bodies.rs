//! Answers that no second try makes better: each fails its job at once, with an error that names page and cause and
//! shows how the answer began.

use anyhow::{Context, Result};
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::json;
use sources::FetchConfig;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Answer, Options, TenantOptions};

/// What a second page is answered with, what the cause must contain, and how the kept answer must begin.
struct Case {
    tenant: &'static str,
    answer: Answer,
    cause: &'static str,
    body: Option<&'static str>,
}

fn cases() -> Vec<Case> {
    let case = |tenant, answer, cause, body| Case { tenant, answer, cause, body };
    let unreadable = "unreadable body (content type application/json)";
    let bytes = |body: &[u8]| Answer::json(body);
    vec![
        case(
            "half",
            bytes(br#"{"next":null,"results":[{"callId":"a"#),
            unreadable,
            Some(r#"{"next":null,"resul"#),
        ),
        case(
            "not text",
            bytes(b"{\"results\":[\"\xff\0\"]}"),
            unreadable,
            Some("{\"results\":[\"\u{fffd}\u{fffd}"),
        ),
        case("other json", bytes(br#"{"error":"no"}"#), "no array of records", Some(r#"{"error":"no"}"#)),
        case("no list", bytes(br#"{"results":{"0":{}}}"#), unreadable, Some(r#"{"results":{"0""#)),
        case(
            "many",
            Answer::json(json!({ "next": null, "results": vec![json!({}); 51] }).to_string()),
            "50",
            Some(r#"{"next":null,"results":[{},{}"#),
        ),
        case(
            "announced",
            Answer::Huge { bytes: 1 << 30, announced: true },
            "page of more than 65536 bytes",
            None,
        ),
        case(
            "unannounced",
            Answer::Huge { bytes: 1 << 30, announced: false },
            "page of more than 65536 bytes",
            None,
        ),
        case("key", Answer::status(401), "401", Some("the upstream says 401")),
        case("forbidden", Answer::status(403), "403", Some("the upstream says 403")),
        case("next", bytes(br#"{"next":17,"results":[]}"#), "next page 17: must be a URL or null", None),
    ]
}

#[tokio::test]
async fn unusable_answers_fail_the_job_at_once() -> Result<()> {
    let tenants = cases().into_iter().map(|case| TenantOptions::new(case.tenant, 30));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let limits = FetchConfig {
        max_page_bytes: 64 << 10,
        small_page_bytes: 32 << 10,
        byte_budget: 1 << 20,
        max_page_records: 50,
        ..FetchConfig::default()
    };
    let consumer = Fixture::spawn_fetching(fixture.settings()?, limits).await?;
    consumer.ready().await?;
    let mut jobs = Vec::new();
    for case in cases() {
        let tenant = case.tenant;
        fixture
            .upstream
            .script(move |asked| asked.tenant == tenant && !asked.is_first_page(), case.answer.clone());
        let account = fixture.account(tenant, json!({})).await?;
        jobs.push((case, fixture.publish_start(account.connection).await?));
    }
    for (case, job) in jobs {
        let name = case.tenant;
        let view = fixture.until_over(job, JobStatus::Failed).await.with_context(|| name.to_owned())?;
        let error: JobError = view.error.context("an error")?;
        assert!(error.cause.contains(case.cause), "{name}: {}", error.cause);
        assert_eq!((error.slice, error.page), (Some(0), Some(1)), "{name}");
        match (case.body, &error.body) {
            (Some(expected), Some(body)) => {
                assert!(body.starts_with(expected) && body.len() <= 1024, "{name}: {body}");
            }
            (expected, body) => assert_eq!(expected, body.as_deref(), "{name}"),
        }
        assert_eq!((view.counters.inserted, view.pages_settled), (10, 1), "{name}: what was settled stays");
    }
    assert_eq!(
        fixture.upstream.seen().requests,
        2 * u64::try_from(cases().len())?,
        "nothing was tried again"
    );
    fixture.finish([consumer]).await
}
