//! Tenants, their API keys, and their connections.

use super::StoreError;
use super::results::MOST_BYTES;
use crate::handles::Connections;
use chrono::{DateTime, Utc};
use protocol::ids::{ConnectionId, TenantId};
use protocol::poison::PoisonPolicy;
use sealing::{Bound, KeyId, Sealed};
use serde::Serialize;
use serde_json::Value;

/// A connection to be made; its credentials are sealed once it is known which connection it will be.
#[derive(Clone, Debug)]
pub struct NewConnection {
    /// Its tenant.
    pub tenant: TenantId,
    /// Its name, unique within the tenant.
    pub name: String,
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// Settings of the source.
    pub settings: Value,
}

impl NewConnection {
    /// To what its credentials are bound, once it has an id.
    #[must_use]
    pub const fn bound(&self, connection: ConnectionId) -> Bound<'_> {
        Bound { connection, base_url: self.base_url.as_str(), settings: &self.settings }
    }
}

/// What whoever puts a connection says about its account at the upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccountChange {
    /// It is as it was: nothing that tells accounts apart has changed.
    #[default]
    Unchanged,
    /// Credentials, scheme or port have changed, and nothing was said. What is known stays, and is doubted.
    Unsaid,
    /// It is the same account, with other credentials or another address.
    Same,
    /// It is another account, of which nothing is known.
    New,
}

/// Seals nothing: for a connection without credentials.
///
/// # Errors
/// None.
pub const fn no_credentials(_connection: ConnectionId) -> Result<Option<Sealed>, StoreError> {
    Ok(None)
}

/// A connection, without its credentials.
#[derive(Clone, Debug, Serialize)]
pub struct ConnectionView {
    /// The connection.
    pub id: ConnectionId,
    /// Its tenant.
    pub tenant_id: TenantId,
    /// Its name.
    pub name: String,
    /// The kind of source.
    pub source: String,
    /// The upstream's address.
    pub base_url: String,
    /// Settings of the source.
    pub settings: Value,
    /// The key that its credentials are sealed with; none if it has no credentials.
    pub credentials_key: Option<KeyId>,
    /// Until when the upstream asked for a pause.
    pub paused_until: Option<DateTime<Utc>>,
    /// Its limit of pages in flight, over the whole fleet.
    pub max_pages_in_flight: Option<i32>,
    /// Its limit of requests per second, over the whole fleet.
    pub requests_per_second: Option<f32>,
    /// What it wants of a page that can never be settled.
    pub on_poison_page: PoisonPolicy,
    /// Whether it is the one that its tenant's agency historical sync pulls.
    pub historical_sync: bool,
    /// Which account at the upstream it is, counted from 1.
    pub account: i32,
    /// Since when it is not known whether it is still the same account.
    pub account_doubted_at: Option<DateTime<Utc>>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
}

impl ConnectionView {
    /// To what its credentials are bound.
    #[must_use]
    pub const fn bound(&self) -> Bound<'_> {
        Bound { connection: self.id, base_url: self.base_url.as_str(), settings: &self.settings }
    }
}

