//! The settings of a paged-JSON connection, as they stand in the connection's row.

mod auth;
mod check;
mod dates;
mod item;
mod length;
mod limits;
mod next;
mod place;
mod records;
mod scope;

pub use auth::Auth;
pub(super) use dates::default_max_slices;
pub use dates::{Dates, SliceSettings, Start};
pub use item::{Gone, Item};
pub use length::Length;
pub use limits::Limits;
pub use next::{Ends, Next, Style};
pub use place::Place;
pub(super) use place::Spot;
pub(super) use records::pointer;
pub use records::{Absent, OneOrMany, Records};

use chrono::TimeDelta;
use serde::Deserialize;

use super::dates::{DateQuery, slicing};
use super::time::Zone;
use crate::{Planning, SourceError, TotalIs};

/// How to read one upstream. All pointers are JSON pointers (RFC 6901).
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Path of the list below the base URL, such as `/api/calls`.
    pub path: String,
    /// Query parameters that every first page is asked with.
    #[serde(default)]
    pub query: Vec<Parameter>,
    /// How many records a page should have. The upstream may give fewer or more.
    #[serde(default)]
    pub page_size: Option<PageSize>,
    /// Where the records are, and what is known of them.
    pub records: Records,
    /// How the next page is found.
    pub next: Next,
    /// More pages in a row without a new record than this fail the job. Default 100.
    #[serde(default = "default_max_empty_pages")]
    pub max_empty_pages: u32,
    /// Where the number of all records of the list is.
    #[serde(default)]
    pub total: Option<Place>,
    /// What that number is worth. Default `exact`.
    #[serde(default)]
    pub total_is: TotalIs,
    /// How to ask for a span of time. Without it, every job reads the whole list.
    #[serde(default)]
    pub dates: Option<Dates>,
    /// The header that carries the credentials.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How jobs are cut into slices; needs `dates`. Without it, a job is one slice.
    #[serde(default)]
    pub slicing: Option<SliceSettings>,
    /// How the upstream asks to be left alone.
    #[serde(default)]
    pub limits: Limits,
    /// How many hours before the end of what is known an incremental job begins. Default 24.
    #[serde(default = "default_overlap_hours")]
    pub overlap_hours: u32,
    /// Whether a full sync deletes what the list shows to be gone, without a second pass that confirms it. Default false: an
    /// upstream that answers with too little must not cost the tenant its data. Not where pages are counted.
    #[serde(default)]
    pub delete_at_once: bool,
    /// How long after the end of a full sync the one may begin that confirms what was missing. Default an hour.
    #[serde(default = "default_confirm_after")]
    pub confirm_after: Length,
    /// How many records a full sync asks for by their ids, to see whether they are gone. Default 2000. Needs `item`.
    #[serde(default = "default_confirm_limit")]
    pub confirm_limit: u32,
    /// Whether a full sync may delete more than half of the records in its range. Default false.
    #[serde(default)]
    pub delete_any_number: bool,
    /// For how many days a record that was not importable holds back what is known, or is asked for by every job. Default 14.
    #[serde(default = "default_straggler_days")]
    pub straggler_days: u32,
    /// How one record is fetched by its id. Without it, jobs over document ids fail.
    #[serde(default)]
    pub item: Option<Item>,
}

/// One query parameter.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    /// Its name.
    pub name: String,
    /// Its value; a template in [`Dates::parameters`].
    pub value: String,
}

/// The parameter that asks for a page size.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PageSize {
    /// Its name.
    pub parameter: String,
    /// How many records to ask for.
    pub size: u32,
}

/// One day: some upstreams know nothing finer, and records may appear some time after their creation.
const fn default_overlap_hours() -> u32 {
    24
}

/// Some lists have gaps, but a hundred empty pages in a row are no gap.
const fn default_max_empty_pages() -> u32 {
    100
}

/// Long enough for a cache, or a replica that lags, to have caught up.
const fn default_confirm_after() -> Length {
    Length(TimeDelta::hours(1))
}

const fn default_confirm_limit() -> u32 {
    2000
}

const fn default_straggler_days() -> u32 {
    14
}

impl Settings {
    /// Reads the settings of a connection's row.
    pub fn read(settings: &serde_json::Value) -> Result<Self, SourceError> {
        let read = Self::preset(settings)?;
        let no_margin =
            |dates: &Dates| dates.margin.is_some_and(|Length(margin)| margin == TimeDelta::zero());
        if read.records.time.is_some() && read.dates.as_ref().is_some_and(no_margin) {
            return Err(SourceError::settings(
                "dates.margin: 0 is only for records without a time; with records.time a margin costs nothing, and a bound \
                 that the upstream takes as exclusive would lose records",
            ));
        }
        Ok(read)
    }

    /// Reads settings that a preset made, of an upstream whose bounds are known.
    pub(crate) fn preset(settings: &serde_json::Value) -> Result<Self, SourceError> {
        serde_path_to_error::deserialize(settings).map_err(|error| SourceError::settings(error.to_string()))
    }

    /// The zone that the upstream's days, and its times without an offset, are in.
    pub(super) fn zone(&self) -> Result<Zone, SourceError> {
        let zone = self.dates.as_ref().and_then(|dates| dates.zone.as_deref()).map(Zone::named);
        zone.transpose()
            .map(Option::unwrap_or_default)
            .map_err(|why| SourceError::settings(format!("dates.zone: {why}")))
    }

    /// How jobs are planned.
    pub(crate) fn planning(&self) -> Result<Planning, SourceError> {
        let dates = DateQuery::new(self)?;
        Ok(Planning {
            slicing: slicing(self, &dates),
            start: dates.floor(),
            overlap: TimeDelta::hours(i64::from(self.overlap_hours)),
            counted: !self.next.style.expires(),
            moving_list: self.next.style.is_blind(),
            total_is: self.total_is,
            time: self.records.time.as_ref().map(|_pointer| self.records.time_is),
            items: self.item.is_some(),
            delete_at_once: self.delete_at_once,
            confirm_after: self.confirm_after.0.to_std().unwrap_or_default(),
            confirm_limit: self.confirm_limit,
            delete_any_number: self.delete_any_number,
            straggler_days: self.straggler_days,
        })
    }
}
