//! Times are milliseconds in every configuration: `#[serde(with = "millis")]`.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// Reads a whole number of milliseconds.
///
/// # Errors
/// When it is none.
pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    u64::deserialize(deserializer).map(Duration::from_millis)
}

/// Writes it as it is read.
///
/// # Errors
/// Those of the writer.
pub fn serialize<S: Serializer>(time: &Duration, serializer: S) -> Result<S::Ok, S::Error> {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).serialize(serializer)
}
