//! Connections: made, shown, listed, deleted; and who may.

use super::client::World;
use anyhow::{Context, Result};
use protocol::ids::ConnectionId;
use protocol::job::JobStatus;
use reqwest::Method;
use sealing::Keyring;
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use uuid::Uuid;

#[tokio::test]
async fn a_connection_is_made_shown_and_listed_without_its_credentials() -> Result<()> {
    let world = World::with_calls(5).await?;
    let made = world.call(Method::POST, "", &world.draft(&json!({}))).await?;
    assert_eq!(made.status, 200, "{made:?}");
    let id = made.id()?;
    let expected = json!({
        "id": id, "name": "calls", "source": "ultravox", "base_url": format!("{}/", world.fixture.upstream.base_url()),
        "settings": { "page_size": 10 }, "created_at": made.body["created_at"],
    });
    assert_eq!(made.body, expected);
    assert_eq!(world.get(&format!("/{id}")).await?.body, expected);
    let listed = world.get("?settings=true").await?;
    assert_eq!((listed.status, &listed.body), (200, &json!([expected])));

    // The credentials are there all the same, and sealed: a job can be run with them.
    let consumer = world.fixture.consumer().await?;
    let job = world.run(ConnectionId(id), "").await?;
    assert_eq!(world.fixture.until_over(job, JobStatus::Completed).await?.counters.inserted, 5);
    world.finish([consumer]).await
}

#[tokio::test]
async fn what_its_source_cannot_work_with_is_not_made() -> Result<()> {
    let world = World::with_calls(1).await?;
    let refused = async |change: &dyn Fn(&mut Value)| -> Result<(Value, String)> {
        let mut draft = world.draft(&json!({}));
        change(&mut draft);
        let answer = world.call(Method::POST, "", &draft).await?;
        assert_eq!(answer.status, 422, "{answer:?}");
        Ok((answer.wrong()?, answer.body["detail"][0]["msg"].as_str().unwrap_or_default().to_owned()))
    };
    let value = |field: &str| json!([[["body", field], "value_error"]]);
    let (wrong, msg) = refused(&|draft| draft["source"] = json!("telepathy")).await?;
    assert_eq!(wrong, value("source"));
    assert_eq!(msg, "Value error, unknown source \"telepathy\": use paged_json or ultravox");
    let (wrong, msg) = refused(&|draft| draft["settings"] = json!({ "colour": 1 })).await?;
    assert_eq!(wrong, value("settings"));
    assert!(msg.contains("unknown field `colour`"), "{msg}");
    assert_eq!(refused(&|draft| draft["settings"] = json!({ "slice_days": 0 })).await?.0, value("settings"));
    assert_eq!(refused(&|draft| draft["base_url"] = json!("nowhere")).await?.0, value("base_url"));
    assert_eq!(
        refused(&|draft| draft["base_url"] = json!("ftp://upstream.example/")).await?.0,
        value("base_url")
    );
    let (wrong, msg) = refused(&|draft| draft["credentials"] = json!({ "token": "s3cret" })).await?;
    assert_eq!(wrong, value("credentials"));
    assert!(msg.contains("api_key") && !msg.contains("s3cret"), "{msg}");
    for name in [String::new(), "  ".to_owned(), "x".repeat(201), "a\0b".to_owned()] {
        assert_eq!(refused(&|draft| draft["name"] = json!(name)).await?.0, value("name"), "{name:?}");
    }
    let (wrong, msg) = refused(&|draft| draft["settings"] = json!({ "sort": "a\0b" })).await?;
    assert_eq!(wrong, json!([[["body"], "value_error"]]), "what Postgres cannot store");
    assert!(msg.contains("a text has a NUL"), "{msg}");
    for (field, too_large) in [
        ("settings", json!({ "sort": "x".repeat(65_536) })),
        ("base_url", json!(format!("https://api.example/{}", "x".repeat(2048)))),
    ] {
        let (wrong, msg) = refused(&|draft| draft[field] = too_large.clone()).await?;
        assert_eq!(wrong, value(field), "{msg}");
        assert!(msg.contains(&format!("{field} may have at most")) && !msg.contains("NUL"), "{msg}");
    }
    let nothing = world.call(Method::POST, "", &json!({})).await?;
    let missing =
        ["name", "source", "base_url", "credentials"].map(|field| json!([["body", field], "missing"]));
    assert_eq!((nothing.status, nothing.wrong()?), (422, json!(missing)));
    assert_eq!(nothing.body["detail"][0]["msg"], "Field required");
    let garbled = world.call_as(Some(world.key.expose()), Method::POST, "", "{\"name\": ").await?;
    assert_eq!((garbled.status, garbled.wrong()?), (422, json!([[["body"], "json_invalid"]])));
    assert_eq!(world.get("").await?.body, json!([]));
    world.finish([]).await
}

