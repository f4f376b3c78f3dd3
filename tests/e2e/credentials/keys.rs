//! The keys that seal credentials: missing ones, changed ones, and sealed values in wrong places.

use anyhow::{Context, Result};
use protocol::ids::ConnectionId;
use protocol::job::JobStatus;
use sealing::{Key, Keyring};
use serde_json::json;
use std::collections::HashMap;
use store::connections::{AccountChange, NewConnection};
use testkit::command_line::{Ran, backhaul};
use testkit::fixture::{CREDENTIALS_KEY, Fixture};

fn with_keys(fixture: &Fixture, key: Option<&Key>, old: &[&str]) -> HashMap<String, String> {
    let mut environment = fixture.environment();
    let key = key.map(|key| key.expose().to_string()).unwrap_or_default();
    environment.insert("BACKHAUL__CREDENTIALS__KEY".to_owned(), key);
    environment.insert("BACKHAUL__CREDENTIALS__OLD_KEYS".to_owned(), old.join(","));
    environment
}

async fn put(fixture: &Fixture, environment: &HashMap<String, String>, credentials: &str) -> Result<Ran> {
    let base_url = fixture.upstream.base_url();
    let put = ["admin", "connection", "put", "--tenant", "acme", "--name", "calls", "--source", "ultravox"];
    let more = ["--base-url", &base_url, "--credentials", credentials, "--json"];
    backhaul(environment, &[put.as_slice(), &more].concat()).await
}

