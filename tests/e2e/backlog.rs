//! Waiting is not a failure: a job whose pages lie in a backlog for far longer than every time-out is left alone.

use anyhow::Result;
use chrono::TimeDelta;
use protocol::ids::JobId;
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::BTreeSet;
use std::time::Duration;
use testkit::fixture::Fixture;
use testkit::sample_upstream::{Options, TenantOptions};
use testkit::wiretap::Wiretap;

#[tokio::test]
async fn a_job_that_only_waits_is_neither_ended_nor_rung_again() -> Result<()> {
    let days = TenantOptions { every: TimeDelta::hours(2), ..TenantOptions::new("crowd", 36) };
    let tenants = [TenantOptions::new("holder", 20), TenantOptions::new("patient", 30), days];
    let fixture = Fixture::start(Options::new(tenants)).await?;
    let wiretap = Wiretap::on(&fixture).await?;
    let holder = fixture.account("holder", json!({})).await?;
    let patient = fixture.account("patient", json!({})).await?;
    let crowd = fixture.account("crowd", json!({ "slice_days": 1 })).await?;
    fixture.store.tenants().create("crowd", 1).await?;

    // Every time-out is a small part of the time that the test waits, but for the budget of the page that holds all up.
    let mut settings = fixture.settings()?;
    let short = Duration::from_millis(300);
    settings.pages.slots = 1;
    settings.pages.quantum = Duration::ZERO;
    settings.pages.budget = Duration::from_secs(300);
    settings.cancel.deadline = short;
    settings.sweeper.marker_every = short / 6;
    (settings.sweeper.start_grace, settings.sweeper.every) = (short, short / 10);
    let consumer = fixture.consumer_with(settings).await?;

    fixture.upstream.hold_if(|asked| asked.tenant == "holder");
    let holds = fixture.publish_start(holder.connection).await?;
    fixture.upstream.until(|seen| seen.held == 1).await;
    let waits = fixture.publish_start(patient.connection).await?;
    // Three slices, of which its tenant may have one rung: two wait for their turn, one in the backlog.
    let queues = JobId::random();
    let mut command = Fixture::start_command(crowd.connection, queues);
    command.date_from = fixture.upstream.created("crowd", 0);
    command.date_to = command.date_from.map(|first| first + TimeDelta::days(2));
    fixture.publish_start_command(&command).await?;
    fixture
        .until_sql(
            "select count(distinct s.job_id) = 2
                    and bool_and(s.rung_at < now() - interval '4 s' and s.ring = 1 and s.lease_token is null)
               from slices s join connections c on c.id = s.connection_id
              where c.name in ('patient', 'crowd') and s.status = 'ready'",
        )
        .await?;

    let rung = |job| {
        wiretap.rings(job).iter().map(|ring| (ring.slice, ring.page, ring.ring)).collect::<BTreeSet<_>>()
    };
    let rung_once = |job| rung(job).len() == wiretap.rings(job).len();
    for job in [holds, waits, queues] {
        assert!(
            rung_once(job) && rung(job).iter().all(|(_, page, ring)| (*page, *ring) == (0, 1)),
            "{:?}",
            rung(job)
        );
        let view = fixture.until(job, |_| true).await?;
        assert_eq!((view.status, view.error.is_none()), (JobStatus::Running, true));
    }
    // Two refills in one moment may ring one slice more than the limit.
    assert!(rung(queues).len() < 3, "not every slice has its turn at once: {:?}", rung(queues));
    assert_eq!(fixture.upstream.seen().requests, 1, "nor was the page that takes its time fetched twice");
    fixture.until_sql("select bool_and(charges = '{}' and attempts = 0) from slices").await?;

    fixture.upstream.release();
    for (job, name, account, calls) in [(holds, "holder", holder, 20), (waits, "patient", patient, 30)] {
        let view = fixture.until_over(job, JobStatus::Completed).await?;
        assert_eq!(view.counters.inserted, calls, "{name}");
        fixture.exact(account, name).await?;
    }
    fixture.until_over(queues, JobStatus::Completed).await?;
    assert_eq!(rung(waits), BTreeSet::from([(0, 0, 1), (0, 1, 2), (0, 2, 3)]));
    assert_eq!(
        rung(queues),
        // The last one is the check of what its walks met.
        BTreeSet::from([(0, 0, 1), (0, 1, 2), (1, 0, 1), (1, 1, 2), (2, 0, 1), (2, 1, 2), (3, 0, 1)])
    );
    assert!([holds, waits, queues].into_iter().all(rung_once), "a doorbell per page and no more");
    wiretap.close().await?;
    fixture.finish([consumer]).await
}
