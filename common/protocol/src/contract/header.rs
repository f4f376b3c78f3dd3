//! Names of the headers that a dead letter has beside those of its message.

/// What the letter is called: its own, since messages may share an identifier, or have none.
pub const LETTER: &str = "x-letter";
/// A stable word.
pub const REASON: &str = "x-reason";
/// What exactly is wrong.
pub const DETAIL: &str = "x-detail";
/// When it was first refused; kept when it is sent back and refused again.
pub const FIRST_SEEN: &str = "x-first-seen";
/// The queue that it came from, without its namespace.
pub const QUEUE: &str = "x-queue";
/// The exchange that it was published to; empty if directly to a queue.
pub const EXCHANGE: &str = "x-exchange";
/// The routing key that it came with.
pub const ROUTING_KEY: &str = "x-routing-key";
/// Whether it had been delivered before.
pub const REDELIVERED: &str = "x-redelivered";
/// A table of what the message had and a letter cannot have: `user_id`, `expiration`, and `headers` with names of ours.
pub const SET_ASIDE: &str = "x-set-aside";
/// Headers that were left out, since all of them do not fit into a message.
pub const LEFT_OUT: &str = "x-left-out";

/// Those that every letter has.
pub const ALWAYS: [&str; 8] = [LETTER, REASON, DETAIL, FIRST_SEEN, QUEUE, EXCHANGE, ROUTING_KEY, REDELIVERED];
/// All of them.
pub const ALL: [&str; 10] =
    [LETTER, REASON, DETAIL, FIRST_SEEN, QUEUE, EXCHANGE, ROUTING_KEY, REDELIVERED, SET_ASIDE, LEFT_OUT];