#[tokio::test]
async fn without_a_key_nothing_secret_is_stored() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let environment = with_keys(&fixture, None, &[]);
    backhaul(&environment, &["admin", "tenant", "create", "acme"]).await?;
    let refused = put(&fixture, &environment, r#"{"api_key": "s3cret-value"}"#).await?;
    assert_eq!(refused.code, Some(1));
    assert!(refused.stderr.contains("backhaul admin generate-key"), "{}", refused.stderr);
    assert!(!refused.stderr.contains("s3cret"), "{}", refused.stderr);
    assert!(fixture.store.connections().list(None).await?.is_empty());
    // Ultravox wants a key; another upstream may want none.
    assert_eq!(put(&fixture, &environment, "{}").await?.code, Some(2));
    let settings = r#"{"path": "/calls", "records": {"pointer": "/results", "id": "/callId"},
                       "next": {"style": "next_url", "pointer": "/next"}}"#;
    let open = ["admin", "connection", "put", "--tenant", "acme", "--name", "open", "--source", "paged_json"];
    let more = ["--base-url", "https://open.example", "--credentials", "{}", "--settings", settings];
    let stored = backhaul(&environment, &[open.as_slice(), &more].concat()).await?;
    assert_eq!(stored.code, Some(0), "no credentials need no key: {}", stored.stderr);
    let rotate = backhaul(&environment, &["admin", "rotate-key"]).await?;
    assert_eq!(rotate.code, Some(1));
    assert!(rotate.stderr.contains("generate-key"), "{}", rotate.stderr);

    let made = backhaul(&environment, &["admin", "generate-key"]).await?;
    let key = Key::parse("it", &made.stdout)?;
    assert!(made.stderr.contains(&key.id().to_string()), "{}", made.stderr);
    let environment = with_keys(&fixture, Some(&key), &[]);
    assert_eq!(put(&fixture, &environment, r#"{"api_key": "s3cret-value"}"#).await?.code, Some(0));
    let listed = backhaul(&environment, &["admin", "connection", "list"]).await?;
    assert!(listed.stdout.contains(&key.id().to_string()), "{}", listed.stdout);
    fixture.finish([]).await
}

#[tokio::test]
async fn a_page_whose_credentials_cannot_be_opened_fails_the_job() -> Result<()> {
    let fixture = Fixture::with_calls(5).await?;
    let account = fixture.account("acme", json!({})).await?;
    let mut settings = fixture.settings()?;
    settings.credentials.key = Key::generate().expose().to_string().into();
    let stranger = fixture.consumer_with(settings).await?;
    let job = fixture.publish_start(account.connection).await?;
    let error = fixture.until_over(job, JobStatus::Failed).await?.error.context("an error")?.cause;
    let needed = Key::parse("the fixture's", CREDENTIALS_KEY)?.id().to_string();
    assert!(error.contains(&needed) && error.contains("credentials.old_keys"), "{error}");
    stranger.stop().await?;

    // The same bytes in another row: a tenant cannot be given another one's credentials behind our back.
    let other = NewConnection {
        tenant: account.tenant,
        name: "copied".to_owned(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({}),
    };
    let other = fixture.put_connection(&other, &json!({ "api_key": "another" })).await?;
    sqlx::query(
        "update connections c set credentials_key = o.credentials_key, credentials_nonce = o.credentials_nonce,
                credentials = o.credentials from connections o where c.id = $1 and o.id = $2",
    )
    .bind(other.0)
    .bind(account.connection.0)
    .execute(&fixture.database.pool)
    .await?;
    let consumer = fixture.consumer().await?;
    let job = fixture.publish_start(other).await?;
    let error = fixture.until_over(job, JobStatus::Failed).await?.error.context("an error")?.cause;
    assert!(error.contains("belongs to another connection") && error.contains(&needed), "{error}");
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn keys_are_changed_under_running_consumers() -> Result<()> {
    let fixture = Fixture::with_calls(60).await?;
    let account = fixture.account("acme", json!({})).await?;
    let fresh = Key::generate();
    // More than one batch, and one that nobody can open.
    let lost = Key::generate();
    let mut new = NewConnection {
        tenant: account.tenant,
        name: String::new(),
        source: "ultravox".to_owned(),
        base_url: fixture.upstream.base_url(),
        settings: json!({}),
    };
    for number in 0..120 {
        new.name = format!("number {number}");
        fixture.put_connection(&new, &json!({ "api_key": new.name })).await?;
    }
    let foreign = Keyring::new(Some(lost.clone()), Vec::new());
    new.name = "lost".to_owned();
    let seal =
        |id: ConnectionId| Ok::<_, anyhow::Error>(foreign.seal(&new.bound(id), &json!({ "api_key": "x" }))?);
    let orphan = fixture.store.connections().put(&new, AccountChange::Unchanged, None, seal).await?;

    // A consumer that knows both works on, before, during and after.
    let mut settings = fixture.settings()?;
    settings.credentials.old_keys = vec![fresh.expose().to_string().into()];
    fixture.upstream.hold();
    let consumer = fixture.consumer_with(settings).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held >= 1).await;
    fixture.upstream.let_through(2);
    fixture.until(job, |view| view.pages_settled >= 2).await?;

    let environment = with_keys(&fixture, Some(&fresh), &[CREDENTIALS_KEY]);
    let rotated = backhaul(&environment, &["admin", "rotate-key", "--json"]).await?;
    assert_eq!(rotated.code, Some(1), "one is left: {}", rotated.stdout);
    let told = rotated.json()?;
    assert_eq!((&told["resealed"], &told["changed_meanwhile"]), (&json!(121), &json!(0)));
    assert_eq!(told["left"][0]["connection"], json!(orphan));
    assert_eq!(told["left"][0]["key"], json!(lost.id()));
    assert!(
        rotated.stderr.contains("100 of 122") && rotated.stderr.contains("121 of 122"),
        "{}",
        rotated.stderr
    );
    fixture.upstream.release();
    fixture.until_over(job, JobStatus::Completed).await?;
    let job = fixture.publish_start(account.connection).await?;
    fixture.until_over(job, JobStatus::Completed).await?;

    // Once more: there is nothing left to do but the one that nobody can open; given anew, it is fine.
    let again = backhaul(&environment, &["admin", "rotate-key"]).await?;
    assert!(again.code == Some(1) && again.stdout.contains(&lost.id().to_string()), "{}", again.stdout);
    let sealing = Keyring::new(Some(fresh.clone()), Vec::new());
    let seal =
        |id: ConnectionId| Ok::<_, anyhow::Error>(sealing.seal(&new.bound(id), &json!({ "api_key": "x" }))?);
    assert_eq!(fixture.store.connections().put(&new, AccountChange::Unchanged, None, seal).await?, orphan);
    let done = backhaul(&environment, &["admin", "rotate-key", "--json"]).await?;
    assert_eq!((done.code, &done.json()?["resealed"]), (Some(0), &json!(0)), "{}", done.stderr);
    assert_eq!(fixture.store.connections().credentials_keys().await?, [(fresh.id(), 122)]);
    fixture.finish([consumer]).await
}
