//! The settings of a paged-JSON connection, as they stand in the connection's row.

use chrono::TimeDelta;
use common::slice::{MAX_SLICES, Slicing};
use reqwest::header::{HeaderName, HeaderValue};
use serde::Deserialize;

use super::next::Next;
use super::pointer::Pointer;
use super::template::{DateTemplate, fill_credentials};
use crate::source::{Planning, SourceError, TimeIs};

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
    /// Pointer to the number of all records of the list.
    #[serde(default)]
    pub total: Option<String>,
    /// How to ask for a span of time. Without it, every job reads the whole list.
    #[serde(default)]
    pub dates: Option<Dates>,
    /// The header that carries the credentials.
    #[serde(default)]
    pub auth: Option<Auth>,
    /// How jobs are cut into slices; needs `dates`. Without it, a job is one slice.
    #[serde(default)]
    pub slicing: Option<SliceSettings>,
    /// How many hours before the end of what is known an incremental job begins. Default 24.
    #[serde(default = "default_overlap_hours")]
    pub overlap_hours: u32,
    /// Whether a full sync may delete more than half of the connection's records. Default false: an upstream that answers
    /// with too little must not cost the tenant its data.
    #[serde(default)]
    pub delete_any_number: bool,
    /// How one record is fetched by its id. Without it, jobs over document ids fail.
    #[serde(default)]
    pub item: Option<Item>,
}

/// How one record is fetched by its id. It is judged like a record of the list, but may be of any time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Item {
    /// Its path below the base URL, with `{id}` where the id belongs, such as `/api/calls/{id}`.
    pub path: String,
    /// Where in the answer the record is. Default `""`: the answer is the record.
    #[serde(default)]
    pub pointer: String,
    /// How many records one page of a job has, each with a request of its own: 1 to 200. Default 20. On a connection with
    /// a limit of requests per second it is 1.
    #[serde(default = "default_item_page_size")]
    pub page_size: u32,
    /// How many of them are asked for at the same time: 1 to 20. Default 4. On a connection with a limit of pages in flight
    /// it is 1.
    #[serde(default = "default_items_at_once")]
    pub at_once: u32,
}

/// Enough for a page to be worth its settle, few enough to be fetched well within its budget.
pub const fn default_item_page_size() -> u32 {
    20
}

/// Few enough to be no burden beside the pages of other slices.
pub const fn default_items_at_once() -> u32 {
    4
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

/// The records of an answer. `pointer` is within the answer, the others within a record.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Records {
    /// The array of records; `""` when the whole answer is the array.
    pub pointer: String,
    /// What identifies a record: a text or a number. Several are joined by `|`.
    pub id: OneOrMany,
    /// When the record happened: RFC 3339, or without an offset, which is taken as UTC. Records outside the slice's
    /// span are dropped by it, which is what makes inclusive or whole-day bounds of an upstream harmless.
    #[serde(default)]
    pub time: Option<String>,
    /// A record in which this is null or missing is not importable yet.
    #[serde(default)]
    pub deferred_when_null: Option<String>,
}

/// One pointer, or several.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
#[expect(missing_docs, reason = "the type says it")]
pub enum OneOrMany {
    One(String),
    Many(Vec<String>),
}

/// How to ask for a span of time.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dates {
    /// Widens the asked span to whole days (UTC), for upstreams that know nothing finer. Needs `records.time`.
    #[serde(default)]
    pub whole_days: bool,
    /// Parameters whose values are templates: `{from}` and `{to}` are the ends of the half-open span, `{last}` is
    /// the last day that it touches. A format follows a colon: `rfc3339` (default), `date`, `unix`, or one of
    /// `strftime` such as `{from:%Y-%m-%d %H:%M:%S}`. Parameters with `{from}` are left out when there is no
    /// lower bound.
    pub parameters: Vec<Parameter>,
}

/// The header that carries the credentials.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Its name, such as `Authorization`.
    pub header: String,
    /// Its value, with credentials by name in braces, such as `Bearer {token}`.
    pub value: String,
}

/// How jobs are cut into slices.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SliceSettings {
    /// The length of a slice in days.
    pub days: u32,
    /// No more slices than this: a span that needs more is refused. Default 1000.
    #[serde(default = "default_max_slices")]
    pub max_slices: u32,
}

/// One day: some upstreams know nothing finer, and records may appear some time after their creation.
pub const fn default_overlap_hours() -> u32 {
    24
}

const fn default_max_slices() -> u32 {
    1000
}

/// Headers that are the HTTP client's own business.
const FORBIDDEN_HEADERS: [&str; 6] =
    ["host", "connection", "content-length", "transfer-encoding", "accept-encoding", "te"];

