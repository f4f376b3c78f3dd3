//! Schemas of a tenant: made and read.

use super::{Engine, EngineError};
use chrono::{DateTime, Utc};
use protocol::ids::{SchemaId, TenantId};
use protocol::schema::Fields;
use store::schemas::Schema;

/// The longest name of a schema, in characters.
const MAX_NAME_CHARS: usize = 200;

/// A part of a list of schemas, newest first.
#[derive(Clone, Debug)]
pub struct SchemaPage {
    /// The schemas.
    pub schemas: Vec<Schema>,
    /// How many the tenant has.
    pub total: i64,
    /// Where the next part begins, if there is one.
    pub next: Option<(DateTime<Utc>, SchemaId)>,
}

impl Engine {
    /// Makes a schema.
    ///
    /// # Errors
    /// [`EngineError::Invalid`] or [`EngineError::Store`].
    pub async fn create_schema(
        &self,
        tenant: TenantId,
        name: &str,
        fields: &Fields,
    ) -> Result<Schema, EngineError> {
        let chars = name.chars().count();
        if chars == 0 || chars > MAX_NAME_CHARS || name.contains('\0') {
            return Err(EngineError::Invalid(format!(
                "name: must have between 1 and {MAX_NAME_CHARS} characters, and no NUL"
            )));
        }
        Ok(self.store.schemas().create(tenant, name, fields).await?)
    }

    /// A schema of the tenant.
    ///
    /// # Errors
    /// [`EngineError::NoSchema`] (also for another tenant's) or [`EngineError::Store`].
    pub async fn schema(&self, tenant: TenantId, schema: SchemaId) -> Result<Schema, EngineError> {
        self.store.schemas().get(tenant, schema).await?.ok_or(EngineError::NoSchema)
    }

    /// Schemas of the tenant, newest first.
    pub async fn schemas(
        &self,
        tenant: TenantId,
        after: Option<(DateTime<Utc>, SchemaId)>,
        limit: u16,
    ) -> Result<SchemaPage, EngineError> {
        let mut schemas = self.store.schemas().list(tenant, after, i64::from(limit) + 1).await?;
        let goes_on = schemas.len() > usize::from(limit);
        schemas.truncate(usize::from(limit));
        let next = schemas.last().filter(|_| goes_on).map(|schema| (schema.created_at, schema.id));
        Ok(SchemaPage { schemas, total: self.store.schemas().count(tenant).await?, next })
    }
}
