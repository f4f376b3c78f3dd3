//! Sealed credentials, as the rotation of keys sees them. The store never holds a key.

use super::StoreError;
use crate::handles::Connections;
use protocol::ids::ConnectionId;
use sealing::{Bound, KeyId, Sealed};
use serde_json::Value;

/// The sealed credentials of one connection.
#[derive(Clone, Debug)]
pub struct SealedRow {
    /// The connection, deleted ones included: their credentials stay until the row goes.
    pub connection: ConnectionId,
    /// `tenant/connection`, for people.
    pub name: String,
    /// Where it sends them.
    pub base_url: String,
    /// Its settings, of which `auth` says how.
    pub settings: Value,
    /// What is stored.
    pub sealed: Sealed,
}

impl SealedRow {
    /// To what they are bound.
    #[must_use]
    pub const fn bound(&self) -> Bound<'_> {
        Bound { connection: self.connection, base_url: self.base_url.as_str(), settings: &self.settings }
    }
}

/// One connection's change to another key.
#[derive(Clone, Debug)]
pub struct Resealed {
    /// The connection.
    pub connection: ConnectionId,
    /// What was read.
    pub before: Sealed,
    /// What is to take its place.
    pub after: Sealed,
}

impl Connections<'_> {
    /// The sealed credentials of a connection; `None` if it has none, or is not there.
    pub async fn sealed_credentials(self, connection: ConnectionId) -> Result<Option<Sealed>, StoreError> {
        let row = sqlx::query!(
            r#"select credentials_key as "key!", credentials_nonce as "nonce!", credentials as "ciphertext!"
                 from connections where id = $1 and credentials_key is not null"#,
            connection.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(row.and_then(|row| Sealed::from_columns(&row.key, &row.nonce, row.ciphertext)))
    }

    /// How many connections' credentials each key seals.
    pub async fn credentials_keys(self) -> Result<Vec<(KeyId, i64)>, StoreError> {
        let rows = sqlx::query!(
            r#"select credentials_key as "key!: KeyId", count(*) as "connections!" from connections
                where credentials_key is not null group by credentials_key order by credentials_key"#
        )
        .fetch_all(&self.store.pool)
        .await?;
        Ok(rows.into_iter().map(|row| (row.key, row.connections)).collect())
    }

    /// Credentials that another key than `current` seals, in the order of their connections, from behind `after` on.
    pub async fn sealed_with_other_keys(
        self,
        current: KeyId,
        after: Option<ConnectionId>,
        limit: i64,
    ) -> Result<Vec<SealedRow>, StoreError> {
        let rows = sqlx::query!(
            r#"select c.id as "id: ConnectionId", t.name || '/' || c.name as "name!", base_url, settings, credentials_key as "key!",
                      credentials_nonce as "nonce!", credentials as "ciphertext!"
                 from connections c join tenants t on t.id = c.tenant_id
                where credentials_key <> $1 and ($2::uuid is null or c.id > $2)
                order by c.id limit $3"#,
            current.as_bytes(),
            after.map(|after| after.0),
            limit
        )
        .fetch_all(&self.store.pool)
        .await?;
        let sealed = rows.into_iter().filter_map(|row| {
            let sealed = Sealed::from_columns(&row.key, &row.nonce, row.ciphertext)?;
            let (base_url, settings) = (row.base_url, row.settings);
            Some(SealedRow { connection: row.id, name: row.name, base_url, settings, sealed })
        });
        Ok(sealed.collect())
    }

    /// Puts credentials under another key, in one transaction; those that were given anew since they were read are left
    /// as they are. Returns how many were changed.
    ///
    /// # Errors
    /// When the database cannot be written; nothing was changed then.
    pub async fn reseal(self, batch: &[Resealed]) -> Result<u64, StoreError> {
        let ids: Vec<_> = batch.iter().map(|one| one.connection.0).collect();
        let read: Vec<_> = batch.iter().map(|one| one.before.nonce.to_vec()).collect();
        let keys: Vec<_> = batch.iter().map(|one| one.after.key.as_bytes().to_vec()).collect();
        let nonces: Vec<_> = batch.iter().map(|one| one.after.nonce.to_vec()).collect();
        let ciphertexts: Vec<_> = batch.iter().map(|one| one.after.ciphertext.clone()).collect();
        let changed = sqlx::query!(
            "with given as materialized (
                 select * from unnest($1::uuid[], $2::bytea[], $3::bytea[], $4::bytea[], $5::bytea[])
                            as given (id, read, key, nonce, ciphertext)
             ), locked as materialized (
                 -- In one order, so that two rotations do not wait for each other.
                 select c.id from connections c where c.id = any ($1) order by c.id for no key update
             )
             update connections c
                set credentials_key = given.key, credentials_nonce = given.nonce, credentials = given.ciphertext
               from given join locked on locked.id = given.id
              where c.id = given.id and c.credentials_nonce = given.read",
            &ids,
            &read,
            &keys,
            &nonces,
            &ciphertexts
        )
        .execute(&self.store.pool)
        .await?;
        Ok(changed.rows_affected())
    }
}
