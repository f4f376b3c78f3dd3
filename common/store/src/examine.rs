//! What `backhaul doctor` asks of the database. Reads only.

use super::migrations::{NUMBERED, REPEATABLE};
use super::{SCHEMA, StoreError};
use crate::handles::Inspection;
use crate::handles::Workers;
use chrono::{DateTime, Utc};
use protocol::ids::WorkerId;

/// The server behind the store.
#[derive(Clone, Debug)]
pub struct Server {
    /// As it calls itself: `15.4`.
    pub version: String,
    /// The major version.
    pub major: i32,
    /// Sessions that it allows, those for superusers left out.
    pub allows: i32,
    /// Sessions of clients at this moment.
    pub sessions: i64,
    /// Its clock.
    pub now: DateTime<Utc>,
}

/// How the database's migrations differ from this program's.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MigrationState {
    /// Not applied.
    pub missing: Vec<i64>,
    /// Applied by another version, which has more.
    pub unknown: Vec<i64>,
    /// Applied with another text.
    pub changed: Vec<i64>,
    /// Begun and not ended.
    pub unfinished: Option<i64>,
    /// A migration of another version says that this program is too old for the schema: it serves programs that know this one.
    pub too_old: Option<i64>,
    /// Files of functions and views that were not applied, or with another text.
    pub outdated: Vec<&'static str>,
}

/// A consumer process that has not said that it ended.
#[derive(Clone, Debug)]
pub struct WorkerRow {
    /// The worker.
    pub id: WorkerId,
    /// Where it runs.
    pub host: String,
    /// Its process there.
    pub pid: i32,
    /// What its queues' names begin with.
    pub namespace: String,
    /// The keys that it opens credentials with, the one that it seals with first.
    pub keys: Vec<String>,
    /// Seconds since it was last heard of.
    pub silent_seconds: f64,
}

/// A duty of the sweeper.
#[derive(Clone, Debug)]
pub struct DutyRow {
    /// The duty.
    pub duty: String,
    /// Seconds since it last succeeded; none if never.
    pub succeeded_seconds_ago: Option<f64>,
    /// What went wrong the last time, if it did.
    pub error: Option<String>,
}

