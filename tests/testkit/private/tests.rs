use super::*;
use broker::connect;
use configuration::AmqpConfig;
use lapin::options::{BasicGetOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel};
use sqlx::{Connection, PgConnection};
use std::path::PathBuf;

async fn rows(postgres: &PrivatePostgres) -> Result<i64> {
    let mut connection = PgConnection::connect(postgres.url()?.as_str()).await?;
    Ok(sqlx::query_scalar("select count(*) from kept").fetch_one(&mut connection).await?)
}

#[tokio::test]
async fn a_private_postgres_comes_back_with_what_was_committed() -> Result<()> {
    let mut postgres = PrivatePostgres::start().await?;
    let url = postgres.url()?;
    let mut connection = PgConnection::connect(url.as_str()).await?;
    sqlx::raw_sql("create table kept (one int); insert into kept values (1)")
        .execute(&mut connection)
        .await?;

    postgres.stop().await?;
    assert!(sqlx::query("select 1").execute(&mut connection).await.is_err());
    assert!(postgres.stop().await.is_err(), "it is stopped already");
    postgres.start_again().await?;
    assert_eq!((rows(&postgres).await?, postgres.url()?), (1, url.clone()));

    postgres.kill().await?;
    assert!(PgConnection::connect(url.as_str()).await.is_err());
    postgres.start_again().await?;
    assert_eq!(rows(&postgres).await?, 1);
    gone_with(postgres, |it| it.folder.path.clone())?;
    assert!(PgConnection::connect(url.as_str()).await.is_err());
    Ok(())
}

async fn channel(rabbit: &PrivateRabbit) -> Result<Channel> {
    let config = AmqpConfig { url: rabbit.url(), ..AmqpConfig::default() };
    Ok(connect(&config, "private test").await?.create_channel().await?)
}

async fn declare(channel: &Channel) -> Result<u32> {
    let options = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    Ok(channel.queue_declare("kept".into(), options, FieldTable::default()).await?.message_count())
}

#[tokio::test]
async fn a_private_rabbitmq_comes_back_with_what_was_confirmed() -> Result<()> {
    let mut rabbit = PrivateRabbit::start().await?;
    let url = rabbit.url();
    let before = channel(&rabbit).await?;
    declare(&before).await?;
    before.confirm_select(lapin::options::ConfirmSelectOptions::default()).await?;
    let durable = BasicProperties::default().with_delivery_mode(2);
    let options = BasicPublishOptions::default();
    before.basic_publish("".into(), "kept".into(), options, b"message", durable).await?.await?;

    rabbit.stop().await?;
    assert!(channel(&rabbit).await.is_err());
    rabbit.start_again().await?;
    assert_eq!((declare(&channel(&rabbit).await?).await?, rabbit.url()), (1, url));

    rabbit.kill().await?;
    assert!(channel(&rabbit).await.is_err());
    rabbit.start_again().await?;
    let after = channel(&rabbit).await?;
    assert_eq!(declare(&after).await?, 1);
    let got = after.basic_get("kept".into(), BasicGetOptions::default()).await?;
    assert_eq!(got.map(|message| message.delivery.data), Some(b"message".to_vec()));

    assert!(rabbit.control(&["list_queues", "name"]).await?.contains("kept"));
    let error = rabbit.control(&["no_such_command"]).await.err().map(|error| error.to_string());
    assert!(error.is_some_and(|error| error.starts_with("rabbitmqctl no_such_command failed")));
    gone_with(rabbit, |it| it.folder.path.clone())
}

fn gone_with<T>(server: T, folder: impl Fn(&T) -> PathBuf) -> Result<()> {
    let path = folder(&server);
    assert!(path.is_dir());
    drop(server);
    assert!(!path.exists(), "{} is left", path.display());
    let name = path.display().to_string();
    for process in std::fs::read_dir("/proc")?.flatten() {
        let line = std::fs::read_to_string(process.path().join("cmdline")).unwrap_or_default();
        // A killed process may linger for a moment as a zombie, which has no command line.
        assert!(!line.contains(&name), "{line} is left");
    }
    Ok(())
}
