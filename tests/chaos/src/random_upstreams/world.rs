//! A world: what an upstream is like, what happens to it, and which jobs are run. It is all that a case is, as JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// An upstream, its moods, and the jobs that read it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct World {
    /// How its pages follow each other.
    pub style: Style,
    /// Whether a next page's URL says how many records come before it, instead of naming the last one.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub counts: bool,
    /// How its list is sorted.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub order: Order,
    /// How many records a page is asked for with.
    pub page_size: u32,
    /// More records than this are on no page, however many are asked for.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub clamp: Option<u32>,
    /// How many records it has at first.
    pub records: u32,
    /// How many minutes lie between two of them; with 0 all have the same time.
    pub spacing: u32,
    /// How many milliseconds after a whole minute they were created.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub fraction: u32,
    /// Records that are not like the others, by their place.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub odd: BTreeMap<u32, Odd>,
    /// How times are written; none if the settings do not name a time.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub time: Option<Format>,
    /// Whether that time, by which the list is filtered, is the one of the last change.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub by_update: bool,
    /// The account's zone: of days, and of times without an offset.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub zone: Zone,
    /// How a span is asked for; none if it cannot be.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub dates: Option<Dates>,
    /// Into slices of how many days jobs are cut.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub slices: Option<u32>,
    /// How many hours an incremental job begins before the end of what is known.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub overlap_hours: u32,
    /// What it says of the number of records.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub total: Total,
    /// Whether a header says it.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub total_in_header: bool,
    /// How the end of a list looks.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub end: End,
    /// A list ends after so many records, whatever else there is.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub cap: Option<u32>,
    /// Requests that go wrong, counted through the whole case from 1.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub troubles: BTreeMap<u32, Trouble>,
    /// Whether records are fetched by their ids.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub item: bool,
    /// Whether one full sync is enough to delete.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub delete_at_once: bool,
    /// What is wrong in the settings.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub mistake: Option<Mistake>,
    /// The jobs, one after the other, and what changes before and during each.
    pub steps: Vec<Step>,
}

fn is_usual<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// How pages follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Style {
    /// Pages have numbers, from 1.
    PageNumber,
    /// By how many records come before.
    Offset,
    /// The same, rounded down to a multiple of the page size.
    RoundedOffset,
    /// A cursor names the last record.
    Cursor,
    /// A URL names the last record.
    NextUrl,
    /// The same in a header.
    LinkHeader,
    /// The id of the last record.
    LastId,
}

/// How a list is sorted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// By creation, oldest first.
    #[default]
    Created,
    /// By creation, newest first.
    NewestFirst,
    /// By the last change, oldest first.
    Updated,
    /// By the last change, newest first.
    LastChangedFirst,
    /// Differently for each request.
    Unstable,
}

/// A record that is not like the others.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Odd {
    /// Has no time.
    Timeless,
    /// Has a time that nobody can read.
    Unreadable,
    /// Has a text that Postgres does not store.
    Unstorable,
    /// Is not importable yet.
    Unfinished,
    /// Is listed twice in a row.
    Twice,
}

/// How times are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// `2024-01-05T15:04:09Z`.
    Rfc3339,
    /// `2024-01-05 17:04:09+0200`.
    Offset,
    /// `2024-01-05T15:04:09`, by the account's clock.
    Bare,
    /// `05/01/2024 15:04:09`, by the account's clock.
    Pattern,
    /// Seconds since 1970.
    Unix,
    /// Milliseconds since 1970.
    UnixMs,
    /// `Fri, 05 Jan 2024 15:04:09 +0000`.
    Rfc2822,
}

/// A zone without summer time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// UTC.
    #[default]
    Utc,
    /// 14 hours ahead.
    Kiritimati,
    /// 5 hours and a half ahead.
    Kolkata,
    /// 10 hours behind.
    Honolulu,
}

impl Zone {
    /// Its name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Utc => "UTC",
            Self::Kiritimati => "Pacific/Kiritimati",
            Self::Kolkata => "Asia/Kolkata",
            Self::Honolulu => "Pacific/Honolulu",
        }
    }

    /// By how many seconds its clock is ahead.
    #[must_use]
    pub const fn ahead(self) -> i64 {
        match self {
            Self::Utc => 0,
            Self::Kiritimati => 14 * 3600,
            Self::Kolkata => 5 * 3600 + 1800,
            Self::Honolulu => -10 * 3600,
        }
    }
}

