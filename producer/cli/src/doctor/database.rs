//! The database: reachable, new enough, migrated, ours to write, with room for our pools and a clock like ours.

use super::report::Report;
use super::{STEP, fleet};
use chrono::{TimeDelta, Utc};
use configuration::{DatabaseConfig, Settings};
use sealing::Keyring;
use store::examine::{MigrationState, Server};
use store::{SCHEMA, Store, StoreError};

pub(super) const AREA: &str = "database";
const OLDEST_MAJOR: i32 = 15;
/// Postgres alone decides; a larger difference only confuses whoever compares logs.
const CLOCK_TOLERANCE: TimeDelta = TimeDelta::seconds(2);
/// Each consumer has these beside its pool: one for starts, one for cancels, two for its sweeper, one to look whether the
/// database can be worked with.
const RESERVED: u32 = 5;
/// Each producer has this one.
const LOOKING: u32 = 1;

/// A step of the database's, with an end.
pub(super) async fn step<T>(
    report: &mut Report,
    area: &'static str,
    what: &str,
    answer: impl Future<Output = Result<T, StoreError>>,
) -> Option<T> {
    match tokio::time::timeout(STEP, answer).await {
        Ok(Ok(found)) => return Some(found),
        Ok(Err(error)) => report.failed(area, format!("{what}: {}", error.cause()), todo(&error)),
        Err(_elapsed) => report.failed(
            area,
            format!("{what}: no answer within {} s", STEP.as_secs()),
            "check whether the server is overloaded, or the network drops packets",
        ),
    }
    None
}

fn todo(error: &StoreError) -> &'static str {
    if let StoreError::Pooler(_) = error {
        return "set pool_mode = session in the pooler, or connect to the server itself: between transactions a session's \
                settings and prepared statements are lost";
    }
    match error.sqlstate().as_deref() {
        Some("3D000") => "create that database (createdb), or correct DATABASE_URL or database.url",
        Some("28P01" | "28000") => {
            "correct user and password in DATABASE_URL or database.url, or the server's pg_hba.conf"
        }
        Some("42P01" | "42703" | "42883") => "run `backhaul migrate` with this version",
        Some("42501") => "grant this user what it lacks, or connect as the owner of the tables",
        Some("53300") => {
            "the server has no connection left: raise its max_connections, or lower database.max_connections"
        }
        Some(_) => "see the server's log",
        None => "start the server, or correct the host and port in DATABASE_URL or database.url",
    }
}

pub(super) async fn check(report: &mut Report, settings: &Settings, keyring: &Keyring) {
    let config = DatabaseConfig { max_connections: 1, ..settings.database.clone() };
    let store = match Store::configured(&config, "backhaul-doctor") {
        Ok(store) => store,
        Err(error) => return report.failed(AREA, error.to_string(), "correct DATABASE_URL or database.url"),
    };
    let before = Utc::now();
    let reach = format!("cannot be reached at {}", settings.database.url);
    if let Some(server) = step(report, AREA, &reach, store.inspection().about()).await {
        // In the middle of the exchange, as good as can be known from here.
        let here = before + (Utc::now() - before) / 2;
        version(report, &server, settings);
        clock(report, server.now - here);
        session(report, &store).await;
        if step(report, AREA, "its schema cannot be read", store.inspection().may_use_schema()).await
            == Some(Some(false))
        {
            let found = format!("this user may not use the schema {SCHEMA}");
            let todo = format!("{}, or connect as its owner", grants(&store).await);
            report.failed(AREA, found, todo);
            return store.close().await;
        }
        let migrated =
            step(report, AREA, "its migrations cannot be read", store.inspection().migration_state()).await;
        if migrated.is_some_and(|state| migrations(report, &state)) {
            privileges(report, &store).await;
            open_to_others(report, &store).await;
            let workers = fleet::check(report, &store, settings, keyring).await;
            room(report, &server, settings, workers);
        }
    }
    store.close().await;
}

fn version(report: &mut Report, server: &Server, settings: &Settings) {
    let found = format!("PostgreSQL {} at {}", server.version, settings.database.url);
    if server.major < OLDEST_MAJOR {
        report.failed(AREA, found, format!("use PostgreSQL {OLDEST_MAJOR} or newer"));
    } else {
        report.passed(AREA, found);
    }
}

fn clock(report: &mut Report, ahead: TimeDelta) {
    let found = format!("its clock is {:+.1} s from this host's", ahead.as_seconds_f64());
    if ahead.abs() > CLOCK_TOLERANCE {
        let todo = "nothing breaks, since only the database's clock decides; but use NTP on both, so that logs can be compared";
        report.warning(AREA, found, todo);
    } else {
        report.passed(AREA, found);
    }
}

