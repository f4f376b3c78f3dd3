//! How a delivery becomes a letter.

use super::super::delivery::Delivery;
use super::super::envelope::{Destination, Envelope};
use super::properties;
use chrono::{DateTime, Utc};
use protocol::command::Rejection;
use protocol::contract::header;
use uuid::Uuid;

/// Digits of a letter's name.
const LETTER_NAME: usize = 12;
/// The longest detail, in bytes.
const LONGEST_DETAIL: usize = 1000;

impl Envelope {
    /// The letter that a message becomes which can never be applied: all that it came with, and the reason beside it. `now`
    /// is when it is refused.
    ///
    /// The letter has a name of its own; its message keeps its identity, so that a repeat after a lost confirm can be recognised.
    #[must_use]
    pub fn dead_letter(delivery: &Delivery, why: &Rejection, now: DateTime<Utc>) -> Self {
        let detail = why.detail.get(..why.detail.floor_char_boundary(LONGEST_DETAIL)).unwrap_or_default();
        let queue = delivery.queue.to_string();
        let name = Uuid::new_v4().simple().to_string();
        let said = [
            (header::LETTER, name.get(..LETTER_NAME).unwrap_or(&name)),
            (header::REASON, why.reason),
            (header::DETAIL, detail),
            (header::QUEUE, &queue),
            (header::EXCHANGE, &delivery.exchange),
            (header::ROUTING_KEY, &delivery.routing_key),
            (header::REDELIVERED, if delivery.redelivered { "true" } else { "false" }),
        ];
        let properties = properties::of_letter(&delivery.properties, &said, &now.to_rfc3339());
        let kind = delivery.kind.clone().unwrap_or_else(|| delivery.routing_key.clone());
        Self::new(Destination::DeadLetter, kind, delivery.body.clone()).with_properties(properties)
    }
}
