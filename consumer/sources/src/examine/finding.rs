//! What was learned of an upstream.

use serde::Serialize;
use serde_json::Value;

/// One habit of an upstream, with what shows it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Finding {
    /// Which habit.
    pub kind: FindingKind,
    /// What was asked of the upstream.
    pub asked: String,
    /// What it answered.
    pub seen: String,
    /// What follows from it.
    pub means: String,
    /// The settings to use, as a JSON merge patch (RFC 7396) of the connection's own; `None` if nothing needs to be set, or
    /// if no setting helps.
    pub settings: Option<Value>,
}

/// Which habit of an upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FindingKind {
    /// Times are written in another format than the settings say.
    TimeFormat,
    /// Times without an offset are by a clock that is ahead of UTC.
    ClockAhead,
    /// Without a lower bound, only the latest records are listed.
    DefaultWindow,
    /// A lower bound that is far back is refused.
    LongSpanRefused,
    /// The lower bound changes nothing.
    BoundIgnored,
    /// A record at the very lower bound is not listed.
    BoundExclusive,
    /// With a lower bound nothing is listed.
    BoundMisread,
    /// The lower bound is widened to its whole day.
    WholeDays,
    /// The lower bound is taken by another clock.
    BoundShifted,
    /// The total counts records that the lower bound leaves out.
    TotalUnfiltered,
    /// The total counts the records of its page.
    TotalOfPage,
    /// The total is not the number of records.
    TotalWrong,
    /// Pages have fewer records than are asked for.
    PageSizeClamped,
    /// Pages have more records than are asked for.
    PageSizeIgnored,
    /// The second page is the first one again.
    PageIgnored,
    /// There is a page before the first one.
    EarlierFirstPage,
    /// The cursor must be sent in another writing.
    EncodedCursor,
    /// The same page has its records in another order each time.
    UnstableOrder,
    /// The list changed between two requests.
    ListMoves,
    /// The same ids are on several pages.
    IdsRepeat,
    /// A flag says the contrary of what is there.
    FlagContradicts,
    /// A page beyond the end is refused.
    EndRefused,
    /// A page beyond the end is the last page again.
    LastPageAgain,
    /// A page beyond the end is the first page again.
    FirstPageAgain,
    /// A record that is in the list is not found by its id.
    ItemMissing,
    /// An id that is not there is answered otherwise than the settings say.
    GoneAnswer,
    /// The upstream tells of its limit.
    RateHeaders,
    /// Requests are redirected.
    Redirected,
}

impl FindingKind {
    /// In words, for people.
    #[must_use]
    pub const fn title(self) -> &'static str {
        match self {
            Self::TimeFormat => "another time format",
            Self::ClockAhead => "a clock ahead of UTC",
            Self::DefaultWindow => "a default window",
            Self::LongSpanRefused => "long spans are refused",
            Self::BoundIgnored => "the lower bound is ignored",
            Self::BoundExclusive => "the lower bound is exclusive",
            Self::BoundMisread => "nothing comes with a lower bound",
            Self::WholeDays => "bounds are whole days",
            Self::BoundShifted => "bounds are by another clock",
            Self::TotalUnfiltered => "the total ignores the lower bound",
            Self::TotalOfPage => "the total counts its page",
            Self::TotalWrong => "the total is not the number of records",
            Self::PageSizeClamped => "pages are smaller than asked for",
            Self::PageSizeIgnored => "pages are larger than asked for",
            Self::PageIgnored => "the second page is the first one",
            Self::EarlierFirstPage => "there is a page before the first one",
            Self::EncodedCursor => "how the cursor is written",
            Self::UnstableOrder => "the order is unstable",
            Self::ListMoves => "the list moves",
            Self::IdsRepeat => "ids repeat",
            Self::FlagContradicts => "a flag contradicts the pages",
            Self::EndRefused => "a page beyond the end is refused",
            Self::LastPageAgain => "the last page again beyond the end",
            Self::FirstPageAgain => "the first page again beyond the end",
            Self::ItemMissing => "a listed record is not found by its id",
            Self::GoneAnswer => "how an unknown id is answered",
            Self::RateHeaders => "the upstream tells of its limit",
            Self::Redirected => "requests are redirected",
        }
    }
}
