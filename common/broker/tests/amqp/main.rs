//! The publisher and the supervisor against the real broker (`AMQP_URL`, else the one on this machine), each test
//! in a namespace of its own.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop, and say where")]

mod faults;
mod proxy;
mod silence;
mod support;

use broker::{ConsumedQueue, Destination, Envelope, PublishError, Publisher, connect};
use futures::future::join_all;
use lapin::ExchangeKind;
use lapin::options::{BasicGetOptions, BasicRejectOptions, ExchangeDeclareOptions};
use lapin::types::FieldTable;
use protocol::topology::WorkQueue;
use std::time::Duration;
use support::{Bench, Consumer, Held, config, first, page, soon};

#[tokio::test]
async fn the_topology_may_be_declared_twice() {
    let bench = Bench::new().await;
    let channel = bench.channel().await;
    let topology = bench.config.topology();
    for _ in 0..2 {
        broker::declare(&topology, &channel, bench.config.call_timeout).await.expect("declares");
    }
    bench.clean().await;
}

/// Many clients declare the exchanges that they use, as plain durable ones: before us, or after.
#[tokio::test]
async fn a_client_may_declare_the_exchange_of_commands() {
    let bench = Bench::undeclared().await;
    let topology = bench.config.topology();
    let options = ExchangeDeclareOptions { durable: true, ..ExchangeDeclareOptions::default() };
    for _ in ["before", "after"] {
        let channel = bench.channel().await;
        let (name, none) = (topology.commands().into(), FieldTable::default());
        soon(channel.exchange_declare(name, ExchangeKind::Topic, options, none)).await.expect("declares");
        broker::declare(&topology, &channel, bench.config.call_timeout).await.expect("declares");
    }
    bench.publish_raw(&topology.commands(), "sync.start", b"routed").await;
    bench.publish_raw(&topology.commands(), "sync.strat", b"mistyped").await;
    assert_eq!(bench.get(&topology.queue(WorkQueue::Starts)).await, b"routed");
    assert_eq!(bench.get(&topology.unrouted()).await, b"mistyped");
    bench.clean().await;
}

/// RabbitMQ 4 deletes a message at its 21st return, unless its queue says otherwise.
#[tokio::test]
async fn no_number_of_returns_deletes_a_message() {
    let bench = Bench::new().await;
    for queue in broker::queue_names(&bench.config.topology()) {
        bench.publish_raw("", &queue, b"kept").await;
        for look in 0..25 {
            let channel = bench.channel().await;
            let delivery = first(&channel, &queue, BasicGetOptions::default()).await;
            if look % 2 == 0 {
                let options = BasicRejectOptions { requeue: true };
                delivery.reject(options).await.expect("is rejected");
            }
            soon(channel.close(200, "looked".into())).await.expect("closes");
        }
        assert_eq!(bench.get(&queue).await, b"kept");
    }
    bench.clean().await;
}

