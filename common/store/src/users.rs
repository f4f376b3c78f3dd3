//! Users: the people behind JSON Web Tokens.

use super::StoreError;
use crate::handles::Tenants;
use chrono::{DateTime, Utc};
use protocol::ids::TenantId;
use protocol::role::Role;
use serde::Serialize;
use std::collections::HashMap;
use uuid::Uuid;

/// A user.
#[derive(Clone, Debug, Serialize)]
pub struct User {
    /// The user.
    pub id: Uuid,
    /// The `sub` of its tokens, unique.
    pub subject: String,
    /// Its agency, if it has one.
    pub tenant_id: Option<TenantId>,
    /// What it may do.
    pub role: Role,
    /// When it was disabled.
    pub disabled_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl Tenants<'_> {
    /// Makes a user, or changes and enables the one of that subject. Without a role an existing user keeps its own, and a
    /// new one is a member.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no such tenant, or the subject is empty or too long.
    pub async fn put_user(
        self,
        subject: &str,
        tenant: Option<TenantId>,
        role: Option<Role>,
    ) -> Result<User, StoreError> {
        Ok(sqlx::query_as!(
            User,
            r#"insert into users (id, subject, tenant_id, role) values ($1, $2, $3, coalesce($4, 'member'::user_role))
               on conflict (subject) do update
               set tenant_id = excluded.tenant_id, role = coalesce($4, users.role), disabled_at = null
               returning id, subject, tenant_id as "tenant_id: TenantId", role as "role: Role", disabled_at, created_at"#,
            Uuid::now_v7(),
            subject,
            tenant.map(|tenant| tenant.0),
            role as Option<Role>
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    /// The user of this subject, disabled or not.
    pub async fn user(self, subject: &str) -> Result<Option<User>, StoreError> {
        Ok(sqlx::query_as!(
            User,
            r#"select id, subject, tenant_id as "tenant_id: TenantId", role as "role: Role", disabled_at, created_at
                 from users where subject = $1"#,
            subject
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// The tenants of those of these users, by subject, that are not disabled and have one.
    pub async fn good_users(self, subjects: &[String]) -> Result<HashMap<String, TenantId>, StoreError> {
        let users = sqlx::query!(
            r#"select subject, tenant_id as "tenant!: TenantId" from users
                where subject = any($1) and disabled_at is null and tenant_id is not null"#,
            subjects
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(users.into_iter().map(|user| (user.subject, user.tenant)).collect())
    }

    /// The users of a tenant, or all, by subject.
    pub async fn users(self, tenant: Option<TenantId>) -> Result<Vec<User>, StoreError> {
        Ok(sqlx::query_as!(
            User,
            r#"select id, subject, tenant_id as "tenant_id: TenantId", role as "role: Role", disabled_at, created_at
                 from users where $1::uuid is null or tenant_id = $1 order by subject"#,
            tenant.map(|tenant| tenant.0)
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Disables a user: its tokens are refused from now on. False if there is none of that subject.
    pub async fn disable_user(self, subject: &str) -> Result<bool, StoreError> {
        let disabled = sqlx::query!(
            "update users set disabled_at = coalesce(disabled_at, now()) where subject = $1",
            subject
        )
        .execute(&self.store.pool)
        .await?;
        Ok(disabled.rows_affected() == 1)
    }
}
