//! Going through the dead letters, once.

use super::super::inspect::{NOT_FOUND, open, refusal};
use super::super::session::Lane;
use super::super::topology::Topology;
use super::super::{AmqpConfig, AmqpError, bounded, connect};
use super::letter::{DeadLetter, Origin, Place};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicGetOptions, BasicNackOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Acker, Channel, Confirmation, Connection};
use std::time::Duration;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// Letters that are left alone are held until the end of a walk, since one that is given back goes to the end of the
/// queue on some versions. So many are held at most.
const MOST_HELD: usize = 10_000;

/// Letters that were given back are waited for so long, and looked for so often.
const BACK_WITHIN: Duration = Duration::from_secs(1);
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// The queues that are gone through, one after the other.
#[derive(Clone, Copy, Debug)]
enum Queue {
    /// Of dead letters.
    Dead,
    /// Of what no other queue has taken. Consumers make letters of it; what is here they have not come to.
    Unrouted,
}

/// What is to become of a letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays where it is.
    Keep,
    /// It is published where it came from, and leaves the queue.
    Retry,
    /// It leaves the queue.
    Drop,
}

/// What became of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Done {
    /// It stays where it is, as was wanted.
    Kept,
    /// The broker has confirmed it here.
    Retried(Origin),
    /// It could not be sent back, for this reason, and stays where it is.
    Stuck(String),
    /// It is gone.
    Dropped,
}

/// What a walk came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// How many letters there were at the start. What has come since is not looked at, so that a letter that is sent
    /// back and refused again does not go round in circles.
    pub total: u32,
    /// How many were looked at: fewer if somebody else takes them as well, if the walk was stopped, or if there are
    /// too many to be held.
    pub seen: u32,
}

/// The dead-letter queue, with a connection of its own. Whatever happens to it, the broker gives unsettled letters back.
#[derive(Debug)]
pub struct DeadLetters {
    connection: Connection,
    channel: Channel,
    /// None until something is sent back, and after a publish that failed.
    lane: Option<Lane>,
    topology: Topology,
    limit: Duration,
}

impl DeadLetters {
    /// Connects, and makes nothing. `name` is what the broker's console shows.
    ///
    /// # Errors
    /// The broker cannot be reached, or has no dead letters of this namespace.
    pub async fn open(config: &AmqpConfig, name: &str) -> Result<Self, AmqpError> {
        let (topology, limit) = (config.topology(), config.call_timeout);
        let connection = connect(config, name).await?;
        let channel = open(&connection, limit).await?;
        let letters = Self { connection, channel, lane: None, topology, limit };
        letters.count(Queue::Dead).await?;
        letters.count(Queue::Unrouted).await?;
        Ok(letters)
    }

    /// Shows every letter that is there at the start to `decide`, in their order, does what it says, and tells `done`
    /// what became of each; after them those that wait where nothing took them. Those that stay keep their order. Ends
    /// early, in good order, once `stop` is cancelled.
    ///
    /// # Errors
    /// The broker does not answer, or the connection broke. What `done` was not told of is still in its queue.
    pub async fn walk(
        &mut self,
        stop: &CancellationToken,
        mut decide: impl FnMut(&DeadLetter) -> Fate,
        mut done: impl FnMut(DeadLetter, Done),
    ) -> Result<Walk, AmqpError> {
        let mut walk = Walk { total: 0, seen: 0 };
        // What is sent back to nowhere comes to the second one: it is counted before the first letter is.
        let counted = [self.count(Queue::Dead).await?, self.count(Queue::Unrouted).await?];
        for (queue, total) in [Queue::Dead, Queue::Unrouted].into_iter().zip(counted) {
            let seen = self.walk_one(queue, total, stop, &mut decide, &mut done).await?;
            walk = Walk { total: walk.total + total, seen: walk.seen + seen };
        }
        Ok(walk)
    }

