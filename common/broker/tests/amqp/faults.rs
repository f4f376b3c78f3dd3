//! Connections that are cut, queues that vanish, and queues that look well and are not.

use crate::support::{Bench, Consumer, page, soon};
use broker::{Destination, Envelope, Publisher, SettleError};
use futures::future::join_all;
use protocol::topology::WorkQueue;
use std::collections::HashSet;
use std::time::Duration;

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
    bench.delete(WorkQueue::Pages).await;
    consumer.until(|status| status.epoch == 2).await;
    let publisher = bench.publisher();
    publisher.publish(page("after")).await.expect("is confirmed");
    let held = consumer.next().await;
    assert_eq!(held.delivery.body, b"after");
    held.ack().await;
    consumer.stop().await;
    publisher.close().await;
    bench.clean().await;
}

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
    bench.delete(WorkQueue::Pages).await;
    broker::declare(&topology, &channel, limit).await.expect("declares");
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
