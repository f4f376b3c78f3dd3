//! Limits that the database and the HTTP API hold: what is at a limit is accepted, what is past it refused in words.

use anyhow::{Context, Result, bail};
use configuration::ApiConfig;
use configuration::Rate;
use engine::Engine;
use identity::api_key::ApiKey;
use protocol::command::{MAX_COMMAND_BYTES, MAX_TEXT_CHARS};
use protocol::ids::ConnectionId;
use reqwest::{Client, Response, StatusCode};
use runtime::health::Health;
use runtime::telemetry::Metrics;
use sealing::{KeyId, Sealed};
use serde_json::{Value, json};
use std::sync::Arc;
use store::StoreError;
use store::connections::{AccountChange, NewConnection};
use store::limits::ConnectionLimits;
use testkit::fixture::{Account, Fixture};
use tokio::net::TcpListener;
use tokio_util::sync::{CancellationToken, DropGuard};

/// What Postgres says when a CHECK does not hold.
const CHECK_VIOLATION: &str = "23514";

fn refused<T>(result: Result<T, StoreError>, what: &str) {
    let state = result.err().and_then(|error| error.sqlstate());
    assert_eq!(state.as_deref(), Some(CHECK_VIOLATION), "{what}");
}

async fn put(
    fixture: &Fixture,
    key: KeyId,
    new: &NewConnection,
    sealed: Option<usize>,
) -> Result<ConnectionId, StoreError> {
    let seal = |_| {
        Ok::<_, StoreError>(sealed.map(|bytes| Sealed { key, nonce: [0; 24], ciphertext: vec![7; bytes] }))
    };
    fixture.store.connections().put(new, AccountChange::Unchanged, None, seal).await
}