/// Each process declares everything itself, and a fleet is started at once.
#[tokio::test]
async fn a_fleet_starts_at_once_on_a_broker_that_has_nothing_yet() {
    let bench = Bench::undeclared().await;
    let publisher = bench.publisher();
    let mut fleet: Vec<_> = (0..12).map(|_| Consumer::start(&bench.config, 1)).collect();
    join_all(fleet.iter_mut().map(Consumer::subscribed)).await;
    for _ in 0..12 {
        publisher.publish(page("one")).await.expect("is confirmed");
    }
    let held = join_all(fleet.iter_mut().map(Consumer::next)).await;
    join_all(held.into_iter().map(Held::ack)).await;
    join_all(fleet.into_iter().map(Consumer::stop)).await;
    assert_eq!(publisher.queue_ready_count(WorkQueue::Pages).await.expect("counts"), 0, "each had one");
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn a_message_arrives_with_all_its_properties_and_is_acked() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut consumer = Consumer::start(&bench.config, 4);
    consumer.subscribed().await;

    let envelope = page("one").with_correlation_id("job").with_header("traceparent", "00-1-2-01");
    let message_id = envelope.message_id.clone();
    publisher.publish(envelope).await.expect("is confirmed");

    let held = consumer.next().await;
    let delivery = &held.delivery;
    assert_eq!(delivery.body, b"one");
    assert_eq!(delivery.queue, ConsumedQueue::Work(WorkQueue::Pages));
    assert_eq!(delivery.routing_key, "page");
    assert_eq!(delivery.message_id, Some(message_id));
    assert_eq!(delivery.correlation_id.as_deref(), Some("job"));
    assert_eq!(delivery.kind.as_deref(), Some("page"));
    assert_eq!(delivery.header("traceparent"), Some("00-1-2-01"));
    assert!(!delivery.redelivered);
    held.ack().await;

    consumer.stop().await;
    assert_eq!(publisher.queue_ready_count(WorkQueue::Pages).await.expect("counts"), 0, "it is gone");
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn starts_and_cancels_have_queues_of_their_own() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut consumer = Consumer::start(&bench.config, 4);
    consumer.subscribed().await;
    for (destination, queue) in
        [(Destination::StartCommand, WorkQueue::Starts), (Destination::CancelCommand, WorkQueue::Cancels)]
    {
        publisher.publish(Envelope::new(destination, "command", "{}")).await.expect("is confirmed");
        let held = consumer.next().await;
        assert_eq!(held.delivery.queue, ConsumedQueue::Work(queue));
        held.ack().await;
    }
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn an_abort_reaches_every_process_and_a_canary_one() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut first = Consumer::start(&bench.config, 1);
    let mut second = Consumer::start(&bench.config, 1);
    first.subscribed().await;
    second.subscribed().await;

    publisher.publish(Envelope::new(Destination::Abort, "abort", "{}")).await.expect("is confirmed");
    for consumer in [&mut first, &mut second] {
        let held = consumer.next().await;
        assert_eq!(held.delivery.queue, ConsumedQueue::Process);
        assert_eq!(held.delivery.kind.as_deref(), Some("abort"));
        held.ack().await;
    }
    let queue = second.status().process_queue.expect("has one").to_string();
    publisher
        .publish(Envelope::new(Destination::Canary { queue }, "canary", "{}"))
        .await
        .expect("is confirmed");
    let held = second.next().await;
    assert_eq!(held.delivery.kind.as_deref(), Some("canary"));
    held.ack().await;
    first.stop().await;
    second.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn what_is_handed_back_is_redelivered() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut consumer = Consumer::start(&bench.config, 1);
    publisher.publish(page("again")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert!(!held.delivery.redelivered);
    held.hand_back().await;
    let held = consumer.next().await;
    assert!(held.delivery.redelivered);
    held.ack().await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn what_cannot_be_routed_or_applied_is_kept() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let letter =
        Envelope::new(Destination::DeadLetter, "start", "not JSON").with_header("x-reason", "undecodable");
    publisher.publish(letter).await.expect("is confirmed");
    let topology = bench.config.topology();
    bench.publish_raw(&topology.commands(), "sync.strat", b"mistyped").await;

    assert_eq!(bench.get(&topology.dead_letters()).await, b"not JSON");
    assert_eq!(bench.get(&topology.unrouted()).await, b"mistyped");
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn counting_a_queue_that_is_missing_fails_and_disturbs_nothing() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    publisher.publish(page("first")).await.expect("is confirmed");
    bench.delete(WorkQueue::Starts).await;
    publisher.queue_ready_count(WorkQueue::Starts).await.expect_err("it is missing");
    publisher.publish(page("second")).await.expect("is confirmed");
    // A publisher that had reconnected would have declared the queue again.
    publisher.queue_ready_count(WorkQueue::Starts).await.expect_err("it is still missing");
    assert_eq!(publisher.queue_ready_count(WorkQueue::Pages).await.expect("counts"), 2);
    publisher.close().await;
    bench.clean().await;
}

/// The broker (3.10.8) keeps the consumer of such a queue, and never delivers anything to it.
/// As often as they can be, so that replacements meet deliveries in hand, deliveries under way and the drain.
#[tokio::test]
async fn shutdown_waits_for_what_is_in_hand_and_still_hears_of_aborts() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut consumer = Consumer::start(&bench.config, 1);
    consumer.subscribed().await;
    publisher.publish(page("in flight")).await.expect("is confirmed");
    let in_flight = consumer.next().await;

    consumer.shutdown.cancel();
    soon(in_flight.epoch.cancelled()).await;
    publisher.publish(Envelope::new(Destination::Abort, "abort", "{}")).await.expect("is confirmed");
    let abort = consumer.next().await;
    assert_eq!(abort.delivery.queue, ConsumedQueue::Process);
    assert!(!abort.epoch.is_cancelled(), "the process queue's epoch ends with its connection only");
    abort.ack().await;

    // Nothing new is taken in: this one stays in the queue.
    publisher.publish(page("left alone")).await.expect("is confirmed");
    assert!(!consumer.has_ended(), "it waits for the delivery in hand");
    in_flight.ack().await; // The connection outlives what is in hand.
    consumer.stop().await;
    assert_eq!(bench.get(&bench.config.topology().queue(WorkQueue::Pages)).await, b"left alone");
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn the_drain_ends_with_its_time_and_the_rest_is_redelivered() {
    let bench = Bench::new().await;
    let publisher = bench.publisher();
    let mut stuck = Consumer::start_with(&bench.config, 1, Duration::from_millis(100));
    publisher.publish(page("stuck")).await.expect("is confirmed");
    let _held = stuck.next().await;
    stuck.stop().await;
    let mut other = Consumer::start(&bench.config, 1);
    let held = other.next().await;
    assert!(held.delivery.redelivered);
    held.ack().await;
    other.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn without_a_broker_a_publish_says_that_it_was_not_sent() {
    let mut config = config();
    config.url = "amqp://127.0.0.1:1".to_owned(); // Nobody listens on port 1.
    config.publish_timeout = Duration::from_millis(100);
    assert!(connect(&config, "test").await.is_err());
    let publisher = Publisher::start(config, "test publisher", "test");
    let error = publisher.publish(page("nowhere")).await.expect_err("there is no broker");
    assert!(matches!(error, PublishError::Unavailable { .. }), "{error}");
    assert!(!publisher.is_connected());
    publisher.close().await;
    let error = publisher.publish(page("too late")).await.expect_err("it is closed");
    assert!(matches!(error, PublishError::Closed { .. }), "{error}");
}
