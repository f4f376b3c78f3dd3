//! Identifiers. Each is its own type, so that a job cannot be passed where a connection is meant.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;
use uuid::Uuid;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $new:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
        #[serde(transparent)]
        #[cfg_attr(feature = "sqlx", sqlx(transparent))]
        pub struct $name(pub Uuid);

        impl $name {
            /// A fresh identifier.
            #[must_use]
            pub fn random() -> Self {
                Self(Uuid::$new())
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }
    };
}

id!(
    /// An agency or organisation; owns connections, jobs and records.
    TenantId, now_v7
);
id!(
    /// A tenant's account at an upstream.
    ConnectionId, now_v7
);
id!(
    /// One requested sync of a connection.
    JobId, now_v7
);
id!(
    /// How a tenant wants a job's records shown as rows.
    SchemaId, now_v7
);
id!(
    /// One boot of a consumer process. Never reused: a restarted pod is another worker, so that it cannot keep
    /// its predecessor's leases alive.
    WorkerId, new_v4
);
id!(
    /// The fence: made before a claim, stored by it, and demanded by every later write of that page.
    LeaseToken, new_v4
);

/// The longest subject, in characters. (The schema says the same.)
pub const MAX_SUBJECT_CHARS: usize = 200;
