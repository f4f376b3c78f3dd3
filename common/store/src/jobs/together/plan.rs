//! Several pending jobs at once.

use super::super::super::{StoreError, events};
use super::super::plan::{Known, Plan, Plannable, Shown};
use super::number;
use crate::handles::Jobs;
use crate::pool::Session;
use chrono::{DateTime, Utc};
use protocol::contract::EventKind;
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobMode;
use protocol::plan::{TimeIs, TotalIs};
use protocol::slice::Span;
use serde_json::{Value, json};
use uuid::Uuid;

type Time = Option<DateTime<Utc>>;

/// What earlier jobs have shown of a connection's list, and in which scopes: each by its fingerprint.
#[derive(Clone, Debug)]
pub struct ShownIn {
    known: Option<(String, Known)>,
    empty: Option<(String, DateTime<Utc>)>,
}

impl ShownIn {
    /// In the scope with this fingerprint.
    #[must_use]
    pub fn scope(&self, fingerprint: &str) -> Shown {
        Shown {
            known: self.known.as_ref().filter(|(scope, _)| scope == fingerprint).map(|(_, known)| *known),
            empty_to: self.empty.as_ref().filter(|(scope, _)| scope == fingerprint).map(|(_, to)| *to),
        }
    }
}

/// A row of plan_meet.sql.
struct Row {
    job: JobId,
    tenant: TenantId,
    connection: ConnectionId,
    mode: JobMode,
    date_from: Time,
    date_to: DateTime<Utc>,
    source: String,
    base_url: String,
    settings: Value,
    account: i32,
    known_in: Option<String>,
    known_from: Time,
    known_to: Time,
    empty_in: Option<String>,
    empty_to: Time,
}

impl Row {
    fn split(self) -> (Plannable, ShownIn) {
        let from = self.known_from;
        let known = self.known_in.zip(self.known_to).map(|(scope, to)| (scope, Known { from, to }));
        let shown = ShownIn { known, empty: self.empty_in.zip(self.empty_to) };
        let plannable = Plannable {
            job: self.job,
            tenant: self.tenant,
            connection: self.connection,
            mode: self.mode,
            span: Span { from: self.date_from, to: self.date_to },
            source: self.source,
            base_url: self.base_url,
            settings: self.settings,
            account: self.account,
            documents: None,
        };
        (plannable, shown)
    }
}

impl Jobs<'_> {
    /// Plans several pending jobs, as [`Jobs::plan`] does for each, with what `plan` says; where it says nothing, nothing
    /// happens. Returns those that are planned, with their tenants: plan the others alone.
    ///
    /// # Errors
    /// When the database cannot be written; nothing of the plans is then there.
    pub async fn plan_together(
        self,
        jobs: &[JobId],
        plan: impl Fn(&Plannable, &ShownIn) -> Option<Plan> + Send,
    ) -> Result<Vec<(JobId, TenantId)>, StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        let rows = sqlx::query_file_as!(
            Row,
            "src/sql/plan_meet.sql",
            &jobs.iter().map(|job| job.0).collect::<Vec<_>>(),
            number(jobs)
        )
        .fetch_all(&mut *transaction)
        .await?;
        let planned: Vec<(Plannable, Plan)> = rows
            .into_iter()
            .filter_map(|row| {
                let (plannable, shown) = row.split();
                let plan = plan(&plannable, &shown)?;
                Some((plannable, plan))
            })
            .collect();
        if planned.is_empty() {
            return Ok(Vec::new());
        }
        version(&mut transaction, &planned).await?;
        let made = make(&mut transaction, &planned).await?;
        let told =
            made.iter().map(|(job, _, slices)| (*job, EventKind::Started, json!({ "slices": slices })));
        events::record_each(&mut transaction, told.collect()).await?;
        self.store.commit_told(transaction).await?;
        Ok(made.into_iter().map(|(job, tenant, _)| (job, tenant)).collect())
    }
}

