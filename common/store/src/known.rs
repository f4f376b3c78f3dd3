//! What is known of a connection's upstream, for whoever wants to see it: how far, with which settings, and which records are
//! left to be stored.

use super::StoreError;
use crate::handles::Connections;
use chrono::{DateTime, Utc};
use protocol::ids::ConnectionId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

/// How far a connection's list is known.
#[derive(Clone, Debug, Serialize)]
pub struct KnownView {
    /// The scope in which it is known: the how-manieth.
    pub scope: i32,
    /// The hash of the settings that decide which records are listed.
    pub fingerprint: String,
    /// The settings themselves.
    pub canonical: Value,
    /// From when on; none is from the beginning.
    pub known_from: Option<DateTime<Utc>>,
    /// Up to when.
    pub known_to: DateTime<Utc>,
    /// How many records could not be stored when they were met, and have not been since.
    pub stragglers: i64,
}

/// Settings that jobs were planned with.
#[derive(Clone, Debug, Serialize)]
pub struct SettingsVersion {
    /// From 1.
    pub version: i32,
    /// The scope that they belong to, from 1.
    pub scope: i32,
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// The settings.
    pub settings: Value,
    /// Who gave the connection these.
    pub put_by: Option<String>,
    /// When.
    pub put_at: DateTime<Utc>,
    /// When a job was first planned with them.
    pub planned_at: DateTime<Utc>,
}

/// Why a record is a straggler.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "straggler_cause", rename_all = "snake_case")]
pub enum StragglerCause {
    /// It was not importable yet.
    Deferred,
    /// It could not be read or stored.
    Failed,
    /// Two answers that overlapped in time differ about it.
    Overtaken,
}

/// How a straggler ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, sqlx::Type)]
#[serde(rename_all = "snake_case")]
#[sqlx(type_name = "straggler_end", rename_all = "snake_case")]
pub enum StragglerEnd {
    /// A job has stored it.
    Stored,
    /// The upstream answered for its id, in two jobs, that it is gone.
    Gone,
    /// A full sync would have deleted it.
    Deleted,
    /// It is a year old, or the settings list other records by now.
    Expired,
}

/// A record that could not be stored when it was met.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Straggler)]
pub struct StragglerView {
    /// The upstream's id of it.
    pub external_id: String,
    /// Why it was not stored.
    pub cause: StragglerCause,
    /// The same in words.
    pub reason: Option<String>,
    /// The record's time, if it could be read.
    pub happened_at: Option<DateTime<Utc>>,
    /// When it was first met.
    pub first_seen_at: DateTime<Utc>,
    /// When it was last asked for by its id.
    pub asked_at: Option<DateTime<Utc>>,
    /// When it ended.
    pub closed_at: Option<DateTime<Utc>>,
    /// How it ended.
    pub closed_by: Option<StragglerEnd>,
}

/// Which stragglers to list.
#[derive(Clone, Debug)]
pub struct StragglerQuery {
    /// Those that have ended, too.
    pub closed: bool,
    /// Those whose ids come after this one.
    pub after: String,
    /// How many at most.
    pub limit: u16,
}

impl Connections<'_> {
    /// How far a connection's list is known; none while nothing is.
    pub async fn known(self, connection: ConnectionId) -> Result<Option<KnownView>, StoreError> {
        Ok(sqlx::query_as!(
            KnownView,
            r#"select c.scope, c.fingerprint, c.canonical, s.known_from, s.known_to as "known_to!",
                      (select count(*) from stragglers t
                        where t.connection_id = s.connection_id and t.stream = s.stream and t.closed_at is null)
                          as "stragglers!"
                 from streams s join scopes c
                   on c.connection_id = s.connection_id and c.stream = s.stream and c.scope = s.scope
                where s.connection_id = $1 and s.stream = 'main'"#,
            connection.0
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// The settings that jobs of a connection were planned with, the oldest first.
    pub async fn settings_versions(
        self,
        connection: ConnectionId,
    ) -> Result<Vec<SettingsVersion>, StoreError> {
        Ok(sqlx::query_as!(
            SettingsVersion,
            "select version, scope, source, base_url, settings, put_by, put_at, planned_at
               from settings_versions where connection_id = $1 and stream = 'main' order by version",
            connection.0
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Stragglers of a connection, by their ids.
    pub async fn stragglers(
        self,
        connection: ConnectionId,
        query: &StragglerQuery,
    ) -> Result<Vec<StragglerView>, StoreError> {
        Ok(sqlx::query_as!(
            StragglerView,
            r#"select external_id, cause as "cause: StragglerCause", reason, happened_at, first_seen_at, asked_at, closed_at,
                      closed_by as "closed_by: StragglerEnd"
                 from stragglers
                where connection_id = $1 and stream = 'main' and external_id > $2 collate "C" and ($3 or closed_at is null)
                order by external_id limit $4"#,
            connection.0,
            query.after,
            query.closed,
            i64::from(query.limit)
        )
        .fetch_all(&self.store.pool)
        .await?)
    }
}
