//! Where an answer goes, and which addresses have led nowhere.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

/// How AMQP 1.0 clients (RabbitMQ 4's addresses, and those before) and STOMP clients name a queue.
const FORMS: [&str; 3] = ["/queues/", "/queue/", "/amq/queue/"];
/// Addresses that are remembered.
const MOST: usize = 1000;

/// The queue that a `reply_to` names; none if it is empty.
#[must_use]
pub fn reply_queue(reply_to: &str) -> Option<String> {
    let queue = match FORMS.iter().find_map(|form| reply_to.strip_prefix(form)) {
        Some(encoded) if reply_to.starts_with("/queues/") => decoded(encoded),
        Some(name) => name.to_owned(),
        None => reply_to.to_owned(),
    };
    Some(queue).filter(|queue| !queue.is_empty())
}

/// Percent-decoded; as it is if that makes no text.
fn decoded(encoded: &str) -> String {
    let mut bytes = Vec::with_capacity(encoded.len());
    let mut rest = encoded.as_bytes();
    while let [first, after @ ..] = rest {
        let escaped = match (first, after) {
            (b'%', [high, low, ..]) => u8::from_str_radix(&String::from_utf8_lossy(&[*high, *low]), 16).ok(),
            _ => None,
        };
        bytes.push(escaped.unwrap_or(*first));
        rest = if escaped.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8(bytes).unwrap_or_else(|_no_text| encoded.to_owned())
}

/// The addresses of replies that found no queue. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LostReplies(Arc<Mutex<HashSet<String>>>);

impl LostReplies {
    /// Whether this address is met for the first time.
    #[must_use]
    pub fn is_new(&self, queue: &str) -> bool {
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if met.len() >= MOST {
            met.clear();
        }
        met.insert(queue.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_way_to_name_a_queue_is_understood() {
        for (reply_to, queue) in [
            ("answers", "answers"),
            ("/queues/answers", "answers"),
            ("/queues/a%2Fb%20c", "a/b c"),
            ("/queues/50%", "50%"),
            ("/queue/a%2Fb", "a%2Fb"),
            ("/amq/queue/answers", "answers"),
            ("amq.rabbitmq.reply-to.g1h2", "amq.rabbitmq.reply-to.g1h2"),
            ("/topic/answers", "/topic/answers"),
        ] {
            assert_eq!(reply_queue(reply_to).as_deref(), Some(queue), "{reply_to}");
        }
        assert_eq!([reply_queue(""), reply_queue("/queues/")], [None, None]);
    }

    #[test]
    fn an_address_is_new_once() {
        let lost = LostReplies::default();
        assert!(lost.is_new("gone") && !lost.is_new("gone") && lost.is_new("another"));
    }
}
