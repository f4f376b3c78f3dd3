//! The `item` setting: how one record is fetched by its id.

use serde::Deserialize;
use serde_json::Value;

use super::Records;
use crate::SourceError;

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
    #[serde(default = "default_page_size")]
    pub page_size: u32,
    /// How many of them are asked for at the same time: 1 to 20. Default 4. On a connection with a limit of pages in flight
    /// it is 1.
    #[serde(default = "default_at_once")]
    pub at_once: u32,
    /// How the upstream answers for a record that it had and has no more.
    #[serde(default)]
    pub gone: Gone,
}

/// How an upstream says that a record is gone.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Gone {
    /// By these statuses. Default 404 and 410.
    pub status: Vec<u16>,
    /// In an answer with status 200, by what this points to, such as `/deleted`.
    pub pointer: Option<String>,
    /// The value that stands there then, such as `true`.
    pub value: Option<Value>,
}

impl Default for Gone {
    fn default() -> Self {
        Self { status: vec![404, 410], pointer: None, value: None }
    }
}

impl Gone {
    /// Whether this, which the pointer led to, says so.
    pub(in crate::paged_json) fn is_said_by(&self, found: Option<&str>) -> bool {
        let found = found.and_then(|json| serde_json::from_str::<Value>(json).ok());
        found.is_some() && found == self.value
    }
}

/// Enough for a page to be worth its settle, few enough to be fetched well within its budget.
const fn default_page_size() -> u32 {
    20
}

/// Few enough to be no burden beside the pages of other slices.
const fn default_at_once() -> u32 {
    4
}

impl Item {
    pub(super) fn check(&self, records: &Records) -> Result<(), SourceError> {
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
        let unfit =
            |status: &u16| !(400..=499).contains(status) || [401, 403, 407, 408, 425, 429].contains(status);
        if self.gone.status.iter().any(unfit) {
            return wrong(
                "item.gone.status: must be statuses that are about the record alone, such as 404 and 410; never 401 or 403",
            );
        }
        if self.gone.pointer.is_some() != self.gone.value.is_some() {
            return wrong("item.gone: pointer and value belong together");
        }
        Ok(())
    }
}
