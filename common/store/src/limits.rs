//! Limits of a connection, held over the whole fleet: pages in flight, and requests per second.

use super::StoreError;
use crate::handles::Connections;
use protocol::ids::{ConnectionId, TenantId};
use std::time::Duration;

/// What a connection's upstream can bear.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ConnectionLimits {
    /// Pages in flight at a time, 1 to 10,000; `None`: as many as the tenant's limit of slices.
    pub pages_in_flight: Option<i32>,
    /// Requests per second, 0.001 to 10,000; `None`: no limit.
    pub requests_per_second: Option<f32>,
}

/// When a page of a connection with a limit of requests may be asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// After this time, which is kept free for it.
    After(Duration),
    /// Not so soon: nothing is kept free. It may ask again after this time.
    NotBefore(Duration),
}

impl Connections<'_> {
    /// Sets a connection's limits. They hold for pages begun from now on; of slices that are under way too many wait
    /// after the page in flight. False if the tenant has no such connection.
    ///
    /// # Errors
    /// [`StoreError::Refused`] when a limit is out of its range.
    pub async fn set_limits(
        self,
        tenant: TenantId,
        connection: ConnectionId,
        limits: ConnectionLimits,
    ) -> Result<bool, StoreError> {
        let limited = sqlx::query!(
            "update connections set max_pages_in_flight = $3, requests_per_second = $4
              where tenant_id = $1 and id = $2 and deleted_at is null",
            tenant.0,
            connection.0,
            limits.pages_in_flight,
            limits.requests_per_second
        )
        .execute(&self.store.pool)
        .await?;
        Ok(limited.rows_affected() == 1)
    }

    /// For how much longer the upstream of a connection wants to be left alone; `None` if it may be asked.
    pub async fn rest_left(self, connection: ConnectionId) -> Result<Option<Duration>, StoreError> {
        let left = sqlx::query_scalar!(
            r#"select extract(epoch from paused_until - now())::float8 as "left!" from connections
                where id = $1 and paused_until > now() and isfinite(paused_until)"#,
            connection.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        Ok(left.map(seconds))
    }

    /// Asks for the time of a page's request, at most `most` ahead. Times that were given and not used are lost.
    pub async fn admit_request(
        self,
        connection: ConnectionId,
        most: Duration,
    ) -> Result<Admission, StoreError> {
        let after = sqlx::query_scalar!(
            r#"with settings as materialized (
                   -- What a crash of the database forgets is that some requests were made in its last moment.
                   select set_config('synchronous_commit', 'off', true) as off
               )
               update connections c
                  set next_request_at = greatest(c.next_request_at, now()) + interval '1 s' / c.requests_per_second
                 from settings
                where c.id = $1 and c.requests_per_second is not null and settings.off is not null
                  and c.next_request_at <= now() + $2::float8 * interval '1 ms'
               returning extract(epoch from c.next_request_at - interval '1 s' / c.requests_per_second - now())::float8
                         as "after!""#,
            connection.0,
            most.as_secs_f64() * 1000.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        if let Some(after) = after {
            return Ok(Admission::After(seconds(after)));
        }
        let wait = sqlx::query_scalar!(
            r#"select extract(epoch from next_request_at - now())::float8 as "wait!" from connections
                where id = $1 and requests_per_second is not null and isfinite(next_request_at)"#,
            connection.0
        )
        .fetch_optional(&self.store.pool)
        .await?;
        // Without a limit by now, at once.
        Ok(wait.map_or(Admission::After(Duration::ZERO), |wait| Admission::NotBefore(seconds(wait))))
    }
}

fn seconds(seconds: f64) -> Duration {
    Duration::try_from_secs_f64(seconds.max(0.0)).unwrap_or(Duration::MAX)
}