/// How a span is asked for, and what the upstream makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// How bounds are written.
    pub bounds: Bounds,
    /// The lower bound itself does not belong to what is listed; of days, the whole day does not.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub after: bool,
    /// The upper bound itself belongs to what is listed; of days, the whole day does.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub through: bool,
    /// The lower bound is not looked at.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub ignores_from: bool,
    /// The upper bound is not looked at.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub ignores_to: bool,
    /// Where no lower bound is sent, only the records of the last so many days are listed.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub window: Option<u32>,
    /// The URL of a next page does not have the bounds.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub forgets: bool,
    /// A span of more days than this is refused.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub max_span: Option<u32>,
    /// The settings name a floor, which is sent where there is no lower bound.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub floor: bool,
}

/// How bounds are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// `{from}` and `{to}`.
    Rfc3339,
    /// Seconds since 1970.
    Unix,
    /// Days by the account's calendar: `{from:date}` and `{to:date}`.
    Days,
    /// Days, of which the last one belongs to the span: `{last:date}`.
    LastDay,
    /// The same as a time, which is understood as its whole day.
    WholeDays,
    /// A time by the account's clock.
    Local,
}

/// What is said of the number of records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Total {
    /// Nothing.
    #[default]
    Absent,
    /// How many the request lists, but for a cap.
    Exact,
    /// How many there are in all.
    Unfiltered,
    /// About as many: by so much more or less.
    Estimate(i32),
    /// The same, and the settings take it for exact.
    Lie(i32),
    /// One less with each request, and the settings take it for exact.
    Falling,
}

/// How the end of a list looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// As the style has it: null for the next page, or an empty page.
    #[default]
    Usual,
    /// The next page is not mentioned.
    Missing,
    /// The next page is an empty text.
    Empty,
    /// `false` stands for the next page.
    Mark,
    /// A flag says whether there is more.
    More,
    /// A flag says whether that was all.
    Done,
    /// 404 for what is beyond the end.
    Status,
    /// The number of pages is said.
    Pages,
    /// The last page is given for any page beyond it.
    LastAgain,
    /// 400 for what is beyond the total.
    UntilTotal,
}

/// What goes wrong with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trouble {
    /// 500.
    Broken,
    /// 429 with `Retry-After: 0`.
    Slower,
    /// 503 with `Retry-After: 1`.
    Away,
    /// 403 with nothing left until the next second.
    UsedUp,
    /// The body breaks off.
    Cut,
    /// 200 with an empty body.
    Hollow,
    /// 202 without records.
    Later,
    /// The cursor is not taken any more; without a cursor nothing happens.
    Expired,
}

/// What is wrong in the settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mistake {
    /// The account's zone is not named.
    Zone,
    /// The next page is looked for where it is not.
    Next,
    /// The id is looked for where it is not.
    Id,
    /// The format of times is not named.
    Format,
    /// It is not said that the total is not exact.
    Total,
    /// It is not said how the end looks.
    End,
    /// The upstream does not know the parameter of the next page.
    Parameter,
    /// It is not said that the time is the one of the last change.
    Created,
    /// Where there is no lower bound none is sent, and the upstream lists only its window.
    Window,
}

/// A job, and what changes before and during it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What changes before it.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub before: Vec<Change>,
    /// What it pulls.
    pub mode: Mode,
    /// Its lower bound, in minutes before the last midnight.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub from: Option<i64>,
    /// Its upper bound.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub to: Option<i64>,
    /// Records that no list shows while it reads: how many, and from where on, as in [`Change`].
    #[serde(default, skip_serializing_if = "is_usual")]
    pub hides: Option<(u32, u32)>,
    /// What changes before its n-th request for a page is answered, from 1.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub during: BTreeMap<u32, Change>,
}

/// What a job pulls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// Everything in its bounds.
    #[default]
    Range,
    /// What is new.
    Incremental,
    /// Everything, and what is gone is deleted.
    Full,
}