#[tokio::test]
async fn a_name_is_taken_once() -> Result<()> {
    let world = World::with_calls(1).await?;
    let first = world.connection(&json!({})).await?;
    let second = world.call(Method::POST, "", &world.draft(&json!({ "page_size": 20 }))).await?;
    assert_eq!((second.status, second.wrong()?), (422, json!([[["body", "name"], "value_error"]])));
    assert_eq!(
        world.get(&format!("/{first}")).await?.body["settings"],
        json!({ "page_size": 10 }),
        "unchanged"
    );
    // Deleted, it is free.
    assert_eq!(world.call(Method::DELETE, &format!("/{first}"), &Value::Null).await?.status, 200);
    assert_ne!(world.connection(&json!({})).await?, first);
    world.finish([]).await
}

#[tokio::test]
async fn unknown_fields_are_named_in_a_header() -> Result<()> {
    let world = World::with_calls(1).await?;
    let mut draft = world.draft(&json!({}));
    draft["colour"] = json!("red");
    let made = world.call(Method::POST, "", &draft).await?;
    assert_eq!((made.status, &made.headers["x-warning"]), (200, &"unknown field \"colour\"".parse()?));
    world.finish([]).await
}

/// Nothing is stored in clear: without a key to seal with, a connection with credentials is refused.
#[tokio::test]
async fn without_a_key_to_seal_with_it_is_refused() -> Result<()> {
    let world = World::sealing(Fixture::with_calls(1).await?, Keyring::default()).await?;
    let refused = world.call(Method::POST, "", &world.draft(&json!({}))).await?;
    assert_eq!(refused.status, 503);
    assert!(refused.detail().contains("no key to seal them with"), "{refused:?}");
    assert_eq!(world.get("").await?.body, json!([]));
    let settings = json!({ "path": "/things", "records": { "pointer": "", "id": "/id" },
                           "next": { "style": "cursor", "pointer": "/next", "parameter": "cursor" } });
    let open = json!({ "name": "open", "source": "paged_json", "base_url": "https://upstream.example",
                       "credentials": {}, "settings": settings });
    assert_eq!(world.call(Method::POST, "", &open).await?.status, 200, "it needs none");
    world.finish([]).await
}

#[tokio::test]
async fn a_deleted_connection_is_gone_and_its_job_cancelled() -> Result<()> {
    let world = World::with_calls(30).await?;
    let connection = world.connection(&json!({})).await?;
    let consumer = world.fixture.consumer().await?;
    world.fixture.upstream.hold();
    let job = world.run(connection, "").await?;
    world.fixture.upstream.until(|seen| seen.held == 1).await;
    let shown = world.get(&format!("/{connection}")).await?.body;
    let deleted = world.call(Method::DELETE, &format!("/{connection}"), &Value::Null).await?;
    assert_eq!((deleted.status, &deleted.body), (200, &shown));
    for path in ["", "/jobs", &format!("/jobs/{job}")] {
        let gone = world.get(&format!("/{connection}{path}")).await?;
        assert_eq!((gone.status, gone.detail()), (404, "Source connection not found"), "{path}");
    }
    let again = world.call(Method::DELETE, &format!("/{connection}"), &Value::Null).await?;
    assert_eq!((again.status, again.detail()), (404, "Source connection not found"));
    assert_eq!(world.post(&format!("/{connection}/run")).await?.status, 404);
    assert_eq!(world.cancel(connection, job).await?.status, 404);
    assert_eq!(world.get("").await?.body, json!([]));
    // Its rows go later.
    world
        .fixture
        .until_sql("select not exists (select from connections) and not exists (select from jobs)")
        .await?;
    world.finish([consumer]).await
}

