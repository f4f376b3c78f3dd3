-- First half of several starts at once: those whose connection nobody else holds for a moment, and neither the command nor
-- the job. What is waited for is left out, so that two statements with several starts each never wait for each other.
-- Per start: $1 jobs, $2 connections (each once), $3 tenants (null: whoever's the connection is), $4 identifiers that the
-- tenant chose (null: none), $5 what the command is found by otherwise (null: nothing). $6 how many.
with asked as materialized (
    select a.*
      from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
               with ordinality a (job, connection, tenant, given, key, nth)
), free as materialized (
    select a.nth, a.job, c.tenant_id, coalesce(a.key, 'start/' || c.tenant_id || '/' || a.given) as key
      from asked a
     cross join lateral (
          select c.tenant_id from connections c
           where c.id = a.connection and c.deleted_at is null and (a.tenant is null or c.tenant_id = a.tenant) limit 1
             for no key update skip locked) c
     limit $6
)
select nth as "nth!", tenant_id as "tenant!: TenantId", key
  from free
 where (key is null or pg_try_advisory_xact_lock(hashtextextended(key, 1)))
   and pg_try_advisory_xact_lock(hashtextextended(job::text, 0))
