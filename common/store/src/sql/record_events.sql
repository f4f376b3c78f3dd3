-- Tells transitions of jobs in the transaction that made them, with the counters at this moment.
-- Per transition: $1 jobs, $2 kinds, $3 what there is to say, $4 states that the events are about (null: the one that the
-- job is in).
insert into job_events (job_id, kind, data, tenant_id, connection_id, traceparent, status, counters)
select j.id, t.kind, t.data, j.tenant_id, j.connection_id, j.traceparent, coalesce(t.status, j.status),
       jsonb_build_object('inserted', s.inserted, 'updated', s.updated, 'unchanged', s.unchanged,
                          'deferred', s.deferred, 'failed', s.failed, 'deleted', s.deleted, 'total', s.total)
  from unnest($1::uuid[], $2::text[], $3::jsonb[], $4::job_status[]) with ordinality t (job, kind, data, status, nth)
  -- One look by key for each, whatever the planner believes about the size of the table.
 cross join lateral (select j.* from jobs j where j.id = t.job limit 1) j
 cross join lateral (
        select coalesce(sum(inserted), 0)::bigint as inserted, coalesce(sum(updated), 0)::bigint as updated,
               coalesce(sum(unchanged), 0)::bigint as unchanged, coalesce(sum(deferred), 0)::bigint as deferred,
               coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(deleted), 0)::bigint as deleted,
               case when count(*) = count(slices.total) and count(*) > 0 then sum(slices.total)::bigint end as total
          from slices where slices.job_id = j.id) s
 order by t.nth
