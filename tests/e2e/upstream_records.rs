//! Lists that change while they are read, totals that lie, and records that are not what they should be: each costs
//! itself and nothing else, and the counters stay exact.

use anyhow::{Context, Result};
use futures::TryStreamExt;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::BTreeSet;
use testkit::fixture::{Account, Fixture};
use testkit::sample_upstream::{NextAtEnd, Options, Span, TenantOptions, Total};

/// Starts a job and waits until its second page is asked for, and held.
async fn to_the_second_page(fixture: &Fixture, account: Account) -> Result<JobId> {
    fixture.upstream.hold_if(|asked| !asked.is_first_page());
    let job = fixture.publish_start(account.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    Ok(job)
}

#[tokio::test]
async fn the_end_the_total_and_the_page_size_are_whatever_the_upstream_makes_of_them() -> Result<()> {
    // Name, how the list ends, what its total says, the largest page; then the total after the first page, and the
    // number of pages.
    let forms = [
        ("null", NextAtEnd::Null, Total::True, 100, Some(30), 3),
        ("empty", NextAtEnd::Empty, Total::Missing, 100, None, 3),
        ("missing", NextAtEnd::Missing, Total::Zero, 100, None, 3),
        ("clamped", NextAtEnd::Empty, Total::True, 7, Some(30), 5),
    ];
    let mut tenants = forms.map(|(name, ..)| TenantOptions::new(name, 30)).to_vec();
    tenants.push(TenantOptions::new("shrinking", 30));
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let consumer = fixture.consumer().await?;
    for (name, next, total, most, first_total, pages) in forms {
        fixture.upstream.behave(|behaviour| {
            (behaviour.next_at_end, behaviour.total, behaviour.page_max) = (next, total, most);
        });
        let account = fixture.account(name, json!({})).await?;
        let job = to_the_second_page(&fixture, account).await?;
        let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
        assert_eq!((view.total, view.pages_settled), (first_total, 1), "{name}");
        assert_eq!(view.percent().is_some(), first_total.is_some(), "{name}");
        fixture.upstream.release();
        let view = fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!((view.counters.inserted, view.total, view.percent()), (30, Some(30), Some(100)), "{name}");
        assert_eq!(view.pages_settled, pages, "{name}: a short page is not the end");
        fixture.exact(account, name).await?;
    }

    // A total that shrinks with each page never falls below what was processed.
    fixture.upstream.behave(|behaviour| (behaviour.total, behaviour.page_max) = (Total::Shrinking, 3));
    let account = fixture.account("shrinking", json!({})).await?;
    let job = to_the_second_page(&fixture, account).await?;
    for page in 2..=10 {
        let view = fixture.store.jobs().get(job, None).await?.context("the job")?;
        assert!(view.total.is_none_or(|total| total >= view.counters.processed()), "{view:#?}");
        assert!(view.percent().is_none_or(|percent| percent <= 100), "{view:#?}");
        let seen = fixture.upstream.seen();
        fixture.upstream.let_through(1);
        if page < 10 {
            fixture.upstream.until(|now| now.requests > seen.requests && now.held == 1).await;
        }
    }
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    assert_eq!((view.counters.inserted, view.total, view.percent()), (30, Some(30), Some(100)));
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn a_list_that_changes_between_pages_is_counted_as_it_was_served() -> Result<()> {
    let fixture =
        Fixture::start(Options::new(["twice", "vanishing"].map(|name| TenantOptions::new(name, 30)))).await?;
    let consumer = fixture.consumer().await?;
    let served = async |ordinal| {
        let url =
            format!("{}/api/calls/{}", fixture.upstream.base_url(), fixture.upstream.id("twice", ordinal));
        let request = reqwest::Client::new().get(url).header("x-api-key", fixture.upstream.key("twice"));
        anyhow::Ok(request.send().await?.error_for_status()?.text().await?)
    };

    // The newest call comes first: 29 to 20, 19 to 10, 9 to 0.
    let account = fixture.account("twice", json!({})).await?;
    let job = to_the_second_page(&fixture, account).await?;
    fixture.upstream.set_raw("twice", 15, &served(25).await?);
    fixture.upstream.set_raw(
        "twice",
        14,
        &served(24).await?.replace("\"summary\":\"", "\"summary\":\"Later: "),
    );
    fixture.upstream.set_raw("twice", 5, &served(6).await?);
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    let counters = &view.counters;
    assert_eq!((counters.inserted, counters.updated, counters.unchanged, counters.failed), (27, 1, 2, 0));
    assert_eq!((counters.processed(), view.total), (30, Some(30)));
    let rows: i64 =
        sqlx::query_scalar("select count(*) from records").fetch_one(&fixture.database.pool).await?;
    assert_eq!(rows, 27);

    let account = fixture.account("vanishing", json!({})).await?;
    let job = to_the_second_page(&fixture, account).await?;
    for ordinal in [25, 20, 19, 15, 10, 9, 5] {
        fixture.upstream.delete("vanishing", ordinal);
    }
    fixture.upstream.release();
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    // Ten of the first page; of the other twenty five are gone, and none of the rest is skipped for it.
    assert_eq!((view.counters.inserted, view.counters.processed(), view.total), (25, 25, Some(25)));
    let stored: BTreeSet<String> = fixture
        .store
        .connections()
        .record_hashes(account.connection)
        .map_ok(|record| record.external_id)
        .try_collect()
        .await?;
    assert!(fixture.upstream.expected("vanishing", Span::ALL).all(|call| stored.contains(&call.id)));
    fixture.finish([consumer]).await
}

#[tokio::test]
async fn odd_records_cost_themselves_and_not_their_page() -> Result<()> {
    let fixture = Fixture::with_calls(30).await?;
    let consumer = fixture.consumer().await?;
    let record =
        |rest: &str| format!(r#"{{"created":"2025-01-01T01:00:00Z","ended":"2025-01-01T01:01:00Z"{rest}}}"#);
    // What stands in each call's place, and why it must fail.
    let odd = [
        (3, record(""), "no id"),
        (4, record(r#","callId":"""#), "cannot be an id"),
        (5, record(r#","callId":"nul","note":"a\u0000b""#), "NUL"),
        (6, record(r#","callId":"surrogate","note":"\ud83d""#), "surrogate"),
        (12, record(r#","callId":"number","n":1e400000"#), "too large to be stored"),
        (13, "17".to_owned(), "not an object"),
        (14, r#"{"callId":"timeless","ended":"x"}"#.to_owned(), "no time"),
        (15, record(&format!(r#","callId":"{}""#, "x".repeat(600))), "longer than 512"),
        (25, record(&format!(r#","callId":"deep","n":{}{}"#, "[".repeat(120), "]".repeat(120))), "nested"),
    ];
    for (ordinal, text, _) in &odd {
        fixture.upstream.set_raw("acme", *ordinal, text);
    }
    // Words that nobody has heard of, and fields that are not what they were, are the record's own business.
    let unheard = record(
        r#","callId":"unheard","endReason":"teleported","medium":{"hologram":{}},"billedDuration":-1.5e3"#,
    );
    fixture.upstream.set_raw("acme", 20, &unheard);
    fixture.upstream.set_running("acme", 21, true);

    let account = fixture.account("acme", json!({})).await?;
    let job = fixture.publish_start(account.connection).await?;
    let view = fixture.until_over(job, JobStatus::Completed).await?;
    let counters = &view.counters;
    assert_eq!((counters.inserted, counters.deferred, counters.failed, counters.processed()), (20, 1, 9, 30));

    let reasons: Vec<String> = sqlx::query_scalar("select unnest(reasons) from page_log order by page")
        .fetch_all(&fixture.database.pool)
        .await?;
    assert_eq!(reasons.len(), odd.len());
    for (ordinal, _, reason) in &odd {
        assert!(
            reasons.iter().any(|given| given.contains(reason)),
            "call {ordinal}: {reason:?} in {reasons:#?}"
        );
    }
    let stored: BTreeSet<(String, Vec<u8>)> = fixture
        .store
        .connections()
        .record_hashes(account.connection)
        .map_ok(|record| (record.external_id, record.hash))
        .try_collect()
        .await?;
    let sound = fixture.upstream.expected("acme", Span::ALL).filter(|call| !call.raw && !call.running);
    let mut expected: BTreeSet<_> = sound.map(|call| (call.id, call.hash.to_vec())).collect();
    expected.insert(("unheard".to_owned(), blake3::hash(unheard.as_bytes()).as_bytes().to_vec()));
    assert_eq!(stored, expected);
    fixture.finish([consumer]).await
}