impl Connections<'_> {
    /// Makes a connection, or changes the one of that name. `by` is who does. `seal` is given the connection's identifier,
    /// to which sealed credentials are bound, and may be called again should another caller make a connection of that name
    /// meanwhile.
    ///
    /// # Errors
    /// What `seal` says; [`StoreError::Refused`] when there is no such tenant.
    pub async fn put<E: From<StoreError>>(
        self,
        new: &NewConnection,
        account: AccountChange,
        by: Option<&str>,
        seal: impl Fn(ConnectionId) -> Result<Option<Sealed>, E>,
    ) -> Result<ConnectionId, E> {
        loop {
            let id = self.connection_named(new.tenant, &new.name).await?.unwrap_or_else(ConnectionId::random);
            if self.put_sealed(id, new, account, by, seal(id)?.as_ref()).await? {
                return Ok(id);
            }
        }
    }

    /// Makes a connection. False if the tenant has one of that name.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when there is no such tenant.
    pub async fn create(
        self,
        id: ConnectionId,
        new: &NewConnection,
        by: Option<&str>,
        sealed: Option<&Sealed>,
    ) -> Result<bool, StoreError> {
        let made = sqlx::query!(
            "insert into connections (id, tenant_id, name, source, base_url, settings,
                                      credentials_key, credentials_nonce, credentials, settings_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (tenant_id, name) where deleted_at is null do nothing",
            id.0,
            new.tenant.0,
            new.name,
            new.source,
            new.base_url,
            new.settings,
            sealed.map(|sealed| sealed.key.as_bytes()),
            sealed.map(|sealed| sealed.nonce.as_slice()),
            sealed.map(|sealed| sealed.ciphertext.as_slice()),
            by
        )
        .execute(&self.store.pool)
        .await?;
        Ok(made.rows_affected() == 1)
    }

    async fn connection_named(
        self,
        tenant: TenantId,
        name: &str,
    ) -> Result<Option<ConnectionId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select id as "id: ConnectionId" from connections
                where tenant_id = $1 and name = $2 and deleted_at is null"#,
            tenant.0,
            name
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }

    /// False if the name belongs to another connection by now.
    async fn put_sealed(
        self,
        id: ConnectionId,
        new: &NewConnection,
        account: AccountChange,
        by: Option<&str>,
        sealed: Option<&Sealed>,
    ) -> Result<bool, StoreError> {
        let put = sqlx::query!(
            "insert into connections as c (id, tenant_id, name, source, base_url, settings,
                                           credentials_key, credentials_nonce, credentials, settings_by)
             values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             on conflict (tenant_id, name) where deleted_at is null do update
             set source = excluded.source, base_url = excluded.base_url, settings = excluded.settings,
                 credentials_key = excluded.credentials_key, credentials_nonce = excluded.credentials_nonce,
                 credentials = excluded.credentials,
                 settings_by = case when (c.source, c.base_url, c.settings)
                                         is distinct from (excluded.source, excluded.base_url, excluded.settings)
                                    then excluded.settings_by else c.settings_by end,
                 settings_at = case when (c.source, c.base_url, c.settings)
                                         is distinct from (excluded.source, excluded.base_url, excluded.settings)
                                    then now() else c.settings_at end,
                 account = c.account + case when $11 then 1 else 0 end,
                 account_doubted_at = case when $12 then coalesce(c.account_doubted_at, now())
                                           when not $13 then c.account_doubted_at end
             where c.id = excluded.id",
            id.0,
            new.tenant.0,
            new.name,
            new.source,
            new.base_url,
            new.settings,
            sealed.map(|sealed| sealed.key.as_bytes()),
            sealed.map(|sealed| sealed.nonce.as_slice()),
            sealed.map(|sealed| sealed.ciphertext.as_slice()),
            by,
            account == AccountChange::New,
            account == AccountChange::Unsaid,
            matches!(account, AccountChange::New | AccountChange::Same)
        )
        .execute(&self.store.pool)
        .await?;
        Ok(put.rows_affected() == 1)
    }

    /// The connections of a tenant, or of all.
    pub async fn list(self, tenant: Option<TenantId>) -> Result<Vec<ConnectionView>, StoreError> {
        self.read_connections(tenant, None).await
    }

    /// One connection of a tenant.
    pub async fn get(
        self,
        connection: ConnectionId,
        tenant: TenantId,
    ) -> Result<Option<ConnectionView>, StoreError> {
        Ok(self.read_connections(Some(tenant), Some(connection)).await?.pop())
    }

    /// Connections of a tenant by name, after the one of a name if there is one: at most so many, and fewer if they are large.
    /// Since settings may be long, they are left out if they are not wanted.
    pub async fn list_by_name(
        self,
        tenant: TenantId,
        after: Option<&str>,
        limit: i64,
        with_settings: bool,
    ) -> Result<Vec<ConnectionView>, StoreError> {
        Ok(sqlx::query_as!(
            ConnectionView,
            r#"select id as "id: ConnectionId", tenant_id as "tenant_id: TenantId", name, source, base_url,
                      case when $4 then settings else '{}' end as "settings!",
                      credentials_key as "credentials_key: KeyId", paused_until, historical_sync, account, account_doubted_at,
                      max_pages_in_flight, requests_per_second, on_poison_page as "on_poison_page: PoisonPolicy",
                      created_at
                 from (select *, sum(bytes) over (order by name) - bytes as bytes_before
                         from (select *, octet_length(name) + octet_length(base_url)
                                         + case when $4 then octet_length(settings::text) else 0 end as bytes
                                 from connections
                                where deleted_at is null and tenant_id = $1 and ($2::text is null or name > $2)
                                order by name limit $3) asked) counted
                where bytes_before < $5
                order by name"#,
            tenant.0,
            after,
            limit,
            with_settings,
            i64::try_from(MOST_BYTES).unwrap_or(i64::MAX)
        )
        .fetch_all(&self.store.pool)
        .await?)
    }

    /// Whether a tenant has connections after the one of a name.
    ///
    /// # Errors
    /// When the database cannot be read.
    pub async fn has_more_after(self, tenant: TenantId, name: &str) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select exists (select from connections
                               where deleted_at is null and tenant_id = $1 and name > $2) as "more!""#,
            tenant.0,
            name
        )
        .fetch_one(&self.store.pool)
        .await?)
    }

    async fn read_connections(
        self,
        tenant: Option<TenantId>,
        connection: Option<ConnectionId>,
    ) -> Result<Vec<ConnectionView>, StoreError> {
        Ok(sqlx::query_as!(
            ConnectionView,
            r#"select id as "id: ConnectionId", tenant_id as "tenant_id: TenantId", name, source, base_url, settings,
                      credentials_key as "credentials_key: KeyId", paused_until, historical_sync, account, account_doubted_at,
                      max_pages_in_flight, requests_per_second, on_poison_page as "on_poison_page: PoisonPolicy",
                      created_at
                 from connections
                where deleted_at is null and ($1::uuid is null or tenant_id = $1) and ($2::uuid is null or id = $2)
                order by tenant_id, name"#,
            tenant.map(|tenant| tenant.0),
            connection.map(|connection| connection.0)
        )
        .fetch_all(&self.store.pool)
        .await?)
    }
}
