//! What the page parser calls storable is what Postgres stores as `jsonb`, and what it refuses is what Postgres refuses.

use anyhow::{Context, Result};
use axum::Router;
use fuzz::{document, sample};
use protocol::slice::Span;
use serde_json::json;
use serde_json::value::RawValue;
use sources::{Content, Endpoint, FetchConfig, Fetcher, PageRequest, open};
use sqlx::Connection;
use std::time::Duration;
use testkit::database::session;
use testkit::fixture::Fixture;
use tokio::net::TcpListener;

const RECORDS: usize = 3000;

const VALUES: &[&str] = &[
    r#"{"text": "é \u00e9 \ud83d\ude00 \\u0000 \" \\", "numbers": [1, -2.5, 1e10, 0.0, 1E-5], "more": {"null": null}}"#,
    r#"[[], {}, "", 1e131071, 0.001e131074, 1e-16383, "\uD83D\uDE00", true]"#,
    r#""a\u0001\u0000b""#,
];

/// Records that are JSON, whatever else they are.
fn records() -> Vec<String> {
    let values = sample(&document(VALUES), RECORDS);
    let texts = values.into_iter().filter_map(|value| String::from_utf8(value.0).ok());
    let json = texts.filter(|text| serde_json::from_str::<&RawValue>(text).is_ok());
    json.map(|value| format!(r#"{{"id":"a","at":"2026-01-02T00:00:00Z","value":{value}}}"#)).collect()
}

/// What the parser says of each: nothing, or why it cannot be stored.
async fn judged(records: &[String]) -> Result<Vec<Option<String>>> {
    let page = format!(r#"{{"items":[{}],"next":null}}"#, records.join(","));
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let base_url = format!("http://{}", listener.local_addr()?).parse()?;
    let serving = tokio::spawn(async { axum::serve(listener, Router::new().fallback(async || page)).await });
    let settings = json!({
        "path": "/", "records": {"pointer": "/items", "id": "/id", "time": "/at"},
        "next": {"style": "next_url", "pointer": "/next"},
    });
    let source =
        open(&Endpoint { kind: "paged_json".to_owned(), base_url, credentials: json!({}), settings })?;
    let limits = FetchConfig {
        allow_private_addresses: true,
        max_page_bytes: 128 << 20,
        byte_budget: 128 << 20,
        ..FetchConfig::default()
    };
    let (http, span) = (Fetcher::new(limits, 1)?, Span { from: None, to: "2026-02-01T00:00:00Z".parse()? });
    let request = PageRequest::first(&span, Duration::from_secs(60));
    let page = source.fetch(request, &http).await?;
    serving.abort();
    Ok(page
        .records
        .into_iter()
        .map(|record| match record.content {
            Content::Failed { reason } => Some(reason),
            Content::Gone { .. } | Content::Stored { .. } | Content::Deferred => None,
        })
        .collect())
}

#[tokio::test]
async fn the_parser_and_the_database_agree() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    fixture
        .database
        .execute(
            "create function storable(document text) returns boolean language plpgsql as $$ begin
                 perform document::jsonb; return true;
             exception when others then return false; end $$",
        )
        .await?;
    let mut session = session(&fixture.database.url()).await?;
    let records = records();
    let judged = judged(&records).await?;
    assert_eq!(judged.len(), records.len());
    let sql = "select array_agg(storable(document) order by nr) from unnest($1::text[]) with ordinality t (document, nr)";
    let storable: Vec<bool> = sqlx::query_scalar::<_, Option<Vec<bool>>>(sql)
        .bind(&records)
        .fetch_one(&mut session)
        .await?
        .context("rows")?;
    let (mut stored, mut refused) = (0, 0);
    for ((record, judged), storable) in records.iter().zip(&judged).zip(&storable) {
        let shown: String = record.chars().take(500).collect();
        match judged {
            None => assert!(storable, "Postgres refuses {shown}"),
            // These limits are our own: what is stored must be read back, too, and not grow enormous by it.
            Some(reason) if reason.contains("nested deeper") || reason.contains("too large to be stored") => {
            }
            Some(reason) => assert!(!storable, "Postgres stores {shown}, though {reason}"),
        }
        *(if judged.is_none() { &mut stored } else { &mut refused }) += 1;
    }
    assert!(stored > 300 && refused > 100, "{stored} stored, {refused} refused: the inputs say too little");
    session.close().await?;
    fixture.finish([]).await
}
