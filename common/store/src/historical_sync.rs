//! The one connection of a tenant that its agency historical sync pulls.

use super::StoreError;
use crate::handles::Connections;
use protocol::ids::{ConnectionId, TenantId};

impl Connections<'_> {
    /// Makes a connection its tenant's designated one, in the place of another.
    pub async fn designate_for_historical_sync(
        self,
        tenant: TenantId,
        connection: ConnectionId,
    ) -> Result<(), StoreError> {
        let mut transaction = self.store.pool.begin().await?;
        // Two designations of one tenant wait for each other here, before either holds a connection.
        sqlx::query!("select id from tenants where id = $1 for no key update", tenant.0)
            .fetch_optional(&mut *transaction)
            .await?;
        // The old one first: the index allows no second one at any moment.
        sqlx::query!(
            "update connections set historical_sync = false where tenant_id = $1 and historical_sync and id <> $2",
            tenant.0,
            connection.0
        )
        .execute(&mut *transaction)
        .await?;
        sqlx::query!(
            "update connections set historical_sync = true where id = $1 and tenant_id = $2",
            connection.0,
            tenant.0
        )
        .execute(&mut *transaction)
        .await?;
        Ok(transaction.commit().await?)
    }

    /// The tenant's designated connection, if it has one.
    pub async fn for_historical_sync(self, tenant: TenantId) -> Result<Option<ConnectionId>, StoreError> {
        Ok(sqlx::query_scalar!(
            r#"select id as "id: ConnectionId" from connections
                where tenant_id = $1 and historical_sync and deleted_at is null"#,
            tenant.0
        )
        .fetch_optional(&self.store.pool)
        .await?)
    }
}
