//! Connections, and the jobs of one: made here only if their source can work with them.

use super::{Engine, EngineError, JobQuery};
use chrono::Utc;
use protocol::command::{MAX_TEXT_CHARS, OnConflict, StartCommand};
use protocol::ids::{ConnectionId, JobId, TenantId};
use protocol::job::JobMode;
use protocol::plain::unfit_for_a_name;
use serde_json::{Map, Value};
use sources::Endpoint;
use store::connections::{ConnectionView, NewConnection};
use store::jobs::JobView;
use store::known::{StragglerQuery, StragglerView};
use store::sizes::{self, TooLarge};
use url::Url;

/// A connection to be made.
#[derive(Clone)]
pub struct ConnectionDraft {
    /// Its name, unique within the tenant.
    pub name: String,
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// Named secrets, in clear.
    pub credentials: Map<String, Value>,
    /// Settings of the source.
    pub settings: Map<String, Value>,
}

// The credentials stay out of logs.
impl std::fmt::Debug for ConnectionDraft {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ConnectionDraft")
            .field("name", &self.name)
            .field("source", &self.source)
            .field("base_url", &self.base_url)
            .finish_non_exhaustive()
    }
}

impl Engine {
    /// Makes a connection, with its credentials sealed.
    ///
    /// # Errors
    /// [`EngineError::Connection`] for what its source cannot work with and for a name that is taken,
    /// [`EngineError::CannotSeal`], or [`EngineError::Store`].
    pub async fn create_connection(
        &self,
        tenant: TenantId,
        draft: ConnectionDraft,
        by: &str,
    ) -> Result<ConnectionView, EngineError> {
        let base_url = checked(&draft)?;
        let new = NewConnection {
            tenant,
            name: draft.name,
            source: draft.source,
            base_url,
            settings: Value::Object(draft.settings),
        };
        let id = ConnectionId::random();
        let credentials = Value::Object(draft.credentials);
        sealing::check(&credentials)
            .map_err(|reason| EngineError::Connection { field: "credentials", reason })?;
        sizes::check(&new, &credentials)
            .map_err(|TooLarge { field, reason }| EngineError::Connection { field, reason })?;
        let sealed = self.keyring.seal(&new.bound(id), &credentials)?;
        if !self.store.connections().create(id, &new, Some(by), sealed.as_ref()).await? {
            let reason =
                format!("there is a connection of the name {:?} already; choose another name", new.name);
            return Err(EngineError::Connection { field: "name", reason });
        }
        self.connection(tenant, id).await
    }

    /// The tenant's connections by name, after the one of a name if there is one: at most so many, and fewer if they are large.
    /// And whether there are more.
    pub async fn connections(
        &self,
        tenant: TenantId,
        after: Option<&str>,
        limit: u16,
        with_settings: bool,
    ) -> Result<(Vec<ConnectionView>, bool), EngineError> {
        let found = self.store.connections().list_by_name(tenant, after, limit.into(), with_settings).await?;
        let more = match found.last() {
            Some(last) => self.store.connections().has_more_after(tenant, &last.name).await?,
            None => false,
        };
        Ok((found, more))
    }

    /// One connection of the tenant.
    ///
    /// # Errors
    /// [`EngineError::NoConnection`] or [`EngineError::Store`].
    pub async fn connection(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<ConnectionView, EngineError> {
        let found = self.store.connections().get(connection, tenant).await?;
        found.ok_or(EngineError::NoConnection(connection))
    }

    /// Starts a sync of a connection: of what is new, or a full one, which also deletes what is gone.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn run(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        full: bool,
        requested_by: &str,
    ) -> Result<JobView, EngineError> {
        let command = StartCommand {
            connection_id: connection,
            job_id: None,
            command_id: None,
            date_from: None,
            date_to: None,
            mode: if full { JobMode::Full } else { JobMode::Incremental },
            on_conflict: OnConflict::Reject,
            name: None,
            schema_id: None,
            document_ids: None,
            requested_by: Some(requested_by.to_owned()),
        };
        self.start(tenant, command).await
    }

    /// The newest jobs of a connection, newest first.
    ///
    /// # Errors
    /// [`EngineError::NoConnection`] or [`EngineError::Store`].
    pub async fn jobs_of(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        limit: u16,
    ) -> Result<Vec<JobView>, EngineError> {
        self.connection(tenant, connection).await?;
        let query = JobQuery { connection: Some(connection), limit, ..JobQuery::default() };
        Ok(self.jobs(tenant, &query).await?.jobs)
    }

    /// Records that the jobs of a connection could not store when they met them.
    ///
    /// # Errors
    /// [`EngineError::NoConnection`] or [`EngineError::Store`].
    pub async fn stragglers(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        query: &StragglerQuery,
    ) -> Result<Vec<StragglerView>, EngineError> {
        self.connection(tenant, connection).await?;
        Ok(self.store.connections().stragglers(connection, query).await?)
    }

    /// A job of a connection.
    ///
    /// # Errors
    /// [`EngineError::NoConnection`], [`EngineError::NoJob`] (also for a job of another connection) or
    /// [`EngineError::Store`].
    pub async fn job_of(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        job: JobId,
    ) -> Result<JobView, EngineError> {
        self.connection(tenant, connection).await?;
        let view = self.job(tenant, job).await?;
        if view.connection == connection { Ok(view) } else { Err(EngineError::NoJob(job)) }
    }

    /// Cancels a job of a connection.
    ///
    /// # Errors
    /// As [`Engine::job_of`] and [`Engine::cancel`].
    pub async fn cancel_of(
        &self,
        tenant: TenantId,
        connection: ConnectionId,
        job: JobId,
        requested_by: &str,
    ) -> Result<JobView, EngineError> {
        self.job_of(tenant, connection, job).await?;
        self.cancel(tenant, job, None, requested_by).await
    }
}

/// The base URL in its normal form, if everything about the connection is as its source needs it.
fn checked(draft: &ConnectionDraft) -> Result<String, EngineError> {
    let wrong = |field, reason: String| Err(EngineError::Connection { field, reason });
    if draft.name.trim().is_empty() {
        return wrong("name", "a connection needs a name".to_owned());
    }
    if draft.name.chars().count() > MAX_TEXT_CHARS || draft.name.contains(unfit_for_a_name) {
        let reason = format!(
            "a name has at most {MAX_TEXT_CHARS} characters, and none that is invisible or controls how text is shown"
        );
        return wrong("name", reason);
    }
    let base_url = match Url::parse(&draft.base_url) {
        Ok(base_url) => base_url,
        Err(error) => return wrong("base_url", format!("not a URL: {error}")),
    };
    let endpoint = Endpoint {
        kind: draft.source.clone(),
        base_url,
        credentials: Value::Object(draft.credentials.clone()),
        settings: Value::Object(draft.settings.clone()),
    };
    match sources::fits(&endpoint, Utc::now()) {
        Ok(()) => Ok(endpoint.base_url.to_string()),
        Err(error) => wrong(error.field(), error.to_string()),
    }
}