/// Makes the versions of settings that are not there yet. Whoever plans a job of one of the connections waits here.
async fn version(transaction: &mut Session, planned: &[(Plannable, Plan)]) -> Result<(), StoreError> {
    let connections: Vec<Uuid> = planned.iter().map(|(it, _)| it.connection.0).collect();
    sqlx::query!(
        "insert into streams (connection_id) select unnest($1::uuid[]) on conflict (connection_id, stream) do nothing",
        &connections
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "select scope from streams where connection_id = any($1) and stream = 'main' order by connection_id for update",
        &connections
    )
    .fetch_all(&mut *transaction)
    .await?;
    let fingerprints: Vec<&str> = planned.iter().map(|(_, plan)| plan.fingerprint.as_str()).collect();
    sqlx::query!(
        "insert into scopes (connection_id, scope, fingerprint, canonical)
         select g.connection, coalesce((select max(scope) from scopes where connection_id = g.connection and stream = 'main'), 0) + 1,
                g.fingerprint, g.canonical::jsonb
           from unnest($1::uuid[], $2::text[], $3::text[]) as g (connection, fingerprint, canonical)
             on conflict (connection_id, stream, fingerprint) do nothing",
        &connections,
        &fingerprints as &[&str],
        &planned.iter().map(|(_, plan)| plan.canonical.to_string()).collect::<Vec<_>>()
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        "insert into settings_versions (connection_id, version, scope, source, base_url, settings, put_by, put_at)
         select g.connection, coalesce((select max(version) from settings_versions
                                         where connection_id = g.connection and stream = 'main'), 0) + 1,
                c.scope, g.source, g.base_url, g.settings::jsonb, n.settings_by, n.settings_at
           from unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::text[])
                    as g (connection, fingerprint, source, base_url, settings)
           join scopes c on c.connection_id = g.connection and c.stream = 'main' and c.fingerprint = g.fingerprint
           join connections n on n.id = c.connection_id
          where not exists (select from settings_versions v
                             where v.connection_id = g.connection and v.stream = 'main' and v.scope = c.scope
                               and v.source = g.source and v.base_url = g.base_url and v.settings = g.settings::jsonb)",
        &connections,
        &fingerprints as &[&str],
        &planned.iter().map(|(it, _)| it.source.as_str()).collect::<Vec<_>>() as &[&str],
        &planned.iter().map(|(it, _)| it.base_url.as_str()).collect::<Vec<_>>() as &[&str],
        &planned.iter().map(|(it, _)| it.settings.to_string()).collect::<Vec<_>>()
    )
    .execute(transaction)
    .await?;
    Ok(())
}

/// Notes on the jobs what they are planned with, and makes their slices. Those that are planned, their tenants, and how
/// many slices they have.
async fn make(
    transaction: &mut Session,
    planned: &[(Plannable, Plan)],
) -> Result<Vec<(JobId, TenantId, i64)>, StoreError> {
    let mut parts: Vec<(i32, i32)> = Vec::with_capacity(planned.len());
    let mut spans: Vec<Span> = Vec::new();
    let place = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    for (_, plan) in planned {
        let first = place(spans.len() + 1);
        spans.extend(&plan.spans);
        parts.push((first, place(spans.len())));
    }
    let plans = || planned.iter().map(|(_, plan)| plan);
    let begins = |(it, plan): &(Plannable, Plan)| plan.spans.first().map_or(it.span.from, |span| span.from);
    let rows = sqlx::query_file!(
        "src/sql/plan_together.sql",
        &planned.iter().map(|(it, _)| it.job.0).collect::<Vec<_>>(),
        &plans().map(|it| it.fingerprint.as_str()).collect::<Vec<_>>() as &[&str],
        &planned.iter().map(|(it, _)| it.source.as_str()).collect::<Vec<_>>() as &[&str],
        &planned.iter().map(|(it, _)| it.base_url.as_str()).collect::<Vec<_>>() as &[&str],
        &planned.iter().map(|(it, _)| it.settings.to_string()).collect::<Vec<_>>(),
        planned.iter().map(begins).collect::<Vec<_>>() as Vec<Time>,
        plans().map(|it| it.floor).collect::<Vec<_>>() as Vec<Time>,
        &plans().map(|it| it.counted).collect::<Vec<_>>(),
        plans().map(|it| it.total_is).collect::<Vec<_>>() as Vec<TotalIs>,
        plans().map(|it| it.time_is).collect::<Vec<_>>() as Vec<Option<TimeIs>>,
        &plans().map(|it| it.by_id).collect::<Vec<_>>(),
        &plans().map(|it| it.straggler_days).collect::<Vec<_>>(),
        plans().map(|it| it.idle.and_then(|idle| idle.from)).collect::<Vec<_>>() as Vec<Time>,
        plans().map(|it| it.idle.map(|idle| idle.to)).collect::<Vec<_>>() as Vec<Time>,
        &parts.iter().map(|(first, _)| *first).collect::<Vec<_>>(),
        &parts.iter().map(|(_, last)| *last).collect::<Vec<_>>(),
        spans.iter().map(|span| span.from).collect::<Vec<_>>() as Vec<Time>,
        &spans.iter().map(|span| span.to).collect::<Vec<_>>(),
        number(planned)
    )
    .fetch_all(transaction)
    .await?;
    Ok(rows.into_iter().map(|row| (row.job, row.tenant, row.slices)).collect())
}
