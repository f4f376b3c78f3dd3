//! Rows as a schema shows them, and the cells that are counted.

use super::api::World;
use anyhow::{Context, Result};
use protocol::job::JobStatus;
use serde_json::{Value, json};

fn row_of<'a>(rows: &'a [Value], id: &str) -> Result<&'a Value> {
    rows.iter().find(|row| row["document_id"] == id).with_context(|| format!("no row of {id}"))
}

/// The cells of rows, counted by hand.
fn counted(rows: &[Value], fields: usize) -> Value {
    let filled = rows
        .iter()
        .filter_map(|row| row["values"].as_object())
        .flat_map(|values| values.values())
        .filter(|value| !value.is_null())
        .count();
    let total = rows.len() * fields;
    let rate = (filled as f64 / total as f64 * 10_000.0).round() / 10_000.0;
    json!({ "total_cells": total, "filled": filled, "empty": total - filled, "fill_rate": rate })
}

#[tokio::test]
async fn records_are_shown_as_rows_and_their_cells_are_counted() -> Result<()> {
    let world = World::with_calls(23).await?;
    let upstream = &world.fixture.upstream;
    let created = upstream.created("acme", 3).context("it is there")?.to_rfc3339();
    let call = |id: &str, rest: &str| {
        format!(r#"{{"callId":"{id}","created":"{created}","ended":"{created}",{rest}}}"#)
    };
    upstream.set_raw("acme", 3, &call("odd", r#""count":"3","note":null,"nested":{"list":[{"x":1.50}]}"#));
    upstream.set_raw("acme", 4, &call("even", r#""count":3.0,"note":"n""#));
    upstream.set_raw("acme", 5, &format!(r#"{{"created":"{created}","ended":"{created}"}}"#));
    upstream.set_running("acme", 6, true);
    let schema = world
        .schema(json!([
            { "name": "call", "pointer": "/callId", "type": "string", "required": true },
            { "name": "created", "pointer": "/created", "type": "timestamp" },
            { "name": "count", "pointer": "/count", "type": "integer" },
            { "name": "note", "pointer": "/note", "type": "string" },
            { "name": "x", "pointer": "/nested/list/0/x", "type": "number" },
            { "name": "agent", "pointer": "/agent", "type": "json", "required": true },
        ]))
        .await?;
    let consumer = world.fixture.consumer().await?;
    let job = world.start(json!({ "schema_id": schema })).await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let rows = world.rows(job, 4).await?;
    assert_eq!(rows.len(), 23);

    let odd = row_of(&rows, "odd")?;
    assert_eq!(
        (&odd["status"], &odd["values"]["count"], &odd["values"]["x"]),
        (&json!("partial"), &Value::Null, &json!(1.5))
    );
    assert_eq!(
        odd["errors"],
        json!([
            { "field": "count", "message": "\"3\" is not a whole number of 64 bits" },
            { "field": "agent", "message": "the record has no value at \"/agent\"" },
        ])
    );
    let even = row_of(&rows, "even")?;
    assert_eq!(
        (&even["status"], &even["values"]["count"], &even["values"]["note"]),
        (&json!("partial"), &json!(3), &json!("n"))
    );
    let unreadable: Vec<_> = rows.iter().filter(|row| row["status"] == "failed").collect();
    assert_eq!(unreadable.len(), 1);
    assert_eq!((&unreadable[0]["document_id"], &unreadable[0]["values"]), (&Value::Null, &Value::Null));
    assert!(
        unreadable[0]["errors"][0]["message"].as_str().context("a reason")?.contains("no id"),
        "{unreadable:?}"
    );
    let running = row_of(&rows, &upstream.id("acme", 6))?;
    assert_eq!((&running["status"], &running["values"]["call"]), (&json!("partial"), &Value::Null));
    assert!(running["errors"][0]["message"].as_str().context("a reason")?.contains("not importable yet"));
    let whole = row_of(&rows, &upstream.id("acme", 0))?;
    assert_eq!((&whole["status"], &whole["errors"]), (&json!("complete"), &json!([])));
    assert_eq!(whole["values"]["call"], whole["document_id"]);
    let keys: Vec<_> = whole["values"].as_object().context("values")?.keys().collect();
    assert_eq!(keys.len(), 6);

    let shown = world.job(job).await?;
    assert_eq!(shown["grid_stats"], counted(&rows, 6), "as the rows say");
    let results = world.api.get(&format!("/v1/jobs/{job}/results?limit=1")).await?.body;
    assert_eq!(
        (&results["schema"]["id"], &results["schema"]["fields"][0]["name"]),
        (&json!(schema), &json!("call"))
    );
    assert_eq!(
        json!([
            results["job_id"],
            results["job_status"],
            results["total_rows"],
            results["links"]["self"],
            results["links"]["job"]
        ]),
        json!([job, "complete", 23, format!("/v1/jobs/{job}/results"), format!("/v1/jobs/{job}")])
    );

    // A second job finds everything unchanged, and counts the same.
    let again = world.start(json!({ "schema_id": schema })).await?;
    let view = world.fixture.until_over(again, JobStatus::Completed).await?;
    assert_eq!(view.counters.unchanged, 21);
    assert_eq!(world.job(again).await?["grid_stats"], shown["grid_stats"]);
    world.fixture.finish([consumer]).await
}

/// What is stored now is shown, whichever job wrote it; what was counted is what the job fetched.
#[tokio::test]
async fn rows_show_the_newest_content() -> Result<()> {
    let world = World::with_calls(3).await?;
    let upstream = &world.fixture.upstream;
    let schema = world.schema(json!([{ "name": "late", "pointer": "/late", "type": "boolean" }])).await?;
    let consumer = world.fixture.consumer().await?;
    let first = world.start(json!({ "schema_id": schema })).await?;
    world.fixture.until_over(first, JobStatus::Completed).await?;
    let id = upstream.id("acme", 1);
    assert_eq!(row_of(&world.rows(first, 2).await?, &id)?["values"], json!({ "late": null }));

    let created = upstream.created("acme", 1).context("it is there")?.to_rfc3339();
    let changed = format!(r#"{{"callId":"{id}","created":"{created}","ended":"{created}","late":true}}"#);
    upstream.set_raw("acme", 1, &changed);
    let second = world.start(json!({ "schema_id": schema })).await?;
    world.fixture.until_over(second, JobStatus::Completed).await?;
    for job in [first, second] {
        assert_eq!(row_of(&world.rows(job, 2).await?, &id)?["values"], json!({ "late": true }));
    }
    assert_eq!(world.job(first).await?["grid_stats"]["filled"], 0);
    assert_eq!(world.job(second).await?["grid_stats"]["filled"], 1);

    // Marked as deleted: its last content.
    let sql = format!("update records set deleted_at = now() where external_id = '{id}'");
    world.fixture.database.execute(&sql).await?;
    assert_eq!(row_of(&world.rows(first, 2).await?, &id)?["values"], json!({ "late": true }));
    // By no full sync, which no world may end with.
    world.fixture.database.execute("update records set deleted_at = null").await?;
    world.fixture.finish([consumer]).await
}

#[tokio::test]
async fn without_a_schema_a_row_is_the_record() -> Result<()> {
    let world = World::with_calls(2).await?;
    let consumer = world.fixture.consumer().await?;
    let created = world.fixture.upstream.created("acme", 1).context("it is there")?.to_rfc3339();
    // A number that no double holds, and one that has more digits than one.
    let text = format!(
        r#"{{"callId": "big", "created": "{created}", "ended": "{created}", "n": 1e400, "m": 0.10000000000000000001}}"#
    );
    world.fixture.upstream.set_raw("acme", 1, &text);
    let job = world.start(json!({})).await?;
    world.fixture.until_over(job, JobStatus::Completed).await?;
    let answer = world.api.request(reqwest::Method::GET, &format!("/v1/jobs/{job}/results"));
    let text = answer.bearer_auth(&world.api.key).send().await?.text().await?;
    assert!(text.contains(&format!("\"n\": 1{}", "0".repeat(400))), "{text}");
    assert!(text.contains("\"m\": 0.10000000000000000001") && text.contains("\"schema\":null"), "{text}");
    assert_eq!(text.matches("\"status\":\"complete\"").count(), 2);
    assert_eq!(world.job(job).await?["grid_stats"], Value::Null);
    world.fixture.finish([consumer]).await
}