    async fn walk_one(
        &mut self,
        queue: Queue,
        total: u32,
        stop: &CancellationToken,
        decide: &mut impl FnMut(&DeadLetter) -> Fate,
        done: &mut impl FnMut(DeadLetter, Done),
    ) -> Result<u32, AmqpError> {
        let mut seen = 0;
        let mut held = Vec::new();
        let walked = loop {
            if seen >= total || held.len() >= MOST_HELD || stop.is_cancelled() {
                break Ok(());
            }
            let (letter, acker) = match self.next(queue).await {
                Ok(Some(next)) => next,
                Ok(None) => break Ok(()),
                Err(error) => break Err(error),
            };
            seen += 1;
            let outcome = match decide(&letter) {
                Fate::Keep => Done::Kept,
                Fate::Drop => Done::Dropped,
                Fate::Retry => match self.send_back(&letter).await {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        held.push(acker);
                        break Err(error);
                    }
                },
            };
            match &outcome {
                Done::Kept | Done::Stuck(_) => held.push(acker),
                Done::Retried(_) | Done::Dropped => {
                    if let Err(error) = self.forget(&acker).await {
                        break Err(error);
                    }
                }
            }
            done(letter, outcome);
        };
        // Even after an error: a broker that refuses publishes may well take letters back.
        let number = held.len();
        let returned = self.give_back(held).await;
        walked.and(returned)?;
        self.until_back(queue, number).await?;
        Ok(seen)
    }

    /// Closes the connection. A closed channel is the broker's word that it has seen every settle.
    ///
    /// # Errors
    /// The broker does not answer. Letters that were dropped or sent back may still be in the queue.
    pub async fn close(self) -> Result<(), AmqpError> {
        bounded(self.limit, "close a channel", self.channel.close(200, "done".into())).await?;
        bounded(self.limit, "close the connection", self.connection.close(200, "done".into())).await
    }

    fn name(&self, queue: Queue) -> String {
        match queue {
            Queue::Dead => self.topology.dead_letters(),
            Queue::Unrouted => self.topology.unrouted(),
        }
    }

    async fn count(&self, queue: Queue) -> Result<u32, AmqpError> {
        const CALL: &str = "count the dead letters";
        let options = QueueDeclareOptions { passive: true, ..QueueDeclareOptions::durable() };
        let queue = self.name(queue);
        let declare = self.channel.queue_declare(queue.as_str().into(), options, FieldTable::default());
        match bounded(self.limit, CALL, declare).await {
            Ok(found) => Ok(found.message_count()),
            Err(error) => Err(match refusal(error)? {
                (NOT_FOUND, _) => AmqpError::NoQueue { queue },
                (_, words) => AmqpError::Refused { call: CALL, words },
            }),
        }
    }

    async fn next(&self, queue: Queue) -> Result<Option<(DeadLetter, Acker)>, AmqpError> {
        let get = self.channel.basic_get(self.name(queue).into(), BasicGetOptions { no_ack: false });
        let got = bounded(self.limit, "get a dead letter", get).await?;
        Ok(got.map(|got| {
            let Delivery { exchange, routing_key, properties, data, acker, .. } = got.delivery;
            let place = match queue {
                Queue::Dead => Place::Dead,
                Queue::Unrouted => Place::Unrouted(Origin {
                    exchange: exchange.to_string(),
                    routing_key: routing_key.to_string(),
                }),
            };
            (DeadLetter::read(&self.topology, place, properties, data), acker)
        }))
    }

    /// Publishes a letter where it came from, and waits until it is in a queue there.
    async fn send_back(&mut self, letter: &DeadLetter) -> Result<Done, AmqpError> {
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

    async fn forget(&self, acker: &Acker) -> Result<(), AmqpError> {
        const CALL: &str = "ack a dead letter";
        // lapin says `Ok(false)` of a delivery whose channel is gone.
        match bounded(self.limit, CALL, acker.ack(BasicAckOptions { multiple: false })).await? {
            true => Ok(()),
            false => Err(AmqpError::Disconnected { call: CALL }),
        }
    }

    /// Waits until what was given back is there for others: a quorum queue takes a moment. Not for long, since others may have
    /// taken it by now.
    async fn until_back(&self, queue: Queue, number: usize) -> Result<(), AmqpError> {
        let there = async {
            while (self.count(queue).await? as usize) < number {
                sleep(LOOK_AGAIN).await;
            }
            Ok(())
        };
        timeout(BACK_WITHIN, there).await.unwrap_or(Ok(()))
    }

    /// One by one, since several at a time come back in no particular order.
    async fn give_back(&self, held: Vec<Acker>) -> Result<(), AmqpError> {
        const CALL: &str = "give a dead letter back";
        for acker in held {
            let nack = acker.nack(BasicNackOptions { multiple: false, requeue: true });
            if !bounded(self.limit, CALL, nack).await? {
                return Err(AmqpError::Disconnected { call: CALL });
            }
        }
        Ok(())
    }
}
