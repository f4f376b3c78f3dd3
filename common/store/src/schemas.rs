//! Schemas, which each tenant has of its own. They are made and read, and never changed.

use super::StoreError;
use crate::handles::Schemas;
use chrono::{DateTime, Utc};
use protocol::ids::{SchemaId, TenantId};
use protocol::schema::Fields;
use sqlx::types::Json;

/// A schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Schema {
    /// The schema.
    pub id: SchemaId,
    /// A name for people.
    pub name: String,
    /// Its fields.
    pub fields: Fields,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

struct Row {
    id: SchemaId,
    name: String,
    fields: Json<Fields>,
    created_at: DateTime<Utc>,
}

impl From<Row> for Schema {
    fn from(row: Row) -> Self {
        Self { id: row.id, name: row.name, fields: row.fields.0, created_at: row.created_at }
    }
}

impl Schemas<'_> {
    /// Makes a schema.
    pub async fn create(self, tenant: TenantId, name: &str, fields: &Fields) -> Result<Schema, StoreError> {
        Ok(sqlx::query_as!(
            Row,
            r#"insert into schemas (id, tenant_id, name, fields) values ($1, $2, $3, $4)
               returning id as "id: SchemaId", name, fields as "fields: Json<Fields>", created_at"#,
            SchemaId::random().0,
            tenant.0,
            name,
            Json(fields) as Json<&Fields>
        )
        .fetch_one(&self.store.pool)
        .await?
        .into())
    }

    /// A schema of the tenant.
    pub async fn get(self, tenant: TenantId, schema: SchemaId) -> Result<Option<Schema>, StoreError> {
        let row = sqlx::query_as!(
            Row,
            r#"select id as "id: SchemaId", name, fields as "fields: Json<Fields>", created_at
                 from schemas where id = $1 and tenant_id = $2"#,
            schema.0,
            tenant.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.map(Schema::from))
    }

    /// Schemas of the tenant, newest first, after one that was made then.
    pub async fn list(
        self,
        tenant: TenantId,
        after: Option<(DateTime<Utc>, SchemaId)>,
        limit: i64,
    ) -> Result<Vec<Schema>, StoreError> {
        let rows = sqlx::query_as!(
            Row,
            r#"select id as "id: SchemaId", name, fields as "fields: Json<Fields>", created_at
                 from schemas
                where tenant_id = $1 and ($2::timestamptz is null or (created_at, id) < ($2, $3::uuid))
                order by created_at desc, id desc limit $4"#,
            tenant.0,
            after.map(|(at, _)| at),
            after.map(|(_, id)| id.0),
            limit
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(rows.into_iter().map(Schema::from).collect())
    }

    /// How many schemas the tenant has.
    pub async fn count(self, tenant: TenantId) -> Result<i64, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select count(*) as "schemas!" from schemas where tenant_id = $1"#,
            tenant.0
        )
        .fetch_one(&self.store.pool)
        .await?)
    }
}
