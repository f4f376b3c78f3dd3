-- Ends the cancels of jobs of which no lease is left. Their rows are locked, by an earlier statement.
-- $1 jobs, $2 the kind of the event.
with ended as (
    update jobs j set status = 'cancelled', finished_at = now()
     where j.id = any ($1)
       and not exists (select from slices s where s.job_id = j.id and s.lease_token is not null)
    returning j.id, j.tenant_id, j.connection_id, j.traceparent, j.cancel_reason, j.cancel_requested_by, j.finished_at,
              j.cancel_requested_at
), told as (
    insert into job_events (job_id, kind, data, tenant_id, connection_id, traceparent, status, counters)
    select e.id, $2, jsonb_build_object('reason', e.cancel_reason, 'requested_by', e.cancel_requested_by, 'forced', false),
           e.tenant_id, e.connection_id, e.traceparent, 'cancelled', s.counters
      from ended e
     cross join lateral (
           select jsonb_build_object('inserted', coalesce(sum(s.inserted), 0), 'updated', coalesce(sum(s.updated), 0),
                                     'unchanged', coalesce(sum(s.unchanged), 0), 'deferred', coalesce(sum(s.deferred), 0),
                                     'failed', coalesce(sum(s.failed), 0), 'deleted', coalesce(sum(s.deleted), 0),
                                     'total', case when count(*) = count(s.total) and count(*) > 0 then sum(s.total) end)
                      as counters
             from slices s where s.job_id = e.id) s
)
select id as "job!: JobId", extract(epoch from finished_at - cancel_requested_at)::float8 as "took!" from ended
