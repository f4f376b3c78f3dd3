-- Tells a transition of job $1 in the transaction that made it, with the counters at this moment. $2 the kind, $3 what
-- there is to say, $4 the state that the event is about (null: the one that the job is in).
insert into job_events (job_id, kind, data, tenant_id, connection_id, traceparent, status, counters)
select j.id, $2, $3, j.tenant_id, j.connection_id, j.traceparent, coalesce($4, j.status),
       jsonb_build_object('inserted', s.inserted, 'updated', s.updated, 'unchanged', s.unchanged,
                          'deferred', s.deferred, 'failed', s.failed, 'deleted', s.deleted, 'total', s.total)
  from jobs j
 cross join lateral (
        select coalesce(sum(inserted), 0)::bigint as inserted, coalesce(sum(updated), 0)::bigint as updated,
               coalesce(sum(unchanged), 0)::bigint as unchanged, coalesce(sum(deferred), 0)::bigint as deferred,
               coalesce(sum(failed), 0)::bigint as failed, coalesce(sum(deleted), 0)::bigint as deleted,
               case when count(*) = count(slices.total) and count(*) > 0 then sum(slices.total)::bigint end as total
          from slices where slices.job_id = j.id) s
 where j.id = $1
