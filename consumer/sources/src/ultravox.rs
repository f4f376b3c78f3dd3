//! Ultravox: the calls of an account (`GET {base}/api/calls`). A preset of [`paged_json`](super::paged_json).
//!
//! `fromDate` and `toDate` are inclusive, and some deployments know only whole days. So whole days are asked for, as
//! instants that are right under both readings, and calls outside the slice's half-open span are dropped by their
//! `created`. Calls that have not ended are deferred.

use serde::Deserialize;
use serde_json::{Value, json};
use url::Url;

use super::paged_json::{PagedJson, Settings};
use super::{Endpoint, Planning, Scope, SourceError, TotalIs};

/// The name of this source in a connection's row.
pub const KIND: &str = "ultravox";

/// The settings of an Ultravox connection; all have defaults. Its credentials are `{"api_key": "…"}`.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct UltravoxSettings {
    /// How many calls a page should have. Default 100; the server may give fewer.
    pub page_size: u32,
    /// The length of a slice in days, at least 1. Default 7: a deployment that knows only whole days reads one day
    /// more per slice.
    pub slice_days: u32,
    /// No more slices than this. Default 1000.
    pub max_slices: u32,
    /// Value of `sort`. Default none: the server's own order.
    pub sort: Option<String>,
    /// How many hours before the end of what is known an incremental job begins. Default 24.
    pub overlap_hours: u32,
    /// Whether a full sync deletes what the list shows to be gone, without asking for each call. Default false.
    pub delete_at_once: bool,
    /// How many calls a full sync asks for by their ids, to see whether they are gone. Default 2000.
    pub confirm_limit: u32,
    /// Whether a full sync may delete more than half of the calls in its range. Default false.
    pub delete_any_number: bool,
    /// For how many days a call that has not ended is asked for by every job. Default 14.
    pub straggler_days: u32,
    /// What the total is worth. Default `exact`.
    pub total_is: TotalIs,
    /// How many calls a page of a job over document ids has, each with a request of its own. Default 20.
    pub item_page_size: u32,
}

impl Default for UltravoxSettings {
    fn default() -> Self {
        Self {
            page_size: 100,
            slice_days: 7,
            max_slices: 1000,
            sort: None,
            overlap_hours: 24,
            delete_at_once: false,
            confirm_limit: 2000,
            delete_any_number: false,
            straggler_days: 14,
            total_is: TotalIs::Exact,
            item_page_size: 20,
        }
    }
}

/// Opens an Ultravox connection.
pub fn open(endpoint: &Endpoint) -> Result<PagedJson, SourceError> {
    PagedJson::new(&endpoint.base_url, &endpoint.credentials, &preset(&endpoint.settings)?)
}

/// How jobs of an Ultravox connection are planned.
pub fn planning(settings: &Value) -> Result<Planning, SourceError> {
    let settings = preset(settings)?;
    settings.check()?;
    settings.planning()
}

/// What decides which calls an Ultravox connection lists.
pub fn scope(base_url: &Url, settings: &Value) -> Result<Scope, SourceError> {
    let settings = preset(settings)?;
    settings.check()?;
    Ok(settings.scope(base_url))
}

/// The settings as those of [`paged_json`](super::paged_json).
pub(super) fn preset(settings: &Value) -> Result<Settings, SourceError> {
    let ours = if settings.is_null() {
        UltravoxSettings::default()
    } else {
        serde_path_to_error::deserialize(settings)
            .map_err(|error| SourceError::settings(error.to_string()))?
    };
    let query: Vec<Value> = ours.sort.iter().map(|sort| json!({"name": "sort", "value": sort})).collect();
    Settings::preset(&json!({
        "path": "/api/calls",
        "query": query,
        "page_size": {"parameter": "pageSize", "size": ours.page_size},
        "records": {"pointer": "/results", "id": "/callId", "time": "/created", "deferred_when_null": "/ended"},
        "next": {"style": "next_url", "pointer": "/next"},
        "total": "/total",
        "total_is": ours.total_is,
        "dates": {
            "whole_days": true,
            // Both ends are inclusive, and days are UTC's.
            "margin": 0,
            // Without a bound, every call is listed.
            "start": null,
            "parameters": [
                {"name": "fromDate", "value": "{from:rfc3339}"},
                {"name": "toDate", "value": "{to:rfc3339}"},
            ],
        },
        "auth": {"header": "X-API-Key", "value": "{api_key}"},
        "slicing": {"days": ours.slice_days, "max_slices": ours.max_slices},
        "overlap_hours": ours.overlap_hours,
        "delete_at_once": ours.delete_at_once,
        "confirm_limit": ours.confirm_limit,
        "delete_any_number": ours.delete_any_number,
        "straggler_days": ours.straggler_days,
        "item": {"path": "/api/calls/{id}", "page_size": ours.item_page_size},
    }))
}
