//! No route shows or changes what is another tenant's. The routes come from the API's own list: one that is not known
//! here fails the test.

mod world;

use anyhow::{Result, bail};
use api::Route;
use protocol::job::JobStatus;
use protocol::schema::Fields;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{Options, TenantOptions};
use world::{Api, Caller, Named};

/// What a route is about.
enum About {
    /// Nobody's data.
    Nobody,
    /// What is in its path.
    Path,
    /// What its body names; each of these names something that is another's.
    Bodies(Vec<Value>),
    /// All that is the caller's, or something new of theirs.
    Own(Value),
}

/// What a stranger asks of a route.
fn about(route: &Route, theirs: &Named, own: Account) -> Option<About> {
    let Named { connection, job, schema } = theirs;
    // Of a start: another's connection, or another's schema for a connection of one's own.
    let starts = || {
        vec![
            json!({ "connection_id": connection }),
            json!({ "connection_id": own.connection, "schema_id": schema }),
        ]
    };
    Some(match (route.method.as_str(), route.path.as_str()) {
        ("OPTIONS", _) => About::Nobody,
        ("GET", "/api/v1/jobs" | "/functions/v1/get-sync-status") => About::Own(Value::Null),
        (
            "GET",
            "/api/v1/jobs/{id}"
            | "/api/v1/jobs/{id}/events"
            | "/api/v1/jobs/{id}/explain"
            | "/api/v1/connections/{id}/stragglers",
        )
        | (
            "POST",
            "/api/v1/jobs/{id}/cancel"
            | "/api/v1/jobs/{id}/pause"
            | "/api/v1/jobs/{id}/unpause"
            | "/api/v1/jobs/{id}/resume",
        ) => About::Path,
        ("POST", "/api/v1/jobs") => About::Bodies(starts()),
        ("POST", "/functions/v1/cancel-historical-sync") => About::Bodies(vec![json!({ "job_id": job })]),
        // It names nothing: the connection is the agency's own.
        ("POST", "/functions/v1/start-historical-sync") => About::Own(json!({})),

        ("GET", "/source-connections") => About::Own(Value::Null),
        ("POST", "/source-connections") => About::Own(json!({
            "name": "calls", "source": "ultravox", "base_url": "https://upstream.example", "credentials": { "api_key": "k" },
        })),
        (
            "GET" | "DELETE",
            "/source-connections/{connection}"
            | "/source-connections/{connection}/jobs"
            | "/source-connections/{connection}/jobs/{job}",
        )
        | (
            "POST",
            "/source-connections/{connection}/run" | "/source-connections/{connection}/jobs/{job}/cancel",
        ) => About::Path,

        ("GET", "/v1/jobs" | "/v1/schemas") => About::Own(Value::Null),
        ("POST", "/v1/schemas") => About::Own(
            json!({ "name": "mine", "fields": [{ "name": "id", "pointer": "/callId", "type": "string" }] }),
        ),
        ("POST", "/v1/jobs") => About::Bodies(starts()),
        ("GET", "/v1/jobs/{id}" | "/v1/jobs/{id}/results" | "/v1/schemas/{id}")
        | ("POST", "/v1/jobs/{id}/cancel") => About::Path,
        _ => return None,
    })
}

/// Everything of a tenant that a request could change.
async fn state(fixture: &Fixture, theirs: Account, named: &Named) -> Result<String> {
    let job =
        fixture.store.jobs().get(named.job, None).await?.map(|job| (job.status, job.paused, job.slices));
    let schema = fixture.store.schemas().get(theirs.tenant, named.schema).await?.map(|schema| schema.name);
    let connections = fixture.store.connections().list(Some(theirs.tenant)).await?;
    let connections: Vec<_> =
        connections.iter().map(|connection| (connection.id, &connection.name)).collect();
    Ok(format!("{job:?} {schema:?} {connections:?}"))
}

