//! The migrations: those with a number, which change tables, each applied once; and the repeatable ones, which are the
//! functions and views over them, each applied whenever its text has changed.

use super::session::WITHOUT_TIMEOUTS;
use super::{SCHEMA, Store, StoreError};
use sqlx::migrate::{Migrate, MigrateError, Migrator};
use sqlx::{Connection, Executor, PgConnection};
use std::time::{Duration, Instant};

pub(super) static NUMBERED: Migrator = sqlx::migrate!("../../migrations");

/// A file of functions or views.
pub(super) struct Repeatable {
    pub(super) name: &'static str,
    text: &'static str,
}

impl Repeatable {
    pub(super) fn hash(&self) -> [u8; 32] {
        *blake3::hash(self.text.as_bytes()).as_bytes()
    }
}

macro_rules! repeatable {
    ($($name:literal),+ $(,)?) => {
        &[$(Repeatable { name: $name, text: include_str!(concat!("../../../migrations/repeatable/", $name, ".sql")) }),+]
    };
}

/// In the order in which they are applied, since they build on each other.
pub(super) const REPEATABLE: &[Repeatable] = repeatable![
    "010_calls",
    "020_walk",
    "030_ranges",
    "100_broken_ledger",
    "110_broken_resumes",
    "120_broken_documents",
    "130_broken_deletions",
    "140_broken_states",
    "150_broken_known",
    "190_broken_invariants",
];

/// Only if it is not there: `create schema if not exists` asks for the right to make schemas all the same, which whoever was
/// given this one ready-made need not have.
const MAKE_SCHEMA: &str = "do $$ declare other oid; begin
    if to_regnamespace('backhaul') is null then
        create schema backhaul;
        -- Default privileges may have opened it to roles of which nobody has thought.
        for other in select distinct acl.grantee
                       from pg_namespace n cross join lateral aclexplode(n.nspacl) as acl
                      where n.nspname = 'backhaul' and acl.grantee <> n.nspowner loop
            execute 'revoke all on schema backhaul from ' || case other when 0 then 'public' else other::regrole::text end;
        end loop;
    end if;
end $$";

impl Store {
    /// Migrates, and tells nobody how far it is.
    ///
    /// # Errors
    /// As [`Store::migrate_telling`].
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.migrate_telling(|_step| ()).await
    }

    /// Applies the migrations that are missing, then the repeatable ones whose text has changed. Two processes that do so at
    /// once take turns.
    ///
    /// # Errors
    /// When the database cannot be reached, was migrated by a newer version, or refuses.
    pub async fn migrate_telling(&self, told: impl FnMut(MigrationStep)) -> Result<(), StoreError> {
        let mut session = self.migrating().await?;
        if let Err(error) = apply(&mut session, told).await {
            return Err(may_not_migrate(&mut session, error).await);
        }
        session.unlock().await?;
        Ok(session.close().await?)
    }

    /// Takes back every migration, newest first, and the schema with whatever else is in it: the data is gone with it.
    ///
    /// # Errors
    /// As [`Store::migrate`].
    pub async fn migrate_down(&self) -> Result<(), StoreError> {
        let mut session = self.migrating().await?;
        let migrated = sqlx::query_scalar!(
            r#"select to_regclass('backhaul._sqlx_migrations') is not null as "migrated!""#
        );
        if migrated.fetch_one(&mut session).await? {
            let mut transaction = session.begin().await?;
            NUMBERED.undo(&mut *transaction, 0).await?;
            transaction.execute("drop schema backhaul cascade").await.map_err(MigrateError::Execute)?;
            transaction.commit().await?;
        }
        session.unlock().await?;
        Ok(session.close().await?)
    }

    /// The text of every migration, in order: for whoever keeps a migrated copy and wants to know whether it is current.
    pub fn migrations() -> impl Iterator<Item = &'static str> {
        let numbered = NUMBERED.iter().map(|migration| migration.sql.as_str());
        numbered.chain(REPEATABLE.iter().map(|file| file.text))
    }

    /// A session of its own, which holds the migrator's lock until it ends.
    async fn migrating(&self) -> Result<PgConnection, StoreError> {
        let mut session = self.pool.connect().await?;
        session.execute(WITHOUT_TIMEOUTS).await?;
        session.lock().await?;
        Ok(session)
    }
}

