//! What is answered: nothing that a cache may keep for others, nothing without end, nothing of another tenant.

use anyhow::{Context, Result};
use protocol::ids::JobId;
use reqwest::{Client, Method, Response, StatusCode};
use serde_json::{Value, json};
use store::connections::NewConnection;
use store::results::MOST_BYTES;
use testkit::api::{Api, new_key, read};
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};

#[tokio::test]
async fn caches_keep_nothing_but_the_documentation() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    let client = Client::new();
    let get = |path: &str| client.get(format!("{}{path}", api.origin));
    let header = |answer: &Response, name: &str| {
        let values = answer.headers().get_all(name).iter().filter_map(|value| value.to_str().ok());
        values.collect::<Vec<_>>().join(", ")
    };
    let job = fixture.accept(account.connection).await?;
    for (path, status) in [
        (format!("/api/v1/jobs/{job}"), StatusCode::OK),
        (format!("/api/v1/jobs/{}", JobId::random()), StatusCode::NOT_FOUND),
        ("/source-connections".to_owned(), StatusCode::OK),
        ("/v1/jobs".to_owned(), StatusCode::OK),
        ("/v1/schemas".to_owned(), StatusCode::OK),
        ("/functions/v1/get-sync-status".to_owned(), StatusCode::UNAUTHORIZED),
        ("/nothing".to_owned(), StatusCode::NOT_FOUND),
        ("/docs/nothing".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let with_key = match path.as_str() {
            "/source-connections" => get(&path).header("x-api-key", &api.key),
            path => get(path).bearer_auth(&api.key),
        };
        for (request, expected) in [(with_key, Some(status)), (get(&path), None)] {
            let answer = request.send().await?;
            assert!(expected.is_none_or(|expected| expected == answer.status()), "{path}: {answer:?}");
            assert_eq!(header(&answer, "cache-control"), "no-store", "{path}");
            let vary = header(&answer, "vary");
            for name in ["authorization", "x-api-key", "accept"] {
                assert!(vary.contains(name), "{path}: {vary}");
            }
            assert_eq!(header(&answer, "x-content-type-options"), "nosniff", "{path}");
            assert_eq!(header(&answer, "x-frame-options"), "DENY", "{path}");
        }
    }
    let page = get("/docs/").send().await?.error_for_status()?;
    assert!(header(&page, "cache-control").starts_with("public"));
    fixture.finish([]).await
}

#[tokio::test]
async fn connections_are_listed_so_many_at_a_time() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let api = Api::start(&fixture, tenant).await?;
    for number in 0..105 {
        let new = NewConnection {
            tenant,
            name: format!("{number:03} & more"),
            source: "ultravox".to_owned(),
            base_url: fixture.upstream.base_url(),
            settings: json!({ "page_size": 10 }),
        };
        fixture.put_connection(&new, &json!({ "api_key": "x" })).await?;
    }
    let client = Client::new();
    let get = async |path: &str| -> Result<(Vec<Value>, Option<String>)> {
        let request = client.get(format!("{}{path}", api.origin)).header("x-api-key", &api.key);
        let answer = request.send().await?.error_for_status()?;
        let link = answer.headers().get("link").map(|link| link.to_str().map(str::to_owned)).transpose()?;
        let next = link.map(|link| {
            let next = link.strip_prefix('<').and_then(|link| link.strip_suffix(">; rel=\"next\""));
            next.map(str::to_owned).context("a link to what follows")
        });
        Ok((answer.json().await?, next.transpose()?))
    };
    let (first, next) = get("/source-connections").await?;
    assert_eq!((first.len(), first[0].get("settings")), (100, None));
    let (rest, end) = get(&next.context("there are more")?).await?;
    assert_eq!((rest.len(), end), (5, None));
    let mut names: Vec<_> = first.iter().chain(&rest).map(|shown| shown["name"].to_string()).collect();
    names.dedup();
    assert_eq!(names.len(), 105);

    let (all, _) = get("/source-connections?limit=2&settings=true").await?;
    assert_eq!((all.len(), &all[1]["settings"]), (2, &json!({ "page_size": 10 })));
    for wrong in ["limit=0", "limit=1001", "settings=perhaps"] {
        let request = client.get(format!("{}/source-connections?{wrong}", api.origin));
        let answer = request.header("x-api-key", &api.key).send().await?;
        assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{wrong}");
    }
    fixture.finish([]).await
}

