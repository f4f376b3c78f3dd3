//! Queues and brokers that do not answer, and connections that are dead without a word.

use crate::support::{Bench, Consumer, config, page, soon};
use broker::{Destination, Envelope, connect};
use configuration::AmqpConfig;
use futures::future::join_all;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, ExchangeDeleteOptions, QueueBindOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Confirmation};
use protocol::retry::RetryPolicy;
use protocol::topology::WorkQueue;
use std::time::Duration;
use tokio::net::TcpListener;

fn start() -> Envelope {
    Envelope::new(Destination::StartCommand, "start", "{}")
}

/// What a quorum queue without a majority looks like: `basic.consume` is not answered.
#[tokio::test]
async fn a_queue_that_does_not_answer_is_waited_for_while_others_are_consumed() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let mut config = bench.through(&proxy);
    config.call_timeout = Duration::from_millis(300);
    let publisher = bench.publisher();
    publisher.publish(start()).await.expect("is confirmed");
    let starts = config.topology().queue(WorkQueue::Starts);
    proxy.swallow_consumes(&starts, 4);

    let mut consumer = Consumer::start(&config, 1);
    consumer.until(|status| !status.troubles.is_empty()).await;
    let status = consumer.status();
    assert!(status.connected && !status.consuming);
    assert!(status.troubles[0].to_string().contains(&starts), "{}", status.troubles[0]);
    publisher.publish(page("meanwhile")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"meanwhile");
    held.ack().await;

    let held = consumer.next().await;
    assert_eq!(held.delivery.kind.as_deref(), Some("start"));
    held.ack().await;
    consumer.until(|status| status.consuming && status.troubles.is_empty()).await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

/// A queue of doorbells can come back from a broker's crash without a leader, for good. It is then made anew, but only if it
/// is empty. Whether it was shows in a binding that the test has made.
#[tokio::test]
async fn doorbells_alone_are_given_up_and_only_when_there_are_none() {
    const TRIES: u32 = 40;
    for waiting in [false, true] {
        let bench = Bench::new().await;
        let proxy = bench.proxy().await;
        let mut config = bench.through(&proxy);
        config.call_timeout = Duration::from_millis(100);
        config.reconnect = RetryPolicy::new(Duration::from_millis(20), Duration::from_millis(40));
        let (topology, channel) = (config.topology(), bench.channel().await);
        let (pages, events) = (topology.queue(WorkQueue::Pages), topology.events());
        let (options, none) = (QueueBindOptions::default(), FieldTable::default());
        let bind =
            channel.queue_bind(pages.clone().into(), events.clone().into(), "mine".into(), options, none);
        soon(bind).await.expect("binds");
        let publisher = bench.publisher();
        if waiting {
            publisher.publish(page("kept")).await.expect("is confirmed");
        }
        proxy.swallow_consumes(&pages, TRIES);

        let mut consumer = Consumer::start(&config, 1);
        consumer.until(|status| status.consuming).await;
        soon(channel.confirm_select(ConfirmSelectOptions::default())).await.expect("confirms");
        let options = BasicPublishOptions { mandatory: true, ..BasicPublishOptions::default() };
        let publish =
            channel.basic_publish(events.into(), "mine".into(), options, b"x", BasicProperties::default());
        let confirm = soon(soon(publish).await.expect("is written")).await.expect("is confirmed");
        let made_anew = matches!(confirm, Confirmation::Ack(Some(_)));
        assert_eq!(made_anew, !waiting, "{confirm:?}");
        if waiting {
            let held = consumer.next().await;
            assert_eq!(held.delivery.body, b"kept");
            held.ack().await;
            consumer.next().await.ack().await;
        }
        consumer.stop().await;
        publisher.close().await;
        bench.clean().await;
    }
}

