//! The queues that dead letters wait in, and what is done with one of them.

use super::super::inspect::{NOT_FOUND, refusal};
use super::super::session::Lane;
use super::super::{AmqpError, bounded};
use super::letter::{DeadLetter, Origin, Place};
use super::properties;
use super::walk::{DeadLetters, Done, End};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Confirmation};
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Letters that are left alone are held until the end of a walk, since one that is given back goes to the end of the
/// queue on some versions. So many are held at most.
const MOST_HELD: usize = 10_000;

/// A quorum queue writes down anew what is given back, which takes a moment for each letter, and longer for a large one. So
/// letters that are on their way back are waited for until none has come for so long.
const BACK_WITHIN: Duration = Duration::from_secs(5);
/// How often what may come is looked for.
pub(super) const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The queues that are gone through, one after the other.
#[derive(Clone, Copy, Debug)]
pub(super) enum Queue {
    /// Of dead letters.
    Dead,
    /// Of what no other queue has taken. Consumers make letters of it; what is here they have not come to.
    Unrouted,
}

/// How far one of them was gone through.
pub(super) struct Walked {
    pub(super) queue: Queue,
    /// Letters that were there at the start and were not looked at yet.
    pub(super) left: u32,
    /// Letters that stay.
    pub(super) held: Vec<Acker>,
}

impl Walked {
    pub(super) const fn of(queue: Queue) -> Self {
        Self { queue, left: 0, held: Vec::new() }
    }

    pub(super) fn must_end(&self, stop: &CancellationToken) -> Option<End> {
        if stop.is_cancelled() {
            return Some(End::Stopped);
        }
        (self.held.len() >= MOST_HELD).then_some(End::Full)
    }
}

/// A letter in hand.
pub(super) struct Got {
    pub(super) letter: DeadLetter,
    pub(super) acker: Acker,
    /// Whether somebody had it before, and gave it back.
    pub(super) seen_before: bool,
}

impl DeadLetters {
    fn name(&self, queue: Queue) -> String {
        match queue {
            Queue::Dead => self.topology.dead_letters(),
            Queue::Unrouted => self.topology.unrouted(),
        }
    }

    /// How many messages are ready in a queue, and how many consumers it has.
    pub(super) async fn look(&self, queue: Queue) -> Result<(u32, u32), AmqpError> {
        const CALL: &str = "count the dead letters";
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let queue = self.name(queue);
        let declare = self.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        match bounded(self.limit, CALL, declare).await {
            Ok(found) => Ok((found.message_count(), found.consumer_count())),
            Err(error) => Err(match refusal(error)? {
                (NOT_FOUND, _) => AmqpError::NoQueue { queue },
                (_, words) => AmqpError::Refused { call: CALL, words },
            }),
        }
    }

    pub(super) async fn next(&self, queue: Queue) -> Result<Option<Got>, AmqpError> {
        let get = self.channel.basic_get(self.name(queue).into(), BasicGetOptions { no_ack: false });
        let got = bounded(self.limit, "get a dead letter", get).await?;
        Ok(got.map(|got| {
            let Delivery { exchange, routing_key, properties, data, acker, redelivered, .. } = got.delivery;
            let seen_before = redelivered || properties::was_delivered(&properties);
            let place = match queue {
                Queue::Dead => Place::Dead,
                Queue::Unrouted => Place::Unrouted(Origin {
                    exchange: exchange.to_string(),
                    routing_key: routing_key.to_string(),
                }),
            };
            Got { letter: DeadLetter::read(&self.topology, place, properties, data), acker, seen_before }
        }))
    }

    /// Publishes a letter where it came from, and waits until it is in a queue there.
    pub(super) async fn send_back(&mut self, letter: &DeadLetter) -> Result<Done, AmqpError> {
        const CALL: &str = "send a dead letter back";
        let Some(origin) = letter.origin.clone() else {
            return Ok(Done::Stuck("its headers do not say where it came from".to_owned()));
        };
        let place = format!("exchange {:?} with routing key {:?}", origin.exchange, origin.routing_key);
        if origin.exchange.len() > 255 || origin.routing_key.len() > 255 {
            return Ok(Done::Stuck(format!("{place} is no place: AMQP's names end at 255 bytes")));
        }
        let lane = match self.lane.take() {
            Some(lane) => lane,
            None => Lane::open(&self.connection, self.limit).await?,
        };
        let user = self.connection.status().username();
        let (exchange, key) = (origin.exchange.as_str().into(), origin.routing_key.as_str().into());
        let sent = lane.send_to_a_queue(exchange, key, &letter.body, letter.properties_as_it_was(&user));
        match bounded(self.limit, CALL, sent).await {
            Ok(Confirmation::Ack(None)) => {
                self.lane = Some(lane);
                Ok(Done::Retried(origin))
            }
            Ok(Confirmation::Ack(Some(_)) | Confirmation::Nack(Some(_))) => {
                self.lane = Some(lane);
                Ok(Done::Stuck(format!("nothing is bound to {place}")))
            }
            Ok(Confirmation::Nack(None)) => {
                self.lane = Some(lane);
                Ok(Done::Stuck(format!("the queue behind {place} is at its limit")))
            }
            Ok(Confirmation::NotRequested) => Err(AmqpError::Disconnected { call: CALL }),
            // The channel is closed by this, and the next one to be sent gets another.
            Err(error) => refusal(error).map(|(_, words)| Done::Stuck(format!("{place}: {words}"))),
        }
    }

    pub(super) async fn forget(&self, acker: &Acker) -> Result<(), AmqpError> {
        const CALL: &str = "ack a dead letter";
        // lapin says `Ok(false)` of a delivery whose channel is gone.
        match bounded(self.limit, CALL, acker.ack(BasicAckOptions { multiple: false })).await? {
            true => Ok(()),
            false => Err(AmqpError::Disconnected { call: CALL }),
        }
    }

    /// Gives back what is held, and waits until it is there for others, unless the queue has consumers, which take it at once.
    /// How many are not there, which their number alone tells: others may have taken them by now.
    pub(super) async fn give_back(&self, walked: &mut Walked) -> Result<u32, AmqpError> {
        const CALL: &str = "give a dead letter back";
        if walked.held.is_empty() {
            return Ok(0);
        }
        let (others, _) = self.look(walked.queue).await?;
        let held = u32::try_from(walked.held.len()).unwrap_or(u32::MAX);
        // One by one, since several at a time come back in no particular order.
        for acker in walked.held.drain(..) {
            let nack = acker.nack(BasicNackOptions { multiple: false, requeue: true });
            if !bounded(self.limit, CALL, nack).await? {
                return Err(AmqpError::Disconnected { call: CALL });
            }
        }
        let (mut away, mut last) = (held, Instant::now());
        loop {
            let (ready, consumers) = self.look(walked.queue).await?;
            if consumers > 0 {
                return Ok(0);
            }
            let now = held.saturating_sub(ready.saturating_sub(others));
            if now < away {
                (away, last) = (now, Instant::now());
            }
            if away == 0 || last.elapsed() >= BACK_WITHIN {
                return Ok(away);
            }
            sleep(LOOK_AGAIN).await;
        }
    }
}
