//! The sample upstream, and the tenants that have an account there.

use anyhow::{Context, Result};
use chrono::TimeDelta;
use protocol::slice::Span;
use serde_json::json;
use stage::{Account, Expected, NewAccount, Stage};
use testkit::process::Process;
use testkit::sample_upstream::{self, TenantOptions};

/// Calls of each tenant.
const CALLS: u64 = 20_000;
/// What an answer of the upstream takes, in milliseconds.
const DELAY_MS: u32 = 200;
/// Requests of one tenant within a second beyond which the upstream answers 429.
pub(crate) const LIMIT_PER_SECOND: u32 = 20;
/// Slices of one tenant that are pulled at a time.
const SLICES_AT_ONCE: u32 = 4;
/// How much of the last tenant's calls is pulled: its jobs are cancelled all the time.
const LAST_TENANTS_DAYS: i64 = 35;

/// A tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) account: Account,
    /// What is pulled of it.
    pub(crate) span: Span,
    /// What must be stored in the end, computed without the upstream.
    pub(crate) expected: Expected,
}

/// Starts the upstream.
pub(crate) fn start_upstream(stage: &Stage) -> Result<Process> {
    let program = stage.program("sample-upstream")?;
    let arguments = [
        ("--listen", "127.0.0.1:0".to_owned()),
        ("--tenants", "4".to_owned()),
        ("--calls", CALLS.to_string()),
        ("--delay-ms", DELAY_MS.to_string()),
        ("--limit-per-second", LIMIT_PER_SECOND.to_string()),
    ];
    let program = arguments.into_iter().fold(program, |program, (name, value)| program.arg(name).arg(value));
    program.log(stage.logs.join("sample-upstream.log")).start()
}

/// Makes every tenant of the upstream.
pub(crate) async fn all(stage: &Stage, upstream: &Process) -> Result<[Tenant; 4]> {
    let base_url = format!("http://{}", upstream.address().await?);
    let mut tenants = Vec::new();
    for options in TenantOptions::numbered(4, CALLS) {
        let account = NewAccount {
            name: &options.name,
            max_slices: SLICES_AT_ONCE,
            source: "ultravox",
            base_url: &base_url,
            credentials: json!({ "api_key": options.key }),
            settings: json!({ "page_size": 100, "slice_days": 7 }),
        };
        let account = stage.account(account).await?;
        let all_of_it = options.first + options.every * i32::try_from(CALLS)?;
        let part = options.first + TimeDelta::days(LAST_TENANTS_DAYS);
        let to = if tenants.len() == 3 { part } else { all_of_it };
        let asked = sample_upstream::Span { from: Some(options.first), to: Some(to) };
        let expected = options.expected(asked).map(|call| (call.id, call.hash)).collect();
        tenants.push(Tenant { account, span: Span { from: Some(options.first), to }, expected });
    }
    tenants.try_into().ok().context("the upstream has four tenants")
}
