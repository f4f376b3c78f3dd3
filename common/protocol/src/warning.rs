//! Warnings and notes: what may differ from the upstream, with a count and a reason.
//!
//! A *warning* tells doubt: something may be missing, or may be there twice. A *note* tells what is expected and harmless.
//! Both are rows of a slice, and add up to those of its job.

use serde::{Deserialize, Serialize};

/// What a warning or a note is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
#[cfg_attr(feature = "sqlx", derive(sqlx::Type))]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "sqlx", sqlx(type_name = "warning_kind", rename_all = "snake_case"))]
pub enum WarningKind {
    /// The upstream named more records than it served.
    Shortfall,
    /// A shortfall that a second job met again, with the same bounds: it no longer holds back what is known.
    ShortfallAccepted,
    /// An id was met again in one walk, other than where a page begins with the end of the page before.
    Repeated,
    /// The total fell while the list was read.
    TotalFell,
    /// A page of an offset walk did not begin where the page before ended.
    OverlapLost,
    /// An empty page that `total`, `pages` or `more` contradicts.
    EmptyPage,
    /// A page with the very ids of the page before was stepped over.
    SamePage,
    /// The walk went on although as many records as the total names had been read.
    BeyondTotal,
    /// Pages were skipped, since they could not be read.
    SkippedPages,
    /// Records could not be read or stored.
    Failed,
    /// Records lay outside of what was asked for, beyond what a margin or whole days explain.
    OutsideAsked,
    /// The slice's cursor was refused, and its walk began anew.
    StartedOver,
    /// Two answers overlapped in time, and it is not known which one is newer.
    Overtaken,
    /// An answer had a lower version than what is stored.
    OlderVersion,
    /// After a change of credentials or address, none of the known records was met.
    OtherAccount,
    /// Missing from a full sync; deleted if the next one confirms it.
    Suspected,
    /// Missing from a full sync, and the upstream did not say that it is gone.
    Unconfirmed,
    /// Missing from a full sync, but last met under other settings.
    OtherScope,
    /// Missing from a full sync, and older or newer than anything that it met.
    OutsideMet,
    /// Records that were not importable or failed, and have not been stored since.
    Stragglers,
    /// Note: the list is read by page numbers, which may miss records that move while it is read.
    MovingList,
    /// Note: records dropped inside what a margin or whole days asked for.
    DroppedByMargin,
    /// Note: records that are not importable yet.
    Deferred,
    /// Note: cursors that hold a valid `%XX` were sent as they came.
    EncodedCursor,
}

impl WarningKind {
    /// The published spelling.
    #[must_use]
    pub fn word(self) -> String {
        serde_json::to_value(self).ok().and_then(|word| word.as_str().map(str::to_owned)).unwrap_or_default()
    }

    /// Whether it is a note: expected and harmless.
    #[must_use]
    pub const fn is_note(self) -> bool {
        matches!(self, Self::MovingList | Self::DroppedByMargin | Self::Deferred | Self::EncodedCursor)
    }
}

/// One kind of warning or note, how often it was met, and the first example in words.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemars", derive(schemars::JsonSchema))]
#[cfg_attr(feature = "utoipa", derive(utoipa::ToSchema))]
pub struct Warning {
    /// What it is about.
    pub kind: WarningKind,
    /// How many times, or how many records.
    pub count: i64,
    /// What happened first, in words; at most 500 characters.
    pub text: String,
}
