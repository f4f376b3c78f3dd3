//! The message contract as it is published: what each message says, and the documents that are generated from these
//! types (JSON Schemas, AsyncAPI), so that neither can drift from the code.
//!
//! Commands and replies are in [`crate::command`], the doorbell is [`crate::slice::Ring`].

#[cfg(feature = "schemars")]
mod asyncapi;
mod counters;
#[cfg(feature = "schemars")]
mod documents;
mod event;
#[cfg(feature = "schemars")]
mod examples;
pub mod header;
mod internal;
#[cfg(feature = "schemars")]
mod schemas;

#[cfg(feature = "schemars")]
pub use asyncapi::asyncapi;
pub use counters::JobCounters;
#[cfg(feature = "schemars")]
pub use documents::documents;
pub use event::{EventData, EventKind, EventMessage};
#[cfg(feature = "schemars")]
pub use examples::examples;
pub use internal::{AbortMessage, MarkerMessage};
#[cfg(feature = "schemars")]
pub use schemas::schema;

/// A kind of message: its name in the documents, and nothing that a receiver has to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for a sync.
    Start,
    /// Asks for the end of a job.
    Cancel,
    /// Answers a command.
    Reply,
    /// Tells what happened to a job.
    Event,
    /// A slice's doorbell. Internal.
    Page,
    /// A numbered marker among the doorbells. Internal.
    Marker,
    /// Tells every process to let go of a job's pages. Internal.
    Abort,
}

impl Message {
    /// All of them.
    pub const ALL: [Self; 7] =
        [Self::Start, Self::Cancel, Self::Reply, Self::Event, Self::Page, Self::Marker, Self::Abort];

    /// The name in the documents: `start` is described by `start.schema.json`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Cancel => "cancel",
            Self::Reply => "reply",
            Self::Event => "event",
            Self::Page => "page",
            Self::Marker => "marker",
            Self::Abort => "abort",
        }
    }
}
