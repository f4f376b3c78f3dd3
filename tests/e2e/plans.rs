//! Statements that walk pages are planned once per session. The plan must be good for tables that have grown since.

use anyhow::Result;
use protocol::job::JobStatus;
use serde_json::json;
use sqlx::{AssertSqlSafe, Executor};
use testkit::database::Database;
use testkit::fixture::Fixture;

/// One part of a plan.
fn part(plan: &[String], name: &str) -> String {
    let lines = plan.iter().skip_while(|line| !line.contains(name)).skip(1);
    lines.take_while(|line| !line.contains("CTE ") || line.contains("CTE Scan")).cloned().collect()
}

#[tokio::test]
async fn a_plan_made_for_empty_tables_finds_slices_and_records_by_their_keys() -> Result<()> {
    let database = Database::create().await?;
    database.execute("analyze").await?;
    let mut session = database.pool.acquire().await?;
    session.execute("set plan_cache_mode = force_generic_plan; set enable_seqscan = off").await?;
    for (name, settle) in [
        ("alone", include_str!("../../common/store/src/sql/settle_alone.sql")),
        ("together", include_str!("../../common/store/src/sql/settle_together.sql")),
    ] {
        session.execute(AssertSqlSafe(format!("prepare {name} as {settle}"))).await?;
        let parameters = (1..).map(|number| format!("${number}")).take_while(|it| settle.contains(it));
        let parameters: Vec<_> = parameters.map(|_| "null").collect();
        let nothing = parameters.join(", ");
        let plan: Vec<String> =
            sqlx::query_scalar(AssertSqlSafe(format!("explain execute {name}({nothing})")))
                .fetch_all(&mut *session)
                .await?;
        // Through any other index a settle could look through all open slices of its job, and there may be ten thousand.
        let part = |name| part(&plan, name);
        let (fence, changed) = (part("CTE fence"), part("CTE differing"));
        // Records are not looked through for each other, however few the planner takes them for.
        let outcome = part("CTE outcome");
        assert!(
            outcome.contains("Hash Full Join") || outcome.contains("Merge Full Join"),
            "{name}: {plan:#?}"
        );
        assert!(!part("CTE fate").contains("Nested Loop"), "{name}: {plan:#?}");
        assert!(fence.contains("Index Scan using slices_pkey"), "{name}: {plan:#?}");
        assert!(
            fence.contains("Index Cond: ((job_id = ") && fence.contains("AND (slice = "),
            "{name}: {plan:#?}"
        );
        assert!(
            changed.contains("Index Cond: ((connection_id = ") && changed.contains("AND (external_id = "),
            "{name}"
        );
    }
    let claim = include_str!("../../common/store/src/sql/claim_together.sql");
    session.execute(AssertSqlSafe(format!("prepare claims as {claim}"))).await?;
    let sql = "explain execute claims(null, null, null, null, null, null, null, null)";
    let plan: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut *session).await?;
    let free = part(&plan, "CTE free");
    assert!(free.contains("Index Scan using slices_pkey"), "{plan:#?}");
    assert!(free.contains("Index Cond: ((job_id = ") && free.contains("AND (slice = "), "{plan:#?}");
    drop(session);
    database.remove().await
}

#[tokio::test]
async fn a_plan_made_for_empty_tables_never_reads_all_records() -> Result<()> {
    let fixture = Fixture::with_calls(237).await?;
    let account = fixture.account("acme", json!({ "page_size": 20 })).await?;
    // The planner now knows for sure that the tables are empty, and that reading all of them is the cheapest way.
    fixture.database.execute("analyze").await?;
    let consumer = fixture.consumer().await?;
    for (inserted, unchanged) in [(237, 0), (0, 237)] {
        let job = fixture.publish_start(account.connection).await?;
        let counters = fixture.until_over(job, JobStatus::Completed).await?.counters;
        assert_eq!((counters.inserted, counters.unchanged), (inserted, unchanged));
    }

    // A session's counts are complete when it has ended.
    consumer.stop().await?;
    fixture
        .until_sql(
            "select not exists (select from pg_stat_activity
                                 where datname = current_database() and application_name like 'backhaul/consumer%')",
        )
        .await?;
    let (whole, by_key): (i64, i64) = sqlx::query_as(
        "select sum(seq_scan)::bigint, sum(idx_scan)::bigint from pg_stat_user_tables where relname like 'records\\__'",
    )
    .fetch_one(&fixture.database.pool)
    .await?;
    assert!(by_key >= 2 * 237, "each record was looked up by its key: {by_key} times");
    assert_eq!(whole, 0, "nothing reads all records of a partition");

    fixture.exact(account, "acme").await?;
    fixture.finish([]).await
}
