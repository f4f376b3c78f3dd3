//! The names of exchanges, queues and routing keys: every name that Backhaul uses on the broker, in one place.

use crate::ids::WorkerId;
use std::fmt;
use std::sync::Arc;

/// A queue's name has at most 255 bytes, and that of a process queue adds up to 66 to its namespace.
pub const NAMESPACE_LIMIT: usize = 180;

/// The queues that the whole fleet shares and consumes. (Dead letters are for people, not for consumers.)
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum WorkQueue {
    /// Doorbells of slices, and markers.
    Pages,
    /// Start commands.
    Starts,
    /// Cancel commands, apart from starts so that a cancel never waits behind planning.
    Cancels,
    /// What no other queue takes: messages with a mistyped routing key.
    Unrouted,
}

impl WorkQueue {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Pages, Self::Starts, Self::Cancels, Self::Unrouted];

    /// The queue's name without its namespace.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pages => "pages",
            Self::Starts => "starts",
            Self::Cancels => "cancels",
            Self::Unrouted => "unrouted",
        }
    }

    /// Whether the fleet works on without it.
    #[must_use]
    pub const fn is_spare(self) -> bool {
        match self {
            Self::Pages | Self::Starts | Self::Cancels => false,
            Self::Unrouted => true,
        }
    }
}

impl fmt::Display for WorkQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// The routing key of a start command.
pub const KEY_START: &str = "sync.start";
/// The routing key of a cancel command.
pub const KEY_CANCEL: &str = "sync.cancel";
/// The routing key of a page work item, and of a marker.
pub const KEY_PAGE: &str = "page";

/// The queue of dead letters, without its namespace.
pub const DEAD: &str = "dead";
/// The exchange that upstream services publish to.
pub const COMMANDS: &str = "commands";
/// The exchange behind it, which routes.
pub const ROUTES: &str = "commands.routes";

/// The names of one namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    namespace: Arc<str>,
}

impl Topology {
    /// The names that begin with `namespace`.
    #[must_use]
    pub fn new(namespace: &str) -> Self {
        Self { namespace: namespace.into() }
    }

    /// The first word of every name.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Exchange of start and cancel commands.
    #[must_use]
    pub fn commands(&self) -> String {
        self.name(COMMANDS)
    }

    /// Exchange of page work items and markers.
    #[must_use]
    pub fn pages(&self) -> String {
        self.name("pages")
    }

    /// Exchange that tells every process to abort pages of a job.
    #[must_use]
    pub fn aborts(&self) -> String {
        self.name("aborts")
    }

    /// Exchange of what happened to jobs, for whoever wants to listen.
    #[must_use]
    pub fn events(&self) -> String {
        self.name("events")
    }

    /// Exchange, and the queue behind it, of messages whose routing key matches nothing.
    #[must_use]
    pub fn unrouted(&self) -> String {
        self.name("unrouted")
    }

    /// Queue of messages that can never be applied, each with headers that say why.
    #[must_use]
    pub fn dead_letters(&self) -> String {
        self.name(DEAD)
    }

    /// One of the fleet's queues.
    #[must_use]
    pub fn queue(&self, queue: WorkQueue) -> String {
        self.name(queue.word())
    }

    /// The fleet's queue that takes what is published there.
    #[must_use]
    pub fn queue_of(&self, exchange: &str, routing_key: &str) -> Option<WorkQueue> {
        if exchange == self.commands() {
            return match routing_key {
                KEY_START => Some(WorkQueue::Starts),
                KEY_CANCEL => Some(WorkQueue::Cancels),
                _ => None,
            };
        }
        (exchange == self.pages() && routing_key == KEY_PAGE).then_some(WorkQueue::Pages)
    }

    /// The queue of one connection of one worker: aborts, and its own canary. A name of its own each time, since the broker
    /// may hold the one before for as long as it believes in its connection.
    #[must_use]
    pub fn process_queue(&self, worker: WorkerId, connection: u64) -> String {
        self.name(&format!("process.{worker}.{connection}"))
    }

    /// A name of this namespace.
    #[must_use]
    pub fn name(&self, rest: &str) -> String {
        format!("{}.{rest}", self.namespace)
    }
}