#[tokio::test]
async fn rows_have_their_sizes() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let store = &fixture.store;
    let name = |chars: usize| "é".repeat(chars);
    let tenant = store.tenants().create(&name(200), 16).await?.id;
    refused(store.tenants().create(&name(201), 16).await, "a tenant's name");
    for slices in [1, 10_000] {
        store.tenants().create("slices", slices).await?;
    }
    for slices in [0, 10_001] {
        refused(store.tenants().create("slices", slices).await, "a tenant's slices");
    }
    let key = ApiKey::generate();
    store.tenants().create_api_key(tenant, &name(200), &key.hash(), key.prefix()).await?;
    let key = ApiKey::generate();
    refused(
        store.tenants().create_api_key(tenant, &name(201), &key.hash(), key.prefix()).await,
        "a key's name",
    );

    let sealing = fixture.keyring()?.current().context("the world has a key")?;
    // As Postgres writes it: {"x": "…"}
    let settings = |bytes: usize| json!({ "x": "y".repeat(bytes - r#"{"x": ""}"#.len()) });
    let url = |chars: usize| format!("https://{}", "a".repeat(chars - 8));
    let at = NewConnection {
        tenant,
        name: name(200),
        source: "s".repeat(100),
        base_url: url(2048),
        settings: settings(65_536),
    };
    put(&fixture, sealing, &at, Some(65_536)).await?;
    let past = [
        ("a connection's name", NewConnection { name: name(201), ..at.clone() }),
        ("a connection's source", NewConnection { source: "s".repeat(101), ..at.clone() }),
        ("a connection's address", NewConnection { base_url: url(2049), ..at.clone() }),
        ("a connection's settings", NewConnection { settings: settings(65_537), ..at.clone() }),
    ];
    for (what, past) in past {
        refused(put(&fixture, sealing, &past, None).await, what);
    }
    refused(put(&fixture, sealing, &at, Some(65_537)).await, "a connection's credentials");
    fixture.finish([]).await
}

#[tokio::test]
async fn limits_of_a_connection_have_limits() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let Account { tenant, connection } = fixture.account("acme", json!({})).await?;
    let limit = |pages_in_flight, requests_per_second| {
        let limits = ConnectionLimits { pages_in_flight, requests_per_second };
        fixture.store.connections().set_limits(tenant, connection, limits)
    };
    for pages in [1, 10_000] {
        assert!(limit(Some(pages), None).await?);
    }
    for requests in [0.001, 10_000.0] {
        assert!(limit(None, Some(requests)).await?);
    }
    for pages in [0, 10_001] {
        refused(limit(Some(pages), None).await, "pages in flight");
    }
    for requests in [0.000_9, 10_001.0] {
        refused(limit(None, Some(requests)).await, "requests per second");
    }
    fixture.finish([]).await
}

struct Api {
    address: String,
    key: String,
    _stop: DropGuard,
}

impl Api {
    async fn start(fixture: &Fixture, account: Account) -> Result<Self> {
        let ApiConfig { each_caller, unknown_callers, .. } = ApiConfig::default();
        Self::limited(fixture, account, each_caller, unknown_callers).await
    }

    async fn limited(fixture: &Fixture, account: Account, each: Rate, unknown: Rate) -> Result<Self> {
        let engine = Engine::new(fixture.store.clone(), fixture.publisher.clone()).with_limits(each, unknown);
        let router =
            api::router(Arc::new(engine), &ApiConfig::default(), Health::new(Metrics::detached()).router());
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = format!("http://{}/api/v1/jobs", listener.local_addr()?);
        let stop = CancellationToken::new();
        tokio::spawn(runtime::health::serve(listener, router, stop.clone()));
        let key = ApiKey::generate();
        fixture.store.tenants().create_api_key(account.tenant, "test", &key.hash(), key.prefix()).await?;
        Ok(Self { address, key: key.expose().to_owned(), _stop: stop.drop_guard() })
    }

    async fn post(&self, path: &str, body: String) -> Result<(StatusCode, Value)> {
        let sent =
            Client::new().post(format!("{}{path}", self.address)).bearer_auth(&self.key).body(body).send();
        read(sent.await?).await
    }

    async fn ask(&self, credential: &str) -> Result<Response> {
        Ok(Client::new().get(&self.address).bearer_auth(credential).send().await?)
    }

    /// The first 429, and how many answers came before it. A bucket gains one a second, so on a slow machine it may take
    /// some more requests than it held.
    async fn until_refused(&self, credential: &str) -> Result<(usize, Response)> {
        for answered in 0..200 {
            let response = self.ask(credential).await?;
            if response.status() == StatusCode::TOO_MANY_REQUESTS {
                return Ok((answered, response));
            }
        }
        bail!("200 requests were answered")
    }

    async fn get(&self, query: &str) -> Result<(StatusCode, Value)> {
        read(Client::new().get(format!("{}?{query}", self.address)).bearer_auth(&self.key).send().await?)
            .await
    }
}

async fn read(response: Response) -> Result<(StatusCode, Value)> {
    Ok((response.status(), response.json().await?))
}

#[tokio::test]
async fn requests_have_their_sizes() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account).await?;
    let start =
        json!({ "connection_id": account.connection, "name": "é".repeat(MAX_TEXT_CHARS) }).to_string();
    let padded = |bytes: usize| format!("{start}{}", " ".repeat(bytes - start.len()));

    let (status, problem) = api.post("", "{".to_owned()).await?;
    assert_eq!(status, StatusCode::BAD_REQUEST, "{problem}");
    let (status, problem) = api.post("", padded(MAX_COMMAND_BYTES + 1)).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::PAYLOAD_TOO_LARGE, &json!("too_large")));
    let (status, job) = api.post("", padded(MAX_COMMAND_BYTES)).await?;
    assert_eq!(status, StatusCode::ACCEPTED, "{job}");

    let id = job["id"].as_str().context("a job has an id")?;
    let reason = |chars: usize| json!({ "reason": "é".repeat(chars) }).to_string();
    let (status, problem) = api.post(&format!("/{id}/cancel"), reason(MAX_TEXT_CHARS + 1)).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("invalid")));
    let (status, _) = api.post(&format!("/{id}/cancel"), reason(MAX_TEXT_CHARS)).await?;
    assert_eq!(status, StatusCode::ACCEPTED);

    for limit in ["1", "100"] {
        assert_eq!(api.get(&format!("limit={limit}")).await?.0, StatusCode::OK);
    }
    for limit in ["0", "101"] {
        let (status, problem) = api.get(&format!("limit={limit}")).await?;
        assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_query")), "{limit}");
    }
    // A place in the list that no job can have been accepted at.
    let (status, problem) = api.get(&format!("cursor=-{:015x}{:032x}", 1_u64 << 59, 1)).await?;
    assert_eq!((status, &problem["code"]), (StatusCode::BAD_REQUEST, &json!("invalid_query")), "{problem}");
    fixture.finish([]).await
}