impl Inspection<'_> {
    /// The server's version, limits and clock.
    ///
    /// # Errors
    /// When the database cannot be reached.
    pub async fn about(self) -> Result<Server, StoreError> {
        Ok(sqlx::query_as!(
            Server,
            r#"select current_setting('server_version') as "version!",
                      current_setting('server_version_num')::int / 10000 as "major!",
                      current_setting('max_connections')::int
                          - current_setting('superuser_reserved_connections')::int as "allows!",
                      (select count(*) from pg_stat_activity where backend_type = 'client backend') as "sessions!",
                      clock_timestamp() as "now!""#
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    /// Whether this user may use the schema; none if there is no such schema.
    pub async fn may_use_schema(self) -> Result<Option<bool>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select has_schema_privilege(oid, 'usage') as "usable!" from pg_namespace where nspname = $1"#,
            SCHEMA
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// What this user may not do to the tables: `jobs: insert, update`.
    pub async fn lacking_privileges(self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select c.relname || ': ' || string_agg(p.privilege, ', ') as "lacking!"
                 from pg_class c cross join unnest(array['select', 'insert', 'update', 'delete']) as p (privilege)
                where c.relnamespace = current_schema()::regnamespace and c.relkind in ('r', 'p')
                  and not c.relispartition and c.relname not in ('_sqlx_migrations', 'repeatable_migrations')
                  and not has_table_privilege(c.oid, p.privilege)
                group by c.relname order by c.relname"#
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// What sessions set when they begin and is not in effect: `lock_timeout is 0, not 5000`. Somebody between here and the
    /// server has dropped it, or set something else.
    pub async fn settings_not_in_effect(self) -> Result<Vec<String>, StoreError> {
        let names: Vec<_> = self.store.settings.iter().map(|(name, _)| (*name).to_owned()).collect();
        let found = sqlx::query!(
            r#"select name as "name!", setting as "setting!" from pg_settings where name = any($1)"#,
            &names
        )
        .fetch_all(&self.store.pool)
        .await?;
        let differs = |(name, wanted): &(&str, String)| {
            let found = found.iter().find(|row| row.name == *name).map(|row| row.setting.as_str());
            (found != Some(wanted.as_str()))
                .then(|| format!("{name} is {}, not {wanted}", found.unwrap_or("not known")))
        };
        Ok(self.store.settings.iter().filter_map(differs).collect())
    }

    /// Who else may use what is ours, though nobody has said so of that role and this schema: everybody, or a role that
    /// default privileges name. `anon: usage of the schema, 34 tables and views`.
    pub async fn open_to_others(self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_file_scalar!("src/sql/open_to_others.sql").fetch_all(&self.store.pool).await?)
    }

    /// This user, as SQL writes it.
    pub async fn database_user(self) -> Result<String, StoreError> {
        Ok(sqlx::query_scalar!(r#"select quote_ident(current_user) as "user!""#)
            .fetch_one(&self.store.pool)
            .await?)
    }

    /// How the migrations that were applied differ from this program's.
    pub async fn migration_state(self) -> Result<MigrationState, StoreError> {
        let ours = || NUMBERED.iter().filter(|migration| migration.migration_type.is_up_migration());
        // Not checked when this is compiled: the table is sqlx's own.
        let applied = "select version, checksum, success from _sqlx_migrations order by version";
        let applied = sqlx::query_as::<_, (i64, Vec<u8>, bool)>(applied).fetch_all(&self.store.pool).await;
        let applied = match applied {
            Err(error) if is_missing_table(&error) => Vec::new(),
            applied => applied?,
        };
        if applied.is_empty() {
            let missing = ours().map(|migration| migration.version).collect();
            return Ok(MigrationState { missing, ..MigrationState::default() });
        }
        let unfinished = applied.iter().find(|(_, _, ended)| !ended).map(|(version, ..)| *version);
        let mut state = MigrationState { unfinished, ..MigrationState::default() };
        for migration in ours() {
            match applied.iter().find(|(version, ..)| *version == migration.version) {
                None => state.missing.push(migration.version),
                Some((_, checksum, _)) if *checksum != *migration.checksum => {
                    state.changed.push(migration.version);
                }
                Some(_) => {}
            }
        }
        let unknown =
            applied.iter().map(|(version, ..)| *version).filter(|version| !NUMBERED.version_exists(*version));
        state.unknown = unknown.collect();
        if state.missing.is_empty() {
            let serves_from = sqlx::query_scalar!("select serves_from from compatibility")
                .fetch_one(&self.store.pool)
                .await?;
            let newest = ours().map(|migration| migration.version).max().unwrap_or_default();
            state.too_old = (serves_from > newest).then_some(serves_from);
        }
        // The first migration makes the table that is asked.
        let repeated =
            sqlx::query!("select name, hash from repeatable_migrations").fetch_all(&self.store.pool).await?;
        let outdated = REPEATABLE
            .iter()
            .filter(|file| !repeated.iter().any(|row| row.name == file.name && row.hash == file.hash()));
        state.outdated = outdated.map(|file| file.name).collect();
        Ok(state)
    }

    /// How long ago each duty of the sweeper succeeded.
    pub async fn duties(self) -> Result<Vec<DutyRow>, StoreError> {
        Ok(sqlx::query_as!(
            DutyRow,
            r#"select duty, extract(epoch from now() - succeeded_at)::float8 as succeeded_seconds_ago, error
                 from sweeps order by duty"#
        )
        .fetch_all(&self.store.pool)
        .await?)
    }
}

impl Workers<'_> {
    /// The consumer processes that have not said that they ended, the most recently heard of first.
    pub async fn running(self) -> Result<Vec<WorkerRow>, StoreError> {
        Ok(sqlx::query_as!(
            WorkerRow,
            r#"select id as "id: WorkerId", host, pid, namespace, keys,
                      extract(epoch from now() - seen_at)::float8 as "silent_seconds!"
                 from workers where stopped_at is null order by seen_at desc limit 1000"#
        )
        .fetch_all(&self.store.pool)
        .await?)
    }
}

fn is_missing_table(error: &sqlx::Error) -> bool {
    error.as_database_error().and_then(|database| database.code()).as_deref() == Some("42P01")
}