#[tokio::test]
async fn connections_with_large_settings_are_listed_a_mebibyte_at_a_time() -> Result<()> {
    const SETTINGS: usize = 60_000;
    let fixture = Fixture::with_calls(0).await?;
    let tenant = fixture.store.tenants().create("acme", 16).await?.id;
    let api = Api::start(&fixture, tenant).await?;
    for number in 0..40 {
        let new = NewConnection {
            tenant,
            name: format!("{number:03}"),
            source: "ultravox".to_owned(),
            base_url: fixture.upstream.base_url(),
            settings: json!({ "page_size": 10, "note": "x".repeat(SETTINGS) }),
        };
        fixture.put_connection(&new, &json!({ "api_key": "x" })).await?;
    }
    let client = Client::new();
    let (mut next, mut names, mut parts) =
        (Some("/source-connections?settings=true&limit=1000".to_owned()), Vec::new(), 0);
    while let Some(path) = next {
        let request = client.get(format!("{}{path}", api.origin)).header("x-api-key", &api.key);
        let answer = request.send().await?.error_for_status()?;
        let link = answer.headers().get("link").map(|link| link.to_str().map(str::to_owned)).transpose()?;
        next = link.and_then(|link| Some(link.strip_prefix('<')?.split_once('>')?.0.to_owned()));
        let text = answer.text().await?;
        assert!(text.len() < MOST_BYTES + 2 * SETTINGS, "{}", text.len());
        let shown: Vec<Value> = serde_json::from_str(&text)?;
        names.extend(shown.iter().map(|shown| shown["name"].as_str().unwrap_or_default().to_owned()));
        parts += 1;
    }
    assert_eq!(parts, 3);
    assert_eq!(names, (0..40).map(|number| format!("{number:03}")).collect::<Vec<_>>());
    // Without settings they are small.
    let request = client.get(format!("{}/source-connections?limit=40", api.origin));
    let answer = request.header("x-api-key", &api.key).send().await?;
    assert!(!answer.headers().contains_key("link"));
    assert_eq!(answer.json::<Vec<Value>>().await?.len(), 40);
    fixture.finish([]).await
}

#[tokio::test]
async fn the_refusal_of_a_start_is_not_told_to_another_tenant() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 0), TenantOptions::new("other", 0)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let acme = fixture.account("acme", json!({})).await?;
    let other = fixture.account("other", json!({})).await?;
    let api = Api::start(&fixture, acme.tenant).await?;
    let job = JobId::random();
    // Refused, since a job of the connection is active.
    fixture.upstream.hold();
    let consumer = fixture.consumer().await?;
    fixture.publish_start(other.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    fixture.publish_start_command(&Fixture::start_command(other.connection, job)).await?;
    fixture.until_sql("select exists (select from job_events where kind like '%rejected%')").await?;

    fixture.publish_start_command(&Fixture::start_command(acme.connection, job)).await?;
    fixture.until(job, |_| true).await?;
    let (_, events) = read(api.jobs(Method::GET, &format!("/{job}/events")).send().await?).await?;
    let kinds: Vec<_> = events["data"].as_array().context("events")?.iter().map(|it| &it["event"]).collect();
    assert!(!kinds.contains(&&json!("job.rejected")) && !kinds.is_empty(), "{kinds:?}");
    let theirs = new_key(&fixture, other.tenant).await?;
    let (status, _) =
        read(api.jobs_as(&theirs, Method::GET, &format!("/{job}/events")).send().await?).await?;
    assert_eq!(status, StatusCode::NOT_FOUND);
    fixture.upstream.release();
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn another_tenants_job_is_answered_like_one_that_does_not_exist() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 0), TenantOptions::new("other", 0)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let acme = fixture.account("acme", json!({})).await?;
    let other = fixture.account("other", json!({})).await?;
    let api = Api::start(&fixture, acme.tenant).await?;
    let theirs = fixture.accept(other.connection).await?;
    let mut answers = Vec::new();
    for job in [theirs, JobId::random()] {
        let start = json!({ "connection_id": acme.connection, "job_id": job });
        let started = read(api.jobs(Method::POST, "").json(&start).send().await?).await?;
        let path = format!("/{job}");
        let shown = read(api.jobs(Method::GET, &path).send().await?).await?;
        let cancelled = read(api.jobs(Method::POST, &format!("{path}/cancel")).send().await?).await?;
        answers.push([started, shown, cancelled].map(|(status, body)| {
            (status, body["code"].clone(), body["detail"].to_string().replace(&job.to_string(), "JOB"))
        }));
    }
    assert_eq!(answers[0], answers[1]);
    let [(started, ..), (shown, ..), (cancelled, ..)] = &answers[0];
    let (refused, none) = (StatusCode::UNPROCESSABLE_ENTITY, StatusCode::NOT_FOUND);
    assert_eq!((*started, *shown, *cancelled), (refused, none, none));
    fixture.finish([]).await
}

#[tokio::test]
async fn where_workers_run_is_not_for_callers() -> Result<()> {
    let fixture = Fixture::with_calls(10).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account.tenant).await?;
    fixture.upstream.hold();
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let (_, told) = read(api.jobs(Method::GET, &format!("/{job}/explain")).send().await?).await?;
    let on_host = format!("worker {} on ", consumer.id);
    assert!(told.to_string().contains(&format!("worker {}", consumer.id)), "{told}");
    assert!(!told.to_string().contains(&on_host), "{told}");
    let situation = fixture.store.jobs().situation(job, None).await?.context("the job")?;
    let operators = engine::explain::explain(&situation);
    assert!(operators.iter().any(|reason| reason.text.contains(&on_host)), "{operators:?}");
    fixture.upstream.release();
    fixture.finish([consumer]).await
}
