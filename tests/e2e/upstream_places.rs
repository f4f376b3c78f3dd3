//! Where an upstream sends us: redirects and next pages, to itself, in circles, and to hosts that are none of its
//! business. The connection's key goes to the connection's own host only.

use anyhow::{Context, Result};
use protocol::job::JobError;
use protocol::job::JobStatus;
use serde_json::{Value, json};
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Answer, Options, SampleUpstream, TenantOptions};

/// A page with one call, whose id is the page's name, and this `next`.
fn page(name: &str, next: impl Into<Value>) -> Answer {
    let call = json!({ "callId": name, "created": "2025-01-01T00:00:00Z", "ended": "2025-01-01T00:01:00Z" });
    Answer::json(json!({ "next": next.into(), "results": [call] }).to_string())
}

/// Answers the page of a tenant that this cursor leads to.
fn script(fixture: &Fixture, tenant: &'static str, cursor: Option<&'static str>, answer: Answer) {
    let chosen = move |asked: &testkit::sample_upstream::Asked| {
        asked.tenant == tenant && asked.parameter("cursor").as_deref() == cursor
    };
    fixture.upstream.script_times(chosen, answer, u64::MAX);
}

#[tokio::test]
async fn nobody_is_led_astray() -> Result<()> {
    let names = [
        "redirected",
        "around",
        "elsewhere",
        "next elsewhere",
        "downgraded",
        "itself",
        "pair",
        "circle",
        "tail",
    ];
    let tenants = || names.map(|name| TenantOptions::new(name, 30));
    let fixture = Fixture::start(Options::new(tenants())).await?;
    // It would answer to the same keys.
    let other = SampleUpstream::start(Options::new(tenants())).await?;
    let (here, elsewhere) = (fixture.upstream.base_url(), other.base_url());

    // Redirects: within the host (followed, with the key), in a circle, and to another host.
    let moved =
        |asked: &testkit::sample_upstream::Asked| asked.tenant == "redirected" && asked.path == "/api/calls";
    fixture.upstream.script_times(moved, Answer::redirect("/moved"), u64::MAX);
    let arrived =
        |asked: &testkit::sample_upstream::Asked| asked.tenant == "redirected" && asked.path == "/moved";
    fixture.upstream.script_times(arrived, page("arrived", Value::Null), u64::MAX);
    script(&fixture, "around", None, Answer::redirect("/api/calls"));
    script(&fixture, "elsewhere", None, Answer::redirect(&format!("{elsewhere}/api/calls")));
    // Next pages: on another host, and on this one but not as the connection says.
    script(&fixture, "next elsewhere", None, page("0", format!("{elsewhere}/api/calls?cursor=a")));
    script(
        &fixture,
        "downgraded",
        None,
        page("0", format!("{}/api/calls?cursor=a", here.replace("http:", "https:"))),
    );
    // Circles: of one page, of two, of three; and of three after a way into it.
    script(&fixture, "itself", None, page("0", "?cursor=a"));
    script(&fixture, "itself", Some("a"), page("a", "?cursor=a"));
    for (tenant, circle) in [("pair", &["a", "b"][..]), ("circle", &["a", "b", "c"])] {
        script(&fixture, tenant, None, page("0", "?cursor=a"));
        for (at, cursor) in circle.iter().enumerate() {
            let next = circle[(at + 1) % circle.len()];
            script(&fixture, tenant, Some(cursor), page(cursor, format!("?cursor={next}")));
        }
    }
    for (cursor, next) in [
        (None, "x"),
        (Some("x"), "y"),
        (Some("y"), "a"),
        (Some("a"), "b"),
        (Some("b"), "c"),
        (Some("c"), "a"),
    ] {
        script(&fixture, "tail", cursor, page(cursor.unwrap_or("0"), format!("?cursor={next}")));
    }

    let consumer = fixture.consumer().await?;
    let mut jobs = Vec::new();
    for name in names {
        let account = fixture.account(name, json!({})).await?;
        jobs.push((name, fixture.publish_start(account.connection).await?));
    }
    for (name, job) in jobs {
        if name == "redirected" {
            let view = fixture.until_over(job, JobStatus::Completed).await?;
            assert_eq!(view.counters.inserted, 1);
            continue;
        }
        let view = fixture.until_over(job, JobStatus::Failed).await?;
        let error: JobError = view.error.context("an error")?;
        // The cause, the page at which the job ended, and how many different calls there were.
        let (cause, page, calls) = match name {
            "around" => ("more than 3 redirects", 0, 0),
            "elsewhere" => ("redirect to another host", 0, 0),
            // Another port or scheme is no error: path and query are asked for where the connection is, which has no such cursor.
            "next elsewhere" | "downgraded" => {
                ("the upstream answered 400", view.pages_settled.try_into()?, view.counters.inserted)
            }
            "itself" => ("cursor loop: the next page of /api/calls?cursor=a is itself", 1, 1),
            "pair" => ("cursor loop", 3, 3),
            "circle" => ("cursor loop", 6, 4),
            _ => ("cursor loop", 6, 6),
        };
        assert!(error.cause.contains(cause), "{name}: {}", error.cause);
        assert_eq!((error.page, view.counters.inserted), (Some(page), calls), "{name}: {}", error.cause);
        assert_eq!(view.counters.processed(), i64::from(page), "{name}: the circle's pages changed nothing");
    }
    assert_eq!(other.seen().requests, 0, "another host was asked, and shown the key");
    fixture.finish([consumer]).await
}