#[tokio::test]
async fn a_caller_who_asks_too_often_is_told_when_to_come_back() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let slow = Rate { per_second: 1, burst: 3 };
    let api = Api::limited(&fixture, account, slow, Rate { per_second: 1, burst: 2 }).await?;
    let (answered, refused) = api.until_refused(&api.key).await?;
    assert!(answered >= 3, "{answered}");
    let header =
        |name: &str| refused.headers().get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    assert_eq!(header("retry-after").as_deref(), Some("1"));
    assert_eq!(header("ratelimit-limit").as_deref(), Some("3"));
    assert_eq!(header("ratelimit-remaining").as_deref(), Some("0"));
    assert_eq!(header("ratelimit-reset").as_deref(), Some("1"));
    assert_eq!(header("content-type").as_deref(), Some("application/problem+json"));
    let (_, problem) = read(refused).await?;
    assert_eq!((&problem["code"], &problem["status"]), (&json!("rate_limited"), &json!(429)));

    // Another key of the same tenant has a limit of its own. Its first request was one of the two of the unknown.
    let other = ApiKey::generate();
    fixture.store.tenants().create_api_key(account.tenant, "other", &other.hash(), other.prefix()).await?;
    assert_eq!(api.ask(other.expose()).await?.status(), StatusCode::OK);
    fixture.finish([]).await
}

#[tokio::test]
async fn source_connections_say_it_in_their_own_form() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let slow = Rate { per_second: 1, burst: 2 };
    let api = Api::limited(&fixture, account, slow, slow).await?;
    let url = api.address.replace("/api/v1/jobs", "/source-connections");
    let refused = loop {
        let answer = Client::new().get(&url).header("x-api-key", &api.key).send().await?;
        if answer.status() != StatusCode::OK {
            break answer;
        }
    };
    for name in ["retry-after", "ratelimit-limit", "ratelimit-remaining", "ratelimit-reset"] {
        assert!(refused.headers().contains_key(name), "{name}: {refused:?}");
    }
    let (status, body) = read(refused).await?;
    assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    assert!(body["detail"].is_string() && body.as_object().is_some_and(|body| body.len() == 1), "{body}");
    fixture.finish([]).await
}

#[tokio::test]
async fn guesses_are_few_and_cost_nobody_else_anything() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let quick = Rate { per_second: 1000, burst: 1000 };
    let api = Api::limited(&fixture, account, quick, Rate { per_second: 1, burst: 3 }).await?;
    assert_eq!(api.get("").await?.0, StatusCode::OK);
    // A key that begins like one that there is. (How others are treated is in neighbours/keys.rs.)
    let turned = if api.key.ends_with('0') { '1' } else { '0' };
    let guess = format!("{}{turned}", &api.key[..api.key.len() - 1]);
    for _ in 0..2 {
        assert_eq!(api.ask(&guess).await?.status(), StatusCode::UNAUTHORIZED);
    }
    let (_, refused) = api.until_refused(&guess).await?;
    for name in refused.headers().keys() {
        assert_eq!(refused.headers().get_all(name).iter().count(), 1, "{name}");
    }
    // Whoever was known before the guesses is served.
    assert_eq!(api.get("").await?.0, StatusCode::OK);
    // Unless the key is revoked.
    let key = fixture.store.tenants().api_keys(account.tenant).await?.pop().context("a key was made")?;
    assert!(fixture.store.tenants().revoke_api_key(key.id).await?);
    assert_eq!(api.get("").await?.0, StatusCode::UNAUTHORIZED);
    fixture.finish([]).await
}

#[tokio::test]
async fn the_last_use_of_a_key_is_kept_to_the_minute() -> Result<()> {
    let fixture = Fixture::with_calls(0).await?;
    let account = fixture.account("acme", json!({})).await?;
    let api = Api::start(&fixture, account).await?;
    let last = async || -> Result<_> {
        Ok(fixture
            .store
            .tenants()
            .api_keys(account.tenant)
            .await?
            .pop()
            .context("a key was made")?
            .last_used_at)
    };
    assert_eq!(last().await?, None);
    api.get("").await?;
    let first = last().await?.context("it was used")?;
    api.get("").await?;
    assert_eq!(last().await?, Some(first), "not written again within the minute");
    fixture.database.execute("update api_keys set last_used_at = last_used_at - interval '61 s'").await?;
    api.get("").await?;
    assert!(last().await? >= Some(first));

    // The status of a job looks at the key on its way, and notes no less.
    let job = fixture.accept(account.connection).await?;
    let url = format!("{}/{job}", api.address);
    let show = async || Client::new().get(&url).bearer_auth(&api.key).send().await;
    for back in ["61 s", "1 h"] {
        let set_back = format!("update api_keys set last_used_at = last_used_at - interval '{back}'");
        fixture.database.execute(&set_back).await?;
        let before = last().await?;
        assert_eq!(show().await?.status(), StatusCode::OK);
        let noted = last().await?;
        assert!(noted > before);
        assert_eq!(show().await?.status(), StatusCode::OK);
        assert_eq!(last().await?, noted, "not again within the minute");
    }
    fixture.finish([]).await
}
