//! What users may do.

use serde::{Deserialize, Serialize};

/// What a user may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum), value(rename_all = "snake_case"))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "user_role", rename_all = "snake_case"))]
pub enum Role {
    /// Reads, starts and cancels.
    Admin,
    /// Reads, starts and cancels.
    Member,
    /// Reads.
    Viewer,
}

impl Role {
    /// The published spelling.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Member => "member",
            Self::Viewer => "viewer",
        }
    }

    /// Whether it may start and cancel.
    #[must_use]
    pub const fn may_change(self) -> bool {
        match self {
            Self::Admin | Self::Member => true,
            Self::Viewer => false,
        }
    }
}
