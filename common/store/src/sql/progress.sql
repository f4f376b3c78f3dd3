-- Running jobs that have settled a page since $1, with their counters, as told at $3; at most $2, in any order, so that
-- each has its turn when there are more.
select j.id as "job: JobId", j.tenant_id as "tenant: TenantId", j.connection_id as "connection: ConnectionId",
       $3::timestamptz as "at!",
       jsonb_build_object('inserted', s.inserted, 'updated', s.updated, 'unchanged', s.unchanged,
                          'deferred', s.deferred, 'failed', s.failed, 'deleted', s.deleted) as "counters!: Json<Counters>",
       s.total
  from (select id, tenant_id, connection_id from jobs
         where status = 'running'
           -- A settle's time is that of its beginning; it may have ended after the last look.
           and exists (select from slices where job_id = jobs.id and last_settled_at > $1::timestamptz - interval '0.2 s')
         order by random() limit $2) j
 cross join lateral (
        select sum(inserted)::bigint as inserted, sum(updated)::bigint as updated, sum(unchanged)::bigint as unchanged,
               sum(deferred)::bigint as deferred, sum(failed)::bigint as failed, sum(deleted)::bigint as deleted,
               case when count(*) = count(slices.total) then sum(slices.total)::bigint end as total
          from slices where slices.job_id = j.id) s
