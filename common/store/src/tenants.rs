//! Tenants and their API keys.

use crate::StoreError;
use crate::handles::Tenants;
use chrono::{DateTime, Utc};
use protocol::ids::TenantId;
use serde::Serialize;
use std::collections::HashSet;
use uuid::Uuid;

/// A tenant.
#[derive(Clone, Debug, Serialize)]
pub struct Tenant {
    /// The tenant.
    pub id: TenantId,
    /// Its name, unique.
    pub name: String,
    /// How many of its slices are rung at a time.
    pub max_slices: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

/// An API key as it is listed: never the key itself.
#[derive(Clone, Debug, Serialize)]
pub struct ApiKeyView {
    /// The key's identifier.
    pub id: Uuid,
    /// What it is for.
    pub name: String,
    /// Its first characters.
    pub prefix: String,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
    /// When it was revoked.
    pub revoked_at: Option<DateTime<Utc>>,
}

impl Tenants<'_> {
    /// Makes a tenant, or finds the one of that name (and sets its limit).
    pub async fn create(self, name: &str, max_slices: i32) -> Result<Tenant, StoreError> {
        Ok(sqlx::query_as!(
            Tenant,
            r#"insert into tenants (id, name, max_slices) values ($1, $2, $3)
               on conflict (name) do update set max_slices = excluded.max_slices
               returning id as "id: TenantId", name, max_slices, created_at"#,
            TenantId::random().0,
            name,
            max_slices
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    /// All tenants, by name.
    pub async fn list(self) -> Result<Vec<Tenant>, StoreError> {
        Ok(sqlx::query_as!(
            Tenant,
            r#"select id as "id: TenantId", name, max_slices, created_at from tenants order by name"#
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Stores the hash of a new API key.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no such tenant.
    pub async fn create_api_key(
        self,
        tenant: TenantId,
        name: &str,
        hash: &[u8; 32],
        prefix: &str,
    ) -> Result<Uuid, StoreError> {
        let id = Uuid::now_v7();
        sqlx::query!(
            "insert into api_keys (id, tenant_id, name, hash, prefix) values ($1, $2, $3, $4, $5)",
            id,
            tenant.0,
            name,
            hash.as_slice(),
            prefix
        )
        .execute(&self.store.pool)
        .await?;
        Ok(id)
    }

    /// The tenant of an API key, if the key is known and not revoked. Notes its use, at most once a minute.
    pub async fn authenticate(self, hash: &[u8; 32]) -> Result<Option<TenantId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"with used as (
                   update api_keys set last_used_at = now()
                    where hash = $1 and revoked_at is null
                      and (last_used_at is null or last_used_at < now() - interval '1 minute')
               )
               select tenant_id as "tenant: TenantId" from api_keys where hash = $1 and revoked_at is null"#,
            hash.as_slice()
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// The parts in clear of every API key that is not revoked.
    pub async fn key_prefixes(self) -> Result<Vec<String>, StoreError> {
        Ok(sqlx::query_scalar!("select prefix from api_keys where revoked_at is null")
            .fetch_all(&self.store.pool)
            .await?)
    }

    /// Those of these API keys, by their hashes, that are not revoked.
    pub async fn good_keys(self, hashes: &[[u8; 32]]) -> Result<HashSet<[u8; 32]>, StoreError> {
        let asked: Vec<Vec<u8>> = hashes.iter().map(|hash| hash.to_vec()).collect();
        let good = sqlx::query_scalar!(
            "select hash from api_keys where hash = any($1) and revoked_at is null",
            asked.as_slice()
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(good.into_iter().filter_map(|hash| hash.try_into().ok()).collect())
    }

    /// The API keys of a tenant.
    pub async fn api_keys(self, tenant: TenantId) -> Result<Vec<ApiKeyView>, StoreError> {
        Ok(sqlx::query_as!(
            ApiKeyView,
            "select id, name, prefix, created_at, last_used_at, revoked_at from api_keys
              where tenant_id = $1 order by created_at",
            tenant.0
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Revokes an API key. False if there is none of that identifier.
    pub async fn revoke_api_key(self, key: Uuid) -> Result<bool, StoreError> {
        let revoked =
            sqlx::query!("update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1", key)
                .execute(&self.store.pool)
                .await?;
        Ok(revoked.rows_affected() == 1)
    }
}