/// How far a migration is.
#[derive(Clone, Debug)]
pub enum MigrationStep {
    /// This one begins.
    Begins {
        /// Its number.
        version: i64,
        /// What it is about.
        about: String,
    },
    /// It is done.
    Ended {
        /// Its number.
        version: i64,
        /// How long it took.
        took: Duration,
    },
}

async fn apply(session: &mut PgConnection, mut told: impl FnMut(MigrationStep)) -> Result<(), StoreError> {
    session.execute(MAKE_SCHEMA).await?;
    session.ensure_migrations_table(&NUMBERED.table_name).await?;
    let applied = session.list_applied_migrations(&NUMBERED.table_name).await?;
    let missing = NUMBERED.iter().filter(|migration| {
        migration.migration_type.is_up_migration()
            && !applied.iter().any(|applied| applied.version == migration.version)
    });
    for migration in missing {
        let version = migration.version;
        told(MigrationStep::Begins { version, about: migration.description.to_string() });
        let begun = Instant::now();
        NUMBERED.run_to(version, &mut *session).await?;
        told(MigrationStep::Ended { version, took: begun.elapsed() });
    }
    // Compares the texts of those that were applied before.
    NUMBERED.run(&mut *session).await?;
    repeat(session).await
}

/// A lack of rights, with what to grant to whom.
async fn may_not_migrate(session: &mut PgConnection, error: StoreError) -> StoreError {
    // A schema that may not be used is not found (3F000).
    if !matches!(error.sqlstate().as_deref(), Some("42501" | "3F000")) {
        return error;
    }
    let asked = "select quote_ident(current_user), (select nspowner::regrole::text from pg_namespace where nspname = 'backhaul')";
    match sqlx::query_as::<_, (String, Option<String>)>(asked).fetch_one(session).await {
        Ok((user, None)) => StoreError::MayNotMigrate {
            lines: format!("create schema {SCHEMA} authorization {user};"),
            error: Box::new(error),
        },
        Ok((user, Some(owner))) => StoreError::MayNotMigrate {
            lines: format!("grant usage, create on schema {SCHEMA} to {user};\n    grant {owner} to {user};"),
            error: Box::new(error),
        },
        Err(_lost) => error,
    }
}

/// All of them or none, so that no function meets an older one of those that it calls.
async fn repeat(session: &mut PgConnection) -> Result<(), StoreError> {
    let mut transaction = session.begin().await?;
    let applied =
        sqlx::query!("select name, hash from repeatable_migrations").fetch_all(&mut *transaction).await?;
    for file in REPEATABLE {
        let hash = file.hash();
        if applied.iter().any(|row| row.name == file.name && row.hash == hash) {
            continue;
        }
        let refused = |error| StoreError::Repeatable { file: file.name, error };
        transaction.execute(file.text).await.map_err(refused)?;
        sqlx::query!(
            "insert into repeatable_migrations (name, hash) values ($1, $2)
             on conflict (name) do update set hash = excluded.hash, applied_at = now()",
            file.name,
            hash.as_slice()
        )
        .execute(&mut *transaction)
        .await?;
    }
    Ok(transaction.commit().await?)
}

#[cfg(test)]
mod tests {
    use super::REPEATABLE;

    #[test]
    fn the_list_is_the_folder_in_its_order() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../migrations/repeatable");
        let mut files: Vec<_> = std::fs::read_dir(folder)
            .unwrap()
            .map(|file| file.unwrap().file_name().into_string().unwrap())
            .collect();
        files.sort();
        let listed: Vec<_> = REPEATABLE.iter().map(|file| format!("{}.sql", file.name)).collect();
        assert_eq!(listed, files);
    }
}
