//! Dead letters, for the people who decide what becomes of them: looked at, sent back to where they came from, dropped.
//!
//! A letter leaves the queue in one way only: it is acked, after the broker has confirmed it where it came from, or
//! because a person said so. Whatever ends a walk before that (an error, an interrupt, a kill) leaves it in the queue;
//! at worst it is then in both places, and its `message_id` tells that the two are one.

mod letter;
mod made;
mod properties;
mod queues;
mod shown;
pub(super) mod size;
mod walk;

pub use letter::{DeadLetter, Origin, Text, UNROUTED, why_unrouted};
pub use walk::{DeadLetters, Done, End, Fate, Reach, Walk};
