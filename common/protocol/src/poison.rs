//! Pages that can never be settled.

use serde::{Deserialize, Serialize};
use std::fmt;

/// What a connection wants of a page that can never be settled: it kills its workers, it cannot be read or stored, or
/// it fails again and again while others do not. Never of what concerns the whole connection, such as a refused key or a
/// limit of requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "lowercase")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "poison_policy", rename_all = "lowercase"))]
pub enum PoisonPolicy {
    /// Its job fails.
    #[default]
    Fail,
    /// It is written down, and left out.
    Skip,
}

impl fmt::Display for PoisonPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Fail => "fail",
            Self::Skip => "skip",
        })
    }
}