#[tokio::test]
async fn no_route_leads_to_another_tenant() -> Result<()> {
    let tenants = [TenantOptions::new("acme", 0), TenantOptions::new("other", 0)];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let theirs = fixture.account("acme", json!({})).await?;
    fixture.store.connections().designate_for_historical_sync(theirs.tenant, theirs.connection).await?;
    let fields: Fields =
        serde_json::from_value(json!([{ "name": "id", "pointer": "/callId", "type": "string" }]))?;
    let named = Named {
        connection: theirs.connection,
        job: fixture.accept(theirs.connection).await?,
        schema: fixture.store.schemas().create(theirs.tenant, "theirs", &fields).await?.id,
    };
    let own = fixture.account("other", json!({})).await?;
    let owner = Caller::new(&fixture, theirs.tenant, "owner").await?;
    let stranger = Caller::new(&fixture, own.tenant, "stranger").await?;
    let api = Api::start(&fixture).await?;
    let names = [
        named.job.to_string(),
        named.connection.to_string(),
        named.schema.to_string(),
        theirs.tenant.to_string(),
    ];
    let untouched = state(&fixture, theirs, &named).await?;

    let routes = api::routes();
    assert_eq!(routes.len(), 32, "{routes:?}");
    for route in &routes {
        let Some(about) = about(route, &named, own) else {
            bail!("{} {} is not known to this test: say what it is about", route.method, route.path);
        };
        let bodies = match &about {
            About::Bodies(bodies) => bodies.clone(),
            About::Own(body) => vec![body.clone()],
            About::Nobody | About::Path => vec![json!({})],
        };
        let functions = route.path.starts_with("/functions/");
        for (credential, body) in
            stranger.headers(route).iter().flat_map(|it| bodies.iter().map(move |body| (it, body)))
        {
            let (status, text) = api.call(route, &named, credential, body).await?;
            let what = format!("{} {} {body}: {status} {text}", route.method, route.path);
            match about {
                About::Nobody => assert!(status.is_success(), "{what}"),
                // This contract says whose it is not, and no more.
                About::Bodies(_) if functions => assert_eq!(status, StatusCode::FORBIDDEN, "{what}"),
                About::Path | About::Bodies(_) => assert_eq!(status, StatusCode::NOT_FOUND, "{what}"),
                // The stranger's agency has no connection for a start.
                About::Own(_) if functions && route.method == Method::POST => {
                    assert_eq!(status, StatusCode::BAD_REQUEST, "{what}");
                }
                About::Own(_) => assert!(status.is_success(), "{what}"),
            }
            if matches!(about, About::Own(_)) {
                assert!(names.iter().all(|name| !text.contains(name.as_str())), "{what}");
            }
        }
    }
    // Nothing of it has come through.
    assert_eq!(state(&fixture, theirs, &named).await?, untouched);

    // To their owner the same requests are not refused like that: it was not the path that was wrong.
    let as_owner = async |method: Method, path: &str| {
        let route = Route { method, path: path.to_owned() };
        let credentials = owner.headers(&route);
        let Some(credential) = credentials.first() else { bail!("{path}: no credential") };
        api.call(&route, &named, credential, &json!({})).await
    };
    for route in routes.iter().filter(|route| route.method == Method::GET) {
        let (status, text) = as_owner(Method::GET, &route.path).await?;
        assert_eq!(status, StatusCode::OK, "{}: {text}", route.path);
        assert!(names.iter().any(|name| text.contains(name.as_str())), "{} {text}", route.path);
    }
    for (path, status) in [
        ("/api/v1/jobs/{id}/pause", StatusCode::ACCEPTED),
        ("/api/v1/jobs/{id}/unpause", StatusCode::ACCEPTED),
        ("/source-connections/{connection}/run", StatusCode::CONFLICT),
        ("/source-connections/{connection}/jobs/{job}/cancel", StatusCode::OK),
        ("/v1/jobs/{id}/cancel", StatusCode::CONFLICT),
        ("/api/v1/jobs/{id}/cancel", StatusCode::CONFLICT),
        ("/api/v1/jobs/{id}/resume", StatusCode::ACCEPTED),
    ] {
        assert_eq!(as_owner(Method::POST, path).await?.0, status, "{path}");
    }
    fixture.until_over(named.job, JobStatus::Cancelled).await?;
    assert_eq!(as_owner(Method::DELETE, "/source-connections/{connection}").await?.0, StatusCode::OK);
    fixture.finish([]).await
}
