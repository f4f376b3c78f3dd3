//! An upstream with many small records, and the jobs that pull them.

use super::{Plan, Times};
use crate::jobs::{connect, start};
use anyhow::{Context, Result};
use chrono::TimeDelta;
use futures::future::try_join_all;
use protocol::ids::{ConnectionId, JobId, TenantId};
use serde_json::json;
use sqlx::PgConnection;
use stage::{Member, Stage};
use testkit::process::Process;
use testkit::sample_upstream::TenantOptions;

/// The ground.
pub(super) struct Ground<'a> {
    pub(super) stage: &'a Stage,
    pub(super) session: PgConnection,
    pub(super) first_tenant: TenantId,
    pub(super) connections: Vec<ConnectionId>,
    span: Times,
    upstream: Process,
}

impl<'a> Ground<'a> {
    pub(super) async fn prepare(stage: &'a Stage, plan: Plan) -> Result<Self> {
        let calls = plan.records / u64::from(plan.connections);
        let upstream = stage
            .program("sample-upstream")?
            .arg("--listen=127.0.0.1:0")
            .arg(format!("--tenants={}", plan.connections))
            .arg(format!("--calls={calls}"))
            .arg("--record-bytes=0")
            .log(stage.logs.join("sample-upstream.log"))
            .start()?;
        let url = format!("http://{}", upstream.address().await?);
        let mut tenants = Vec::new();
        let mut connections = Vec::new();
        for number in 1..=plan.connections {
            let tenant = stage.store.tenants().create(&format!("scale-{number}"), 16).await?.id;
            let account = (url.as_str(), &*format!("key-tenant-{number}"));
            let settings = json!({ "page_size": 100, "slice_days": 70, "max_slices": 10_000 });
            connections.push(connect(stage, tenant, "calls", account, settings).await?);
            tenants.push(tenant);
        }
        let numbered = TenantOptions::numbered(1, calls).pop().context("there is a tenant")?;
        let lasts = numbered.every * i32::try_from(calls)? + TimeDelta::days(1);
        let first_tenant = *tenants.first().context("there is a tenant")?;
        let span = (numbered.first, numbered.first + lasts);
        Ok(Self { stage, session: stage.session().await?, first_tenant, connections, span, upstream })
    }

    pub(super) async fn fleet(&self, plan: Plan) -> Result<Vec<Member>> {
        let sessions = ("BACKHAUL__DATABASE__MAX_CONNECTIONS", plan.sessions()?.to_string());
        let mut fleet = Vec::new();
        for number in 1..=plan.consumers {
            let name = format!("consumer {number}");
            fleet.push(Member::start(self.stage, &name, std::slice::from_ref(&sessions)).await?);
        }
        for member in &fleet {
            member.process.ready().await?;
        }
        Ok(fleet)
    }

    /// A job of each connection, over everything.
    pub(super) async fn start_all(&self) -> Result<Vec<JobId>> {
        let (from, to) = self.span;
        try_join_all(self.connections.iter().map(|of| start(self.stage, *of, Some(from), Some(to)))).await
    }

    /// Broken invariants, dead letters, and whether the number of records is right.
    pub(super) async fn problems(&mut self, plan: Plan) -> Result<Vec<String>> {
        let mut problems = self.stage.problems().await?;
        let stored: i64 =
            sqlx::query_scalar("select count(*) from records").fetch_one(&mut self.session).await?;
        let wanted = plan.records / u64::from(plan.connections) * u64::from(plan.connections);
        if u64::try_from(stored)? != wanted {
            problems.push(format!("{stored} of {wanted} records are stored"));
        }
        tracing::debug!(upstream = self.upstream.pid(), "was there to the end");
        Ok(problems)
    }
}
