//! Going through the dead letters, once.

use super::super::inspect::open;
use super::super::session::Lane;
use super::super::{AmqpError, bounded, connect};
use super::letter::{DeadLetter, Origin};
use super::queues::{Got, LOOK_AGAIN, Queue, Walked};
use configuration::AmqpConfig;
use lapin::{Channel, Connection};
use protocol::topology::Topology;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;

/// Letters that somebody else may have given back are waited for until none has come for so long: nobody tells whether there
/// are any.
const LATE_WITHIN: Duration = Duration::from_secs(1);

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

/// Which letters a walk is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Those that are in the queue at its start.
    Ready,
    /// Those, and what others have looked at and the broker is still putting back; it takes a second longer.
    ReadyAndLate,
}

/// Why a walk has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// There was no further letter.
    Through,
    /// It was stopped.
    Stopped,
    /// So many letters are left alone that no further one can be held.
    Full,
}

/// What a walk came to. What has come since its start is not looked at, so that a letter that is sent back and refused
/// again does not go round in circles.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// How many letters there were at the start and were not looked at: because of its end, or because somebody else has taken
    /// them or holds them.
    pub left: u32,
    /// Why it has ended.
    pub end: End,
    /// How many of those that stay the broker has not put back yet.
    pub away: u32,
}

/// The dead-letter queue, with a connection of its own. Whatever happens to it, the broker gives unsettled letters back.
#[derive(Debug)]
pub struct DeadLetters {
    pub(super) connection: Connection,
    pub(super) channel: Channel,
    /// None until something is sent back, and after a publish that failed.
    pub(super) lane: Option<Lane>,
    pub(super) topology: Topology,
    pub(super) limit: Duration,
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
        letters.look(Queue::Dead).await?;
        letters.look(Queue::Unrouted).await?;
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
        reach: Reach,
        stop: &CancellationToken,
        mut decide: impl FnMut(&DeadLetter) -> Fate,
        mut done: impl FnMut(DeadLetter, Done),
    ) -> Result<Walk, AmqpError> {
        // What is sent back to nowhere comes to the second one: it is counted before the first letter is.
        let mut queues = [Walked::of(Queue::Dead), Walked::of(Queue::Unrouted)];
        for walked in &mut queues {
            (walked.left, _) = self.look(walked.queue).await?;
        }
        let through = self.go_through(&mut queues, reach, stop, &mut decide, &mut done).await;
        // Even after an error: a broker that refuses publishes may well take letters back.
        let mut away = 0;
        let mut returned = Ok(());
        for walked in &mut queues {
            match self.give_back(walked).await {
                Ok(number) => away += number,
                Err(error) => returned = returned.and(Err(error)),
            }
        }
        let end = through?;
        returned?;
        Ok(Walk { left: queues.iter().map(|walked| walked.left).sum(), end, away })
    }

    async fn go_through(
        &mut self,
        queues: &mut [Walked; 2],
        reach: Reach,
        stop: &CancellationToken,
        decide: &mut impl FnMut(&DeadLetter) -> Fate,
        done: &mut impl FnMut(DeadLetter, Done),
    ) -> Result<End, AmqpError> {
        for walked in queues.iter_mut() {
            while walked.left > 0 {
                if let Some(end) = walked.must_end(stop) {
                    return Ok(end);
                }
                let Some(got) = self.next(walked.queue).await? else { break };
                walked.left -= 1;
                self.see_to(walked, got, decide, done).await?;
            }
        }
        let mut last = Instant::now();
        while reach == Reach::ReadyAndLate && last.elapsed() < LATE_WITHIN {
            for walked in queues.iter_mut() {
                if let Some(end) = walked.must_end(stop) {
                    return Ok(end);
                }
                match self.next(walked.queue).await? {
                    None => {}
                    // It has come since the start, perhaps because it was sent back by us.
                    Some(got) if !got.seen_before => walked.held.push(got.acker),
                    Some(got) => {
                        last = Instant::now();
                        walked.left = walked.left.saturating_sub(1);
                        self.see_to(walked, got, decide, done).await?;
                    }
                }
            }
            sleep(LOOK_AGAIN).await;
        }
        Ok(End::Through)
    }

    /// Does with a letter what is decided.
    async fn see_to(
        &mut self,
        walked: &mut Walked,
        Got { letter, acker, .. }: Got,
        decide: &mut impl FnMut(&DeadLetter) -> Fate,
        done: &mut impl FnMut(DeadLetter, Done),
    ) -> Result<(), AmqpError> {
        let outcome = match decide(&letter) {
            Fate::Keep => Done::Kept,
            Fate::Drop => Done::Dropped,
            Fate::Retry => match self.send_back(&letter).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    walked.held.push(acker);
                    return Err(error);
                }
            },
        };
        match &outcome {
            Done::Kept | Done::Stuck(_) => walked.held.push(acker),
            Done::Retried(_) | Done::Dropped => self.forget(&acker).await?,
        }
        done(letter, outcome);
        Ok(())
    }

    /// Closes the connection. A closed channel is the broker's word that it has seen every settle.
    ///
    /// # Errors
    /// The broker does not answer. Letters that were dropped or sent back may still be in the queue.
    pub async fn close(self) -> Result<(), AmqpError> {
        bounded(self.limit, "close a channel", self.channel.close(200, "done".into())).await?;
        bounded(self.limit, "close the connection", self.connection.close(200, "done".into())).await
    }
}
