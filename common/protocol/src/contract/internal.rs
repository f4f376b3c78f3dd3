//! Messages between consumers. They may change with any version; nobody else should read or write them.

use crate::ids::JobId;
use serde::{Deserialize, Serialize};

/// The body of an abort broadcast: let go of the pages of this job. Internal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct AbortMessage {
    /// The job that was cancelled or has failed.
    pub job_id: JobId,
}

/// The body of a marker: a numbered message among the doorbells, which shows what was lost. Internal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
pub struct MarkerMessage {
    /// Its number.
    pub marker: i64,
}
