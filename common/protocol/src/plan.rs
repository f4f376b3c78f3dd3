//! What a source says of its list when a job is planned.

use serde::{Deserialize, Serialize};

/// What the total that an upstream names means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "total_is", rename_all = "snake_case"))]
pub enum TotalIs {
    /// As many records as the list has within the bounds that were asked for.
    #[default]
    Exact,
    /// Nothing that can be relied on.
    Estimate,
    /// As many as there are without bounds.
    Unfiltered,
}

/// What the time of a record means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "time_is", rename_all = "snake_case"))]
pub enum TimeIs {
    /// When the record was made; it never changes.
    #[default]
    Created,
    /// When it was last changed.
    Updated,
}
