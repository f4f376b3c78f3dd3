-- First third of several cancels at once: those of active jobs that nobody else holds for a moment, nor the command. What is
-- waited for is left out, so that two statements with several cancels each never wait for each other.
-- Per cancel: $1 jobs (null: the active one of the connection), $2 connections, $3 tenants (null: whoever's the job is), $4
-- identifiers that the tenant chose (null: none), $5 what the command is found by otherwise (null: nothing). $6 how many.
with asked as materialized (
    select a.nth, a.tenant, a.given, a.key,
           coalesce(a.job, (select j.id from jobs j where j.connection_id = a.connection and j.documents is null
                               and j.status in ('pending', 'running'))) as job
      from unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[])
               with ordinality a (job, connection, tenant, given, key, nth)
), free as materialized (
    select a.nth, a.job, coalesce(a.key, 'cancel/' || j.tenant_id || '/' || a.given) as key
      from asked a
     cross join lateral (
          select j.tenant_id from jobs j
           where j.id = a.job and (a.tenant is null or j.tenant_id = a.tenant)
              -- As text, so that no partial index fits: a plan made while the table was small could look through all of one.
              and j.status::text in ('pending', 'running') limit 1
             for no key update skip locked) j
     limit $6
)
select nth as "nth!", job as "job!: JobId", key from free
 where key is null or pg_try_advisory_xact_lock(hashtextextended(key, 1))
