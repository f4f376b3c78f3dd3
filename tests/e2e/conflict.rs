//! A start while another job of the connection is active: `on_conflict`.

use anyhow::{Context, Result};
use broker::{Destination, Envelope};
use protocol::command::{OnConflict, Reply, StartCommand};
use protocol::ids::{ConnectionId, JobId};
use protocol::job::JobStatus;
use serde_json::json;
use std::collections::BTreeSet;
use store::commands::CommandKind;
use store::jobs::StartOutcome;
use testkit::fixture::Fixture;
use testkit::listener::Listener;

fn start(connection: ConnectionId, job: JobId, on_conflict: OnConflict, command: &str) -> StartCommand {
    StartCommand {
        on_conflict,
        command_id: Some(command.to_owned()),
        requested_by: Some("crm".to_owned()),
        ..Fixture::start_command(connection, job)
    }
}

async fn reply(fixture: &Fixture, listener: &Listener, command: &StartCommand) -> Result<Reply> {
    let id = JobId::random().to_string();
    let envelope = Envelope::new(Destination::StartCommand, "sync.start", serde_json::to_vec(command)?)
        .with_reply_to(listener.queue())
        .with_correlation_id(id.as_str());
    fixture.publisher.publish(envelope).await?;
    let heard = listener.until_one(|heard| heard.correlation_id.as_deref() == Some(id.as_str())).await?;
    serde_json::from_slice(&heard.body).context("a reply")
}

#[tokio::test]
async fn each_way_of_settling_a_conflict() -> Result<()> {
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer_with(fixture.unhurried()?).await?;
    let (replies, events) = (Listener::to_replies(&fixture).await?, Listener::to_events(&fixture).await?);
    fixture.upstream.hold();
    let [first, second, third, fourth] = [(); 4].map(|()| JobId::random());
    let connection = account.connection;

    let said = reply(&fixture, &replies, &start(connection, first, OnConflict::Supersede, "1")).await?;
    assert_eq!((said.accepted, said.job_id, said.reason), (true, Some(first), None), "there was no conflict");
    fixture.upstream.until(|seen| seen.held == 1).await;

    let said = reply(&fixture, &replies, &start(connection, second, OnConflict::Reject, "2")).await?;
    assert_eq!((said.accepted, said.job_id, said.status), (false, Some(first), Some(JobStatus::Running)));
    let event = events.until_event(second, "job.rejected").await?.event()?;
    assert_eq!((event.connection_id, event.tenant_id), (Some(connection), Some(account.tenant)));
    assert_eq!(event.data.active_job_id, Some(first));
    assert_eq!(event.reason, said.reason);
    assert!(event.status.is_none() && event.counters.is_none() && event.reason.is_some(), "{event:?}");

    let said = reply(&fixture, &replies, &start(connection, third, OnConflict::UseExisting, "3")).await?;
    assert_eq!((said.accepted, said.job_id), (true, Some(first)));
    assert!(fixture.store.jobs().get(third, None).await?.is_none(), "no other job is made");

    // The page that the first job holds is given up at once, and the new job runs.
    let supersede = start(connection, fourth, OnConflict::Supersede, "4");
    let said = reply(&fixture, &replies, &supersede).await?;
    assert_eq!((said.accepted, said.job_id), (true, Some(fourth)));
    let old = fixture.until_cancelled(first, &format!("superseded by job {fourth}")).await?;
    assert_eq!(old.cancel_requested_by.as_deref(), Some("crm"));
    let accepted = events.until_event(fourth, "job.accepted").await?.event()?;
    assert_eq!(accepted.data.supersedes, Some(first));

    // A repeat gets the first answer, and does not cancel its own job.
    let said = reply(&fixture, &replies, &supersede).await?;
    assert_eq!((said.accepted, said.job_id), (true, Some(fourth)));
    let repeat = StartCommand { command_id: Some("another".to_owned()), ..supersede };
    let said = reply(&fixture, &replies, &repeat).await?;
    assert_eq!((said.accepted, said.job_id), (true, Some(fourth)), "the same job_id is the same job");

    fixture.upstream.release();
    fixture.until_over(fourth, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    replies.close().await?;
    events.close().await?;
    fixture.finish([consumer]).await
}

/// Sixty at once: whoever comes later cancels whoever came earlier, and one is left.
#[tokio::test]
async fn many_supersedes_at_once() -> Result<()> {
    const STARTS: usize = 60;
    let fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumers = [
        fixture.consumer_with(fixture.unhurried()?).await?,
        fixture.consumer_with(fixture.unhurried()?).await?,
    ];
    fixture.upstream.hold();
    let jobs: Vec<_> = (0..STARTS).map(|_| JobId::random()).collect();
    let commands = jobs.iter().enumerate().map(|(number, job)| {
        start(account.connection, *job, OnConflict::Supersede, &format!("command {number}"))
    });
    let commands: Vec<_> = commands.collect();
    // Each twice: the second may come while the first is applied, or long after others have superseded its job.
    let published = commands.iter().chain(&commands).map(|command| fixture.publish_start_command(command));
    futures::future::try_join_all(published).await?;

    let mut superseded = BTreeSet::new();
    for (number, wanted) in jobs.iter().enumerate() {
        let answer: StartOutcome = fixture.answer(CommandKind::Start, &format!("command {number}")).await?;
        if let StartOutcome::Superseding { superseded: old, .. } = answer {
            assert_eq!(answer, StartOutcome::Superseding { job: *wanted, superseded: old });
            assert!(superseded.insert(old), "{old} is superseded twice");
        } else {
            assert_eq!(answer, StartOutcome::Accepted(*wanted));
        }
    }
    assert_eq!(superseded.len(), STARTS - 1, "each but the last is superseded once");
    let last = jobs.iter().copied().find(|job| !superseded.contains(job)).context("one is left")?;
    fixture.until_sql("select count(*) = 1 from jobs where status in ('pending', 'running')").await?;
    fixture.upstream.release();
    fixture.until_over(last, JobStatus::Completed).await?;
    for job in superseded {
        let view = fixture.until_over(job, JobStatus::Cancelled).await?;
        assert!(view.cancel_reason.is_some_and(|reason| reason.starts_with("superseded by job ")));
    }
    fixture.finish(consumers).await
}

/// A start for a connection that is not there is refused, and not remembered: once the connection is made, the same command
/// is applied, whoever takes it out of the dead letters.
#[tokio::test]
async fn an_unknown_connection_may_be_made_later() -> Result<()> {
    let mut fixture = Fixture::with_calls(25).await?;
    let account = fixture.account("acme", json!({})).await?;
    let consumer = fixture.consumer().await?;
    let replies = Listener::to_replies(&fixture).await?;
    let command = start(account.connection, JobId::random(), OnConflict::Reject, "early");
    fixture.database.execute("update connections set id = gen_random_uuid()").await?;
    let said = reply(&fixture, &replies, &command).await?;
    assert!(!said.accepted, "{said:?}");
    let made = format!("update connections set id = '{}'", account.connection);
    fixture.database.execute(&made).await?;
    let said = reply(&fixture, &replies, &command).await?;
    assert!(said.accepted, "{said:?}");
    let job = command.job_id.context("chosen here")?;
    fixture.until_over(job, JobStatus::Completed).await?;
    fixture.exact(account, "acme").await?;
    fixture.expect_dead_letters(1);
    fixture.finish([consumer]).await
}
