//! Plans of jobs for tests that work with the store alone.

use anyhow::Result;
use protocol::plan::TimeIs;
use protocol::plan::TotalIs;
use protocol::slice::Slicing;
use store::jobs::{Plan, Plannable};

/// How a planner would plan this job of a source that knows times, cut like this.
///
/// # Errors
/// When the span needs more slices than allowed, or the connection has no scope.
pub fn plan(plannable: &Plannable, slicing: Option<Slicing>) -> Result<Plan> {
    let spans = match plannable.documents {
        Some(_) => Vec::new(),
        None => Slicing::cut(slicing, plannable.span)?,
    };
    let base_url = plannable.base_url.parse()?;
    let scope = sources::scope(&plannable.source, &base_url, &plannable.settings, plannable.account)?;
    Ok(Plan {
        spans,
        fingerprint: scope.fingerprint,
        canonical: scope.canonical,
        floor: None,
        counted: false,
        total_is: TotalIs::Exact,
        time_is: Some(TimeIs::Created),
        by_id: false,
        straggler_days: 14,
        idle: None,
    })
}
