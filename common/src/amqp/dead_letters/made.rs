//! How a delivery becomes a letter.

use super::super::delivery::Delivery;
use super::super::envelope::{Destination, Envelope};
use super::letter::header;
use super::properties;
use crate::command::Undecodable;
use chrono::{DateTime, Utc};

/// The longest detail, in bytes.
const LONGEST_DETAIL: usize = 1000;

impl Envelope {
    /// The letter that a message becomes which can never be applied: all that it came with, and the reason beside it. `now`
    /// is when it is refused.
    ///
    /// The same message has the same identity each time, or none, so that a repeat after a lost confirm can be recognised.
    #[must_use]
    pub fn dead_letter(delivery: &Delivery, why: &Undecodable, now: DateTime<Utc>) -> Self {
        let detail = why.detail.get(..why.detail.floor_char_boundary(LONGEST_DETAIL)).unwrap_or_default();
        let queue = delivery.queue.to_string();
        let said = [
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
