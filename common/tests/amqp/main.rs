//! The publisher and the supervisor against the real broker (`AMQP_URL`, else the one on this machine), each test
//! in a namespace of its own.

#![expect(clippy::expect_used, reason = "a test that cannot go on should stop, and say where")]

mod proxy;
mod support;

use common::amqp::{
    ConsumedQueue, Destination, Envelope, PublishError, Publisher, SettleError, WorkQueue, connect,
};
use futures::future::join_all;
use std::collections::HashSet;
use std::time::Duration;
use support::{Bench, Consumer, config, page, soon};

#[tokio::test]
async fn the_topology_may_be_declared_twice() {
    let bench = Bench::new().await;
    let channel = bench.channel().await;
    let topology = bench.config.topology();
    for _ in 0..2 {
        topology.declare(&channel, bench.config.call_timeout).await.expect("declares");
    }
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
    let queue = bench.config.topology().process_queue(second.worker);
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
    let channel = bench.channel().await;
    let topology = bench.config.topology();
    topology.delete_queue(&channel, bench.config.call_timeout, WorkQueue::Starts).await.expect("deletes");
    publisher.queue_ready_count(WorkQueue::Starts).await.expect_err("it is missing");
    publisher.publish(page("second")).await.expect("is confirmed");
    // A publisher that had reconnected would have declared the queue again.
    publisher.queue_ready_count(WorkQueue::Starts).await.expect_err("it is still missing");
    assert_eq!(publisher.queue_ready_count(WorkQueue::Pages).await.expect("counts"), 2);
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn after_a_cut_both_sides_come_back_and_the_delivery_in_hand_is_lost() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let config = bench.through(&proxy);
    let publisher = Publisher::start(config.clone(), "test publisher", "test");
    let mut consumer = Consumer::start(&config, 1);
    consumer.subscribed().await;
    publisher.publish(page("before")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert!(!held.epoch.is_cancelled());

    proxy.cut();
    soon(held.epoch.cancelled()).await;
    let lost = held.try_ack().await.expect_err("its connection is gone");
    assert!(matches!(lost, SettleError::Lost { .. } | SettleError::Failed { .. }), "{lost}");

    consumer.subscribed().await;
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"before");
    assert!(held.delivery.redelivered);
    held.ack().await;
    publisher.publish(page("after")).await.expect("is confirmed through the next connection");
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"after");
    held.ack().await;
    assert_eq!(consumer.status().epoch, 2);
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_under_way_at_a_cut_are_all_confirmed_in_the_end() {
    const MESSAGES: usize = 300;
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let publisher = Publisher::start(bench.through(&proxy), "test publisher", "test");
    publisher.publish(page("connected")).await.expect("is confirmed");
    let envelopes: Vec<_> = (0..MESSAGES).map(|n| page(&n.to_string())).collect();
    let sent: HashSet<_> = envelopes.iter().map(|envelope| envelope.message_id.clone()).collect();
    let mut under_way = Box::pin(join_all(envelopes.into_iter().map(|envelope| publisher.publish(envelope))));
    // Poll once, so that all of them are under way.
    assert!(futures::poll!(&mut under_way).is_pending());
    proxy.cut();
    for outcome in under_way.await {
        outcome.expect("is confirmed");
    }

    let mut consumer = Consumer::start(&bench.config, 50);
    let mut seen = HashSet::new();
    while !sent.is_subset(&seen) {
        let held = consumer.next().await;
        seen.insert(held.delivery.message_id.clone().expect("has an id"));
        held.ack().await;
    }
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn a_deleted_queue_is_declared_and_consumed_again() {
    let bench = Bench::new().await;
    let mut consumer = Consumer::start(&bench.config, 1);
    consumer.subscribed().await;
    let channel = bench.channel().await;
    let topology = bench.config.topology();
    topology.delete_queue(&channel, bench.config.call_timeout, WorkQueue::Pages).await.expect("deletes");

    consumer.subscribed().await;
    let publisher = bench.publisher();
    publisher.publish(page("after")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"after");
    held.ack().await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

/// The broker (3.10.8) keeps the consumer of such a queue, and never delivers anything to it.
#[tokio::test]
async fn a_queue_deleted_and_made_again_at_once_is_consumed_again() {
    let mut bench = Bench::new().await;
    bench.config.renew_idle_after = Duration::from_millis(300);
    let publisher = bench.publisher();
    publisher.publish(page("before")).await.expect("is confirmed");
    let mut consumer = Consumer::start(&bench.config, 2);
    consumer.next().await.ack().await;

    let channel = bench.channel().await;
    let (topology, limit) = (bench.config.topology(), bench.config.call_timeout);
    topology.delete_queue(&channel, limit, WorkQueue::Pages).await.expect("deletes");
    topology.declare(&channel, limit).await.expect("declares");
    for body in ["first", "second", "third"] {
        publisher.publish(page(body)).await.expect("is confirmed");
    }
    let mut bodies = HashSet::new();
    for _ in 0..3 {
        let held = consumer.next().await;
        bodies.insert(held.delivery.body.clone());
        held.ack().await;
    }
    assert_eq!(bodies.len(), 3);
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

/// More often than anything happens, so that renewals meet deliveries in hand, deliveries under way and the drain.
#[tokio::test]
async fn replacing_idle_consumers_loses_nothing() {
    let mut bench = Bench::new().await;
    bench.config.renew_idle_after = Duration::from_millis(1);
    let publisher = bench.publisher();
    let mut consumer = Consumer::start(&bench.config, 1);
    for round in 0..20 {
        publisher.publish(page(&round.to_string())).await.expect("is confirmed");
        let held = consumer.next().await;
        assert_eq!(held.delivery.body, round.to_string().into_bytes());
        publisher
            .publish(Envelope::new(Destination::CancelCommand, "cancel", "{}"))
            .await
            .expect("is confirmed");
        consumer.next().await.ack().await;
        held.ack().await;
    }
    assert_eq!(consumer.status().epoch, 1, "all of it on one connection");
    consumer.stop().await;
    assert_eq!(publisher.queue_ready_count(WorkQueue::Pages).await.expect("counts"), 0);
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn a_queue_that_refuses_consume_twice_is_replaced() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let mut config = bench.through(&proxy);
    config.call_timeout = Duration::from_millis(400);
    let publisher = bench.publisher();
    publisher.publish(page("goes with its queue")).await.expect("is confirmed");
    proxy.swallow_consumes(&config.topology().queue(WorkQueue::Pages), 2);

    let mut consumer = Consumer::start(&config, 1);
    consumer.subscribed().await;
    publisher.publish(page("after")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"after");
    held.ack().await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

#[tokio::test]
async fn a_single_refusal_costs_no_message() {
    let bench = Bench::new().await;
    let proxy = bench.proxy().await;
    let mut config = bench.through(&proxy);
    config.call_timeout = Duration::from_millis(400);
    let publisher = bench.publisher();
    publisher.publish(page("kept")).await.expect("is confirmed");
    proxy.swallow_consumes(&config.topology().queue(WorkQueue::Pages), 1);

    let mut consumer = Consumer::start(&config, 1);
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"kept");
    held.ack().await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

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
