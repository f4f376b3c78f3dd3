//! `/v1/schemas`.

use super::api::{Api, World};
use anyhow::Result;
use configuration::Rate;
use identity::api_key::ApiKey;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

#[tokio::test]
async fn schemas_are_made_read_and_listed() -> Result<()> {
    let world = World::with_calls(0).await?;
    let fields = json!([
        { "name": "call", "pointer": "/callId", "type": "string", "required": true },
        { "name": "ended", "pointer": "/ended", "type": "timestamp", "required": false },
    ]);
    let made =
        world.api.post("/v1/schemas", &json!({ "name": "first", "fields": fields, "colour": 1 })).await?;
    assert_eq!((made.status, &made.body["name"], &made.body["fields"]), (201, &json!("first"), &fields));
    assert_eq!(made.headers["x-warning"], "unknown field \"colour\"");
    let path = format!("/v1/schemas/{}", made.body["id"].as_str().unwrap_or_default());
    let shown = world.api.get(&path).await?;
    assert_eq!((shown.status, &shown.body), (200, &made.body));

    for name in ["second", "third"] {
        world.api.post("/v1/schemas", &json!({ "name": name, "fields": fields })).await?;
    }
    let first = world.api.get("/v1/schemas?limit=2").await?.body;
    let names = |page: &Value| -> Vec<String> {
        page["data"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(&first), ["third", "second"]);
    let pagination = &first["pagination"];
    assert_eq!(
        json!([pagination["total"], pagination["limit"], pagination["has_more"]]),
        json!([3, 2, true])
    );
    let cursor = pagination["next_cursor"].as_str().unwrap();
    let rest = world.api.get(&format!("/v1/schemas?limit=2&cursor={cursor}")).await?.body;
    assert_eq!(names(&rest), ["first"]);
    assert_eq!(rest["pagination"], json!({ "total": 3, "limit": 2, "has_more": false, "next_cursor": null }));

    // Nobody else's.
    let (_, _, key) = world.other().await?;
    world.api.call_as(Some(&key), Method::GET, &path).await?.is(404, "not_found", "no schema")?;
    let theirs = world.api.call_as(Some(&key), Method::GET, "/v1/schemas").await?;
    assert_eq!(theirs.body["pagination"]["total"], 0);
    world.fixture.finish([]).await
}

#[tokio::test]
async fn what_cannot_be_a_schema_is_refused() -> Result<()> {
    let world = World::with_calls(0).await?;
    let field = json!({ "name": "a", "pointer": "/a", "type": "string" });
    for (body, words) in [
        (json!({ "name": "x", "fields": [] }), "between 1 and 100"),
        (json!({ "name": "", "fields": [field] }), "name: must have between 1 and 200"),
        (json!({ "name": "n".repeat(201), "fields": [field] }), "name: must have between 1 and 200"),
        (json!({ "name": "a\0", "fields": [field] }), "no NUL"),
        (json!({ "fields": [field] }), "missing field `name`"),
        (json!({ "name": "x" }), "missing field `fields`"),
        (json!({ "name": "x", "fields": [field, field] }), "fields[1].name: \"a\" is a duplicate"),
        (
            json!({ "name": "x", "fields": [{ "name": "a", "pointer": "a", "type": "string" }] }),
            "fields[0].pointer",
        ),
        (
            json!({ "name": "x", "fields": [{ "name": "a", "pointer": "/a", "type": "text" }] }),
            "fields[0].type",
        ),
        (json!([]), "invalid type"),
    ] {
        world.api.post("/v1/schemas", &body).await?.is(400, "validation_error", words)?;
    }
    world.api.post_text("/v1/schemas", "{").await?.is(400, "validation_error", "EOF")?;
    let large = format!("{{\"name\":\"{}\"}}", "x".repeat(256 << 10));
    world.api.post_text("/v1/schemas", &large).await?.is(413, "validation_error", "larger than")?;
    world.api.get("/v1/schemas/seven").await?.is(400, "validation_error", "UUID")?;
    world.api.get("/v1/schemas?limit=0").await?.is(400, "validation_error", "limit is 0")?;
    world.api.get("/v1/schemas?cursor=7").await?.is(400, "validation_error", "cursor")?;
    world.api.get("/v1/schemas?colour=1").await?.is(400, "validation_error", "colour")?;
    world.api.get(&format!("/v1/schemas/{}", Uuid::new_v4())).await?.is(404, "not_found", "no schema")?;
    for path in ["/v1/schemas", "/v1/schemas/seven", "/v1/jobs", "/v1/jobs/seven", "/v1/jobs/seven/results"] {
        let refused = world.api.call_as(None, Method::GET, path).await?;
        refused.is(401, "unauthorized", "Authorization: Bearer <API key>")?;
        assert!(refused.headers.contains_key("www-authenticate"));
    }
    let unknown = ApiKey::generate();
    for key in [unknown.expose(), "bh_unknown", "a.b.c"] {
        world.api.call_as(Some(key), Method::POST, "/v1/schemas").await?.is(
            401,
            "unauthorized",
            "unknown",
        )?;
    }
    let wrong = world.api.call_as(Some(&world.api.key), Method::DELETE, "/v1/schemas").await?;
    wrong.is(405, "method_not_allowed", "does not answer DELETE")?;
    assert!(wrong.headers["allow"].to_str()?.contains("POST"));
    world.api.get("/v1/nothing").await?.is(404, "not_found", "nothing at /v1/nothing")?;
    world.fixture.finish([]).await
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() -> Result<()> {
    let world = World::with_calls(0).await?;
    let tenant = world.account.tenant;
    let api = Api::limited(&world.fixture, tenant, Rate { per_second: 1, burst: 2 }).await?;
    // A bucket gains one a second, so on a slow machine it may take some more.
    for asked in 0.. {
        let answer = api.get("/v1/jobs").await?;
        if answer.status == 200 && asked < 100 {
            continue;
        }
        assert!(asked >= 2, "{asked}");
        answer.is(429, "rate_limited", "requests")?;
        assert_eq!(answer.body["retryable"], true);
        assert_eq!(answer.headers["retry-after"], "1");
        assert_eq!(answer.headers["ratelimit-limit"], "2");
        break;
    }
    world.fixture.finish([]).await
}
