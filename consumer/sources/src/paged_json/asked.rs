//! What a span is asked for as.

use std::fmt;

use chrono::{DateTime, Utc};

/// What a span is asked for as: what lies outside of it was not asked for. An end that is not sent is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) from: Option<DateTime<Utc>>,
    pub(super) to: Option<DateTime<Utc>>,
}

impl Asked {
    /// Both ends belong to it: many upstreams take them so.
    pub(super) fn contains(&self, moment: DateTime<Utc>) -> bool {
        self.from.is_none_or(|from| from <= moment) && self.to.is_none_or(|to| moment <= to)
    }
}

impl fmt::Display for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let end = |end: Option<DateTime<Utc>>| {
            end.map_or_else(|| "…".to_owned(), |end| end.format("%F %T").to_string())
        };
        write!(f, "{} to {} UTC", end(self.from), end(self.to))
    }
}