#[tokio::test]
async fn every_call_needs_a_key_that_is_known() -> Result<()> {
    let world = World::with_calls(1).await?;
    let connection = world.connection(&json!({})).await?;
    let job = Uuid::new_v4();
    let revoked = World::key_of(&world.fixture, world.tenant).await?;
    let keys = world.fixture.store.tenants().api_keys(world.tenant).await?;
    let row = keys.iter().find(|row| row.prefix == revoked.prefix()).context("listed")?;
    assert!(world.fixture.store.tenants().revoke_api_key(row.id).await?);
    for (method, path) in [
        (Method::POST, String::new()),
        (Method::GET, String::new()),
        (Method::GET, format!("/{connection}")),
        (Method::DELETE, format!("/{connection}")),
        (Method::POST, format!("/{connection}/run?force_full_sync=x")),
        (Method::GET, format!("/{connection}/jobs?limit=0")),
        (Method::GET, format!("/{connection}/jobs/{job}")),
        (Method::POST, "/not-a-uuid/jobs/x/cancel".to_owned()),
    ] {
        for key in [None, Some(""), Some("bh_unknown"), Some(revoked.expose())] {
            let refused = world.call_as(key, method.clone(), &path, "").await?;
            assert_eq!(refused.status, 401, "{method} {path} {refused:?}");
            assert!(
                !refused.detail().is_empty() && refused.headers.contains_key("www-authenticate"),
                "{refused:?}"
            );
        }
    }
    assert_eq!(world.get(&format!("/{connection}")).await?.status, 200, "none of it was carried out");
    world.finish([]).await
}

#[tokio::test]
async fn another_tenants_connections_and_jobs_are_not_there() -> Result<()> {
    let world = World::with_calls(30).await?;
    let connection = world.connection(&json!({})).await?;
    let job = world.run(connection, "").await?;
    let other = world.fixture.store.tenants().create("other", 16).await?.id;
    let key = World::key_of(&world.fixture, other).await?;
    let call = async |method, path: String| world.call_as(Some(key.expose()), method, &path, "").await;
    assert_eq!(call(Method::GET, String::new()).await?.body, json!([]));
    for (method, path) in [
        (Method::GET, format!("/{connection}")),
        (Method::DELETE, format!("/{connection}")),
        (Method::POST, format!("/{connection}/run")),
        (Method::GET, format!("/{connection}/jobs")),
        (Method::GET, format!("/{connection}/jobs/{job}")),
        (Method::POST, format!("/{connection}/jobs/{job}/cancel")),
    ] {
        let refused = call(method.clone(), path.clone()).await?;
        assert_eq!(
            (refused.status, refused.detail()),
            (404, "Source connection not found"),
            "{method} {path}"
        );
    }
    assert_eq!(world.job(connection, job).await?["status"], "PENDING");
    world.finish([]).await
}

#[tokio::test]
async fn there_is_nothing_else_below_this_path() -> Result<()> {
    let world = World::with_calls(1).await?;
    let id = Uuid::new_v4();
    for (method, path, status) in [
        (Method::GET, format!("/{id}/nothing"), 404),
        (Method::PUT, String::new(), 405),
        (Method::DELETE, format!("/{id}/jobs/{id}"), 405),
        (Method::GET, format!("/{id}/run"), 405),
    ] {
        let refused = world.call(method, &path, &Value::Null).await?;
        assert_eq!(refused.status, status, "{path}");
        assert!(!refused.detail().is_empty(), "{refused:?}");
    }
    let large = format!("{{\"name\": \"{}\"}}", "x".repeat(300_000));
    let refused = world.call_as(Some(world.key.expose()), Method::POST, "", &large).await?;
    assert_eq!(refused.status, 413, "{refused:?}");
    world.finish([]).await
}
