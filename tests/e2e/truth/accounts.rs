//! What is known of one account says nothing about another.

use super::{World, at, dates, settings, warned};
use anyhow::Result;
use protocol::job::JobMode;
use protocol::warning::WarningKind;
use serde_json::json;
use store::connections::AccountChange;
use testkit::scripted::{Item, List, Scripted, page};

async fn doubted(world: &World) -> Result<bool> {
    Ok(sqlx::query_scalar("select account_doubted_at is not null from connections")
        .fetch_one(&world.fixture.database.pool)
        .await?)
}

#[tokio::test]
async fn another_account_is_suspected_where_nothing_known_is_met() -> Result<()> {
    let list = List::hourly(30, at("2024-01-01T00:00:00Z"));
    let served = list.clone();
    let upstream =
        Scripted::answering(move |asked| page(&served.part(asked).0, json!({ "next": null }))).await?;
    let by_dates = settings(json!({ "dates": dates() }));
    let mut world = World::start(upstream, by_dates.clone()).await?;
    world.completed(JobMode::Incremental).await?;
    // Other credentials of the same account: known records are met, and the doubt is over.
    world.put_as(by_dates.clone(), AccountChange::Unsaid).await?;
    assert!(doubted(&world).await?);
    assert_eq!(warned(&world.completed(JobMode::Incremental).await?), []);
    world.fixture.until_sql("select account_doubted_at is null from connections").await?;

    // The same for another account, whose records are others.
    list.change(|items| {
        for item in items.iter_mut() {
            *item = Item { id: format!("other-{}", item.id), ..item.clone() };
        }
    });
    world.put_as(by_dates.clone(), AccountChange::Unsaid).await?;
    let job = world.completed(JobMode::Incremental).await?;
    assert_eq!(warned(&job), [(WarningKind::OtherAccount, 1)]);
    assert!(job.date_from.is_some() && doubted(&world).await?, "{job:#?}");

    // Told that it is another one, nothing is known.
    world.put_as(by_dates, AccountChange::New).await?;
    let job = world.completed(JobMode::Incremental).await?;
    assert_eq!((job.date_from, warned(&job)), (None, Vec::new()));
    assert!(!doubted(&world).await?);
    assert_eq!(world.alive().await?, 60);
    world.end().await
}