/// Nothing says that the exchange of aborts is gone, and with it what binds the queues of processes.
#[tokio::test]
async fn aborts_are_heard_again_after_their_exchange_was_deleted() {
    let mut bench = Bench::new().await;
    bench.config.renew_idle_after = Duration::from_millis(300);
    let mut consumer = Consumer::start(&bench.config, 1);
    consumer.subscribed().await;
    let channel = bench.channel().await;
    let aborts = bench.config.topology().aborts();
    soon(channel.exchange_delete(aborts.into(), ExchangeDeleteOptions::default())).await.expect("deletes");

    let publisher = bench.publisher();
    let heard = async {
        loop {
            publisher.publish(Envelope::new(Destination::Abort, "abort", "{}")).await.expect("is confirmed");
            if let Ok(held) = tokio::time::timeout(Duration::from_millis(100), consumer.next()).await {
                return held;
            }
        }
    };
    soon(heard).await.ack().await;
    assert_eq!(consumer.status().epoch, 1, "all of it on one connection");
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

/// The broker believes in the old connection for some seconds, and keeps its exclusive queue.
#[tokio::test]
async fn a_connection_that_only_the_client_has_lost_holds_up_nothing() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let mut consumer = Consumer::start(&bench.through(&proxy), 1);
    consumer.subscribed().await;
    let before = consumer.status().process_queue;
    proxy.lose_clients();
    consumer.subscribed().await;
    let status = consumer.status();
    assert_eq!(status.epoch, 2);
    assert_ne!(status.process_queue, before, "the broker still holds the one before");
    consumer.stop().await;
    proxy.cut();
    bench.clean().await;
}

/// A message that the client cannot read, or the broker cannot deliver, ends each connection that it comes to.
#[tokio::test]
async fn a_queue_whose_message_ends_connections_is_named_and_left_out() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let mut config = bench.through(&proxy);
    config.call_timeout = Duration::from_secs(2);
    let publisher = bench.publisher();
    proxy.cut_at(b"ends connections");
    let poison = Envelope::new(Destination::StartCommand, "start", "ends connections");
    publisher.publish(poison).await.expect("is confirmed");

    let mut consumer = Consumer::start(&config, 4);
    consumer.until(|status| status.troubles.iter().any(|it| it.to_string().contains("delivery-limit"))).await;
    let starts = config.topology().queue(WorkQueue::Starts);
    consumer
        .until(|status| status.troubles.iter().all(|trouble| trouble.to_string().contains(&starts)))
        .await;
    for _ in 0..3 {
        publisher.publish(page("meanwhile")).await.expect("is confirmed");
        consumer.next().await.ack().await;
    }

    // It is still there, and is delivered once that does no harm.
    proxy.heal();
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"ends connections");
    held.ack().await;
    consumer.until(|status| status.consuming && status.troubles.is_empty()).await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_accepts_and_stays_silent_costs_no_threads() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let url = format!("amqp://{}", listener.local_addr().expect("is bound"));
    let silent = tokio::spawn(async move {
        let mut accepted = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            accepted.push(stream);
        }
    });
    let config = AmqpConfig { url, call_timeout: Duration::from_millis(200), ..config() };
    for _ in 0..5 {
        let tries = join_all((0..4).map(|_| connect(&config, "test"))).await;
        assert!(tries.iter().all(Result::is_err));
    }
    let ended = async {
        while reading_threads() > 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    soon(ended).await;
    silent.abort();
}

/// Threads in which lapin reads a socket.
fn reading_threads() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("is Linux");
    let names = threads.filter_map(|thread| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok());
    names.filter(|name| name.starts_with("lapin-io")).count()
}

/// One address of the list does not answer at all, one refuses, and one is a broker.
#[tokio::test]
async fn the_member_that_answers_is_found() {
    let bench = Bench::new().await;
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let silent = silent.local_addr().expect("is bound");
    let list = format!("amqp://guest:s3cret@127.0.0.1:1,amqp://guest:s3cret@{silent},{}", bench.config.url);
    let config = AmqpConfig { url: list, call_timeout: Duration::from_secs(1), ..bench.config.clone() };
    for _ in 0..4 {
        let connection = connect(&config, "test").await.expect("one of them answers");
        soon(connection.close(200, "done".into())).await.expect("closes");
    }
    let config = AmqpConfig { url: config.url.replace(&bench.config.url, "amqp://127.0.0.1:2"), ..config };
    let error = connect(&config, "test").await.expect_err("none answers").to_string();
    for part in ["127.0.0.1:1: ", "127.0.0.1:2: ", &format!("{silent}: ")] {
        assert!(error.contains(part), "{error}");
    }
    assert!(!error.contains("s3cret"), "{error}");
    bench.clean().await;
}