impl Settings {
    /// Reads the settings of a connection's row.
    pub fn read(settings: &serde_json::Value) -> Result<Self, SourceError> {
        serde_path_to_error::deserialize(settings).map_err(|error| SourceError::settings(error.to_string()))
    }

    /// How jobs are planned.
    #[must_use]
    pub fn planning(&self) -> Planning {
        let counted = matches!(self.next, Next::PageNumber { .. } | Next::Offset { .. });
        Planning {
            slicing: self.slicing.map(|slicing| Slicing::days(slicing.days, slicing.max_slices)),
            counted,
            moving_list: matches!(self.next, Next::PageNumber { .. }),
            time: self.records.time.as_ref().map(|_| TimeIs::Created),
            overlap: TimeDelta::hours(i64::from(self.overlap_hours)),
            delete_any_number: self.delete_any_number,
            items: self.item.is_some(),
            ..Planning::default()
        }
    }

    /// Refuses settings that cannot work together. What each part means is checked where it is used.
    pub(in crate::source) fn check(&self) -> Result<(), SourceError> {
        let wrong = |reason: &str| Err(SourceError::settings(reason));
        if !self.path.starts_with('/') || self.path.contains(['?', '#']) {
            return wrong("path: must begin with / and have neither ? nor #; parameters belong into query");
        }
        if self.page_size.as_ref().is_some_and(|page_size| page_size.size == 0) {
            return wrong("page_size.size: must be at least 1");
        }
        let dates = self.date_templates()?;
        if self.dates.as_ref().is_some_and(|dates| dates.whole_days) && self.records.time.is_none() {
            return wrong(
                "dates.whole_days: needs records.time, by which the rest of the first and last day is dropped",
            );
        }
        if let Some(item) = &self.item {
            item.check(&self.records)?;
        }
        let Some(slicing) = self.slicing else { return Ok(()) };
        if slicing.days == 0 || !(1..=MAX_SLICES).contains(&slicing.max_slices) {
            return wrong("slicing: days must be at least 1, and max_slices between 1 and 10000");
        }
        if !(dates.iter().any(|(_, date)| date.has_from()) && dates.iter().any(|(_, date)| date.has_to())) {
            return wrong("slicing: needs dates.parameters with {from} and {to} (or {last})");
        }
        Ok(())
    }

    /// The names and templates of the date parameters.
    pub(super) fn date_templates(&self) -> Result<Vec<(String, DateTemplate)>, SourceError> {
        let parameters = self.dates.as_ref().map_or(&[][..], |dates| &dates.parameters);
        parameters
            .iter()
            .map(|parameter| match DateTemplate::parse(&parameter.value) {
                Ok(template) => Ok((parameter.name.clone(), template)),
                Err(reason) => {
                    Err(SourceError::settings(format!("dates.parameters, {}: {reason}", parameter.name)))
                }
            })
            .collect()
    }
}

impl Item {
    fn check(&self, records: &Records) -> Result<(), SourceError> {
        let wrong = |reason: &str| Err(SourceError::settings(reason));
        if !self.path.starts_with('/')
            || self.path.contains(['?', '#'])
            || self.path.matches("{id}").count() != 1
        {
            return wrong("item.path: must begin with /, have {id} once, and neither ? nor #");
        }
        if !(1..=200).contains(&self.page_size) || !(1..=20).contains(&self.at_once) {
            return wrong("item: page_size must be between 1 and 200, and at_once between 1 and 20");
        }
        if records.id.as_slice().len() != 1 {
            return wrong("item: needs a records.id of one pointer, by which the answer is recognised");
        }
        Ok(())
    }
}

impl OneOrMany {
    pub(super) fn as_slice(&self) -> &[String] {
        match self {
            Self::One(one) => std::slice::from_ref(one),
            Self::Many(many) => many,
        }
    }
}

impl Auth {
    /// The header with the credentials filled in. It is marked sensitive, so that it stays out of logs.
    pub(super) fn header(
        &self,
        credentials: &serde_json::Value,
    ) -> Result<(HeaderName, HeaderValue), SourceError> {
        let name = HeaderName::try_from(&self.header)
            .ok()
            .filter(|name| !FORBIDDEN_HEADERS.contains(&name.as_str()))
            .ok_or_else(|| SourceError::settings(format!("auth.header: {:?} cannot be used", self.header)))?;
        let mut value =
            HeaderValue::try_from(fill_credentials(&self.value, credentials)?).map_err(|_secret| {
                SourceError::Credentials { reason: format!("a value holds bytes that {name} cannot carry") }
            })?;
        value.set_sensitive(true);
        Ok((name, value))
    }
}

/// Reads a pointer of the settings.
pub(super) fn pointer(setting: &str, text: &str) -> Result<Pointer, SourceError> {
    Pointer::parse(text).map_err(|reason| SourceError::settings(format!("{setting}: {reason}")))
}