/// What changes in an upstream. Places are in thousandths of the records that are there, in the order of their creation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// So many records are created now.
    New(u32),
    /// Records appear, one for each minute: how many, and how many minutes before the last midnight the first was created.
    Late(u32, i64),
    /// A record appears whose time is so many minutes ahead.
    Ahead(u32),
    /// Records are gone: how many, and from where on.
    Gone(u32, u32),
    /// Records change their content: how many, and from where on.
    Touched(u32, u32),
    /// Everything that was not importable is.
    Finished,
}

impl World {
    /// How many records a page really has, at most.
    #[must_use]
    pub fn page(&self) -> u32 {
        self.clamp.map_or(self.page_size, |clamp| clamp.min(self.page_size)).max(1)
    }

    /// Whether pages are counted from the beginning of the list.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        matches!(self.style, Style::PageNumber | Style::Offset | Style::RoundedOffset)
    }

    /// By how many seconds times are misread.
    #[must_use]
    pub fn misread(&self) -> i64 {
        let local = matches!(self.time, Some(Format::Bare | Format::Pattern));
        if local && self.mistake == Some(Mistake::Zone) { self.zone.ahead() } else { 0 }
    }

    /// Whether the settings take the total for what it is, and it counts all that a request lists.
    #[must_use]
    pub fn total_is_kept(&self) -> bool {
        self.total == Total::Exact
    }

    /// Whether the settings say that the time is the one of the last change.
    #[must_use]
    pub fn says_updated(&self) -> bool {
        self.by_update && self.mistake != Some(Mistake::Created)
    }
}

impl World {
    /// Whether the upstream is as its settings say, and holds still while this job reads it.
    #[must_use]
    pub fn is_as_said(&self, job: usize) -> bool {
        let odd = self.odd.values().any(|odd| *odd != Odd::Unfinished);
        let still = self.steps.get(job).is_some_and(|step| step.during.is_empty());
        let lies = matches!(self.total, Total::Lie(_) | Total::Falling);
        // What it counts beside what the job asks for looks like a shortfall, if only an upper bound is sent.
        let ahead = |change: &Change| matches!(change, Change::Ahead(_));
        let more = |step: &Step| {
            step.hides.is_some()
                || step.to.is_some()
                || step.before.iter().chain(step.during.values()).any(ahead)
        };
        let counts_hidden = self.total == Total::Unfiltered && self.steps.iter().any(more);
        // A full sync by times of change sends no upper bound, so that nothing slips past it; some upstreams refuse that.
        let is_full = self.steps.get(job).is_some_and(|step| step.mode == Mode::Full);
        let unbounded = self.by_update && is_full && self.dates.is_some_and(|dates| dates.max_span.is_some());
        let passing = |trouble: &Trouble| *trouble != Trouble::Expired;
        let ignores = self.dates.is_some_and(|dates| dates.ignores_from || dates.ignores_to || dates.forgets);
        let shows_all = self.cap.is_none() || self.total == Total::Absent;
        let gone = |change: &Change| if let Change::Gone(count, _) = change { *count } else { 0 };
        let changes = self.steps.iter().flat_map(|step| step.before.iter().chain(step.during.values()));
        // A full sync may find so many missing that it refuses to delete them.
        let missing = changes.map(gone).sum::<u32>()
            + self.steps.iter().filter_map(|step| step.hides).map(|hides| hides.0).sum::<u32>();
        self.mistake.is_none()
            && !odd
            && still
            && !lies
            && !counts_hidden
            && !unbounded
            && !ignores
            && shows_all
            && missing <= 10
            && self.order != Order::Unstable
            && self.troubles.values().all(passing)
    }

    /// Whether a mistake in the settings cannot be seen, since the list looks as if it ended after its first page.
    #[must_use]
    pub fn hides(&self) -> bool {
        let says = self.total == Total::Exact || matches!(self.end, End::More | End::Done | End::Pages);
        match self.mistake {
            Some(Mistake::Next) => !says,
            // One short page, whatever is asked for, looks like the last page that is given again.
            Some(Mistake::Parameter) => !says && self.is_counted() && self.page() < self.page_size,
            Some(
                Mistake::Zone
                | Mistake::Id
                | Mistake::Format
                | Mistake::Total
                | Mistake::End
                | Mistake::Created
                | Mistake::Window,
            )
            | None => false,
        }
    }
}
