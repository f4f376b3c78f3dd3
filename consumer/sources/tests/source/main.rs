//! Sources against an upstream that behaves, and against one that does not.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a helper of a test fails as the test does")]

mod answers;
mod examine;
mod guide;
mod limits;
mod presets;
mod refusals;
mod styles;
mod truth;
mod upstream;
mod walker;
