//! What Postgres says of its tables.

use anyhow::Result;
use sqlx::PgConnection;
use stage::thousands;

/// A line per table.
#[derive(Debug)]
pub(super) struct Tables(Vec<Table>);

#[derive(Debug, sqlx::FromRow)]
struct Table {
    name: String,
    rows: i64,
    heap: i64,
    indexes: i64,
    dead: i64,
    updates: i64,
    heap_only: i64,
}

impl Tables {
    /// Partitions of a table count as one.
    pub(super) async fn read(session: &mut PgConnection) -> Result<Self> {
        sqlx::query("select pg_stat_clear_snapshot()").execute(&mut *session).await?;
        let sql = "select regexp_replace(relname, '_[0-9]+$', '') as name, sum(n_live_tup)::bigint as rows, \
                   sum(pg_table_size(relid))::bigint as heap, sum(pg_indexes_size(relid))::bigint as indexes, \
                   sum(n_dead_tup)::bigint as dead, sum(n_tup_upd)::bigint as updates, \
                   sum(n_tup_hot_upd)::bigint as heap_only \
                   from pg_stat_user_tables where n_tup_ins > 0 group by 1 \
                   order by sum(pg_total_relation_size(relid)) desc limit 6";
        Ok(Self(sqlx::query_as(sql).fetch_all(session).await?))
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = String> {
        self.0.iter().map(|table| {
            let hot = if table.updates == 0 {
                String::new()
            } else {
                let tenths = table.heap_only * 1000 / table.updates;
                format!(
                    ", {}.{} % of {} updates heap-only",
                    tenths / 10,
                    tenths % 10,
                    thousands(table.updates)
                )
            };
            format!(
                "{}: {} rows, {} MiB and {} MiB of indexes, {} dead rows{hot}",
                table.name,
                thousands(table.rows),
                thousands(table.heap >> 20),
                thousands(table.indexes >> 20),
                thousands(table.dead)
            )
        })
    }
}
