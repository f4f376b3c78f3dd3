//! A bare consumer: one message per page. Read the flag, fetch, store, publish the next page and wait for the confirm,
//! ack.

use super::database::Session;
use super::page::{Pages, store};
use super::{BEGINS, ENDED, Task};
use anyhow::{Context, Result, ensure};
use futures::StreamExt;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions,
    QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::{Mutex as Turn, Semaphore};

const QUEUE: &str = "bench.reference";

#[derive(Serialize, Deserialize)]
struct Message {
    job: u32,
    page: String,
}

struct Consumer {
    pages: Pages,
    sessions: Mutex<Vec<Session>>,
    free: Semaphore,
    publishing: Channel,
    /// The client numbers a message before it queues it: two that overlap could get each other's confirm.
    turn: Turn<()>,
}

/// Consumes until every job is at its end.
///
/// # Errors
/// When anything does not answer: it has no second try.
pub async fn reference(task: Task) -> Result<()> {
    let mut config = configuration::AmqpConfig::default();
    config.url.clone_from(&task.amqp);
    let consuming = broker::connect(&config, "bench consuming").await?;
    let publishing = broker::connect(&config, "bench publishing").await?;
    let channel = consuming.create_channel().await?;
    let confirmed = publishing.create_channel().await?;
    confirmed.confirm_select(ConfirmSelectOptions::default()).await?;
    channel.queue_delete(QUEUE.into(), QueueDeleteOptions::default()).await?;
    let mut quorum = FieldTable::default();
    quorum.insert("x-queue-type".into(), AMQPValue::LongString("quorum".into()));
    let durable = QueueDeclareOptions { durable: true, ..QueueDeclareOptions::default() };
    channel.queue_declare(QUEUE.into(), durable, quorum).await?;
    channel.basic_qos(task.prefetch, BasicQosOptions::default()).await?;
    let mut deliveries = channel
        .basic_consume(QUEUE.into(), "bench".into(), BasicConsumeOptions::default(), FieldTable::default())
        .await?;
    let mut sessions = Vec::new();
    for _session in 0..task.sessions {
        sessions.push(Session::open(&task.database).await?);
    }
    let consumer = Arc::new(Consumer {
        pages: Pages::of(&task)?,
        free: Semaphore::new(sessions.len()),
        sessions: Mutex::new(sessions),
        publishing: confirmed,
        turn: Turn::default(),
    });

    tracing::info!("{BEGINS}");
    let began = Instant::now();
    for job in 0..task.jobs {
        consumer.publish(&Message { job, page: consumer.pages.first(job) }).await?;
    }
    let mut left = task.jobs;
    let mut handled = tokio::task::JoinSet::new();
    while left > 0 {
        tokio::select! {
            delivery = deliveries.next() => {
                let delivery = delivery.context("the broker ended the consumer")??;
                let consumer = Arc::clone(&consumer);
                handled.spawn(async move { consumer.handle(delivery).await });
            }
            Some(ended) = handled.join_next() => left -= u32::from(ended??),
        }
    }
    tracing::info!("{ENDED}{}", began.elapsed().as_secs_f64());
    Ok(())
}

impl Consumer {
    /// Whether that was the job's end.
    async fn handle(&self, delivery: Delivery) -> Result<bool> {
        let message: Message = serde_json::from_slice(&delivery.data)?;
        let id = i32::try_from(message.job)?;
        let flag = self.with_session(async |session| {
            Ok(session.client.query_one(&session.flag, &[&id]).await?.try_get::<_, bool>(0)?)
        });
        let cancelled = flag.await?;
        let mut ended = cancelled;
        if !cancelled {
            let body = self.pages.get(&message.page).await?;
            let done = self.with_session(async |session| store(session, message.job, &body).await).await?;
            match done.next {
                Some(page) => self.publish(&Message { job: message.job, page }).await?,
                None => ended = true,
            }
        }
        ensure!(delivery.acker.ack(BasicAckOptions::default()).await?, "an ack was lost");
        Ok(ended)
    }

    async fn with_session<T>(&self, work: impl AsyncFnOnce(&Session) -> Result<T>) -> Result<T> {
        let _permit = self.free.acquire().await?;
        let session = self.sessions.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let session = session.context("there are as many sessions as permits")?;
        let done = work(&session).await;
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        done
    }

    async fn publish(&self, message: &Message) -> Result<()> {
        let body = serde_json::to_vec(message)?;
        let properties = BasicProperties::default().with_delivery_mode(2);
        let confirm = {
            let _turn = self.turn.lock().await;
            let options = BasicPublishOptions::default();
            self.publishing.basic_publish("".into(), QUEUE.into(), options, &body, properties).await?
        };
        ensure!(confirm.await?.is_ack(), "the broker refused a message");
        Ok(())
    }
}