/// Whether its tables are ours, so that looking further makes sense.
fn migrations(report: &mut Report, state: &MigrationState) -> bool {
    let list = |versions: &[i64]| versions.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    if let Some(version) = state.unfinished {
        report.failed(
            AREA,
            format!("migration {version} was started and not finished"),
            "see what it did, repair that by hand, and remove its row from _sqlx_migrations; then run `backhaul migrate`",
        );
    }
    if !state.changed.is_empty() {
        let found =
            format!("applied with another text than this program's: migrations {}", list(&state.changed));
        report.failed(AREA, found, "use the version of Backhaul that applied them, or a fresh database");
    }
    match state.too_old {
        Some(serves_from) => {
            let found = format!(
                "migrated by a newer version, which serves programs that know migration {serves_from}: migrations {}",
                list(&state.unknown)
            );
            report.failed(AREA, found, "use that version everywhere; this one is too old for this database");
        }
        None if !state.unknown.is_empty() => {
            let found = format!(
                "migrated by a newer version, which serves this one, too: migrations {}",
                list(&state.unknown)
            );
            report.warning(AREA, found, "upgrade the programs, this one included");
        }
        None => {}
    }
    if !state.missing.is_empty() {
        let found = format!("not applied: migrations {}", list(&state.missing));
        report.failed(AREA, found, "run `backhaul migrate`");
    }
    if !state.outdated.is_empty() {
        let found = format!("functions and views of another version: {}", state.outdated.join(", "));
        report.failed(AREA, found, "run `backhaul migrate`");
    }
    let current = *state == MigrationState { unknown: state.unknown.clone(), ..MigrationState::default() };
    if current && state.unknown.is_empty() {
        let found = format!("the schema {SCHEMA} has exactly this version's migrations");
        report.passed(AREA, found);
    }
    current
}

/// Whether a session can write, and has what it set when it began.
async fn session(report: &mut Report, store: &Store) {
    if let Some(Err(unfit)) = step(report, AREA, "it cannot be read", store.fitness(false)).await {
        let todo = "connect to the primary, or to all of its hosts (postgres://user:password@host1,host2/database), or \
                    take default_transaction_read_only back";
        report.failed(AREA, unfit.to_string(), todo);
    }
    let what = "its settings cannot be read";
    match step(report, AREA, what, store.inspection().settings_not_in_effect()).await {
        None => {}
        Some(differ) if differ.is_empty() => {
            report.passed(AREA, "the settings of a session (its time-outs, search_path and planning) are in effect");
        }
        Some(differ) => report.failed(
            AREA,
            format!("settings of a session are not in effect: {}", differ.join("; ")),
            "connect to the server itself, or let the pooler in between give each session a server of its own",
        ),
    }
}

/// The lines that give this user what it needs.
async fn grants(store: &Store) -> String {
    let user = store.inspection().database_user().await.unwrap_or_else(|_unknown| "it".to_owned());
    format!(
        "grant usage on schema {SCHEMA} to {user}; grant select, insert, update, delete on all tables in schema {SCHEMA} \
         to {user};"
    )
}

/// Credentials are sealed, records are not.
async fn open_to_others(report: &mut Report, store: &Store) {
    match step(report, AREA, "its grants cannot be read", store.inspection().open_to_others()).await {
        None => {}
        Some(open) if open.is_empty() => {
            report.passed(AREA, format!("nobody else has default privileges on the schema {SCHEMA}"));
        }
        Some(open) => report.failed(
            AREA,
            format!("others have default privileges on the schema {SCHEMA}: {}", open.join("; ")),
            format!(
                "revoke all on schema {SCHEMA} from each of them, revoke all on all tables in schema {SCHEMA} from them, and \
                 see \\ddp in psql for the default privileges"
            ),
        ),
    }
}

async fn privileges(report: &mut Report, store: &Store) {
    let lacking =
        step(report, AREA, "its privileges cannot be read", store.inspection().lacking_privileges()).await;
    match lacking {
        None => {}
        Some(lacking) if lacking.is_empty() => {
            report.passed(AREA, "this user may read and write every table");
        }
        Some(lacking) => {
            let found = format!("this user lacks privileges: {}", lacking.join("; "));
            let todo = grants(store).await;
            report.failed(AREA, found, todo);
        }
    }
}

fn room(report: &mut Report, server: &Server, settings: &Settings, workers: usize) {
    let pool = settings.database.max_connections;
    let each = i64::from(pool + RESERVED);
    let consumers = i64::try_from(workers.max(1)).unwrap_or(i64::MAX);
    // And one producer.
    let needed = each.saturating_mul(consumers).saturating_add(i64::from(pool + LOOKING));
    let found = format!(
        "{} of {} sessions are in use; {consumers} consumers (up to {each} each) and a producer ({}) may take {needed}",
        server.sessions,
        server.allows,
        pool + LOOKING
    );
    if needed > i64::from(server.allows) {
        let todo = "raise the server's max_connections, or lower database.max_connections";
        report.warning(AREA, found, todo);
    } else {
        report.passed(AREA, found);
    }
}
