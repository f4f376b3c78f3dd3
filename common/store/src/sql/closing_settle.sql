-- Ends a page of a check or a deletion, after the work of its transaction: page log, counters, checkpoint and the next lease. The
-- fence holds: its row is locked. $1 job, $2 slice, $3 token, $4 page, $5 the records that were deleted, $6 the cursor of
-- the next page (null: this was the last), $7 the stint goes on, $8 lease in ms, $9 connection.
with fence as materialized (
    select s.job_id, s.slice, s.worker, s.tenant_id from slices s
     where s.job_id = $1 and s.slice = $2 and s.lease_token = $3 and s.page = $4 and s.status = 'ready'
), logged as (
    insert into page_log (job_id, slice, page, keys, outcomes, worker)
    select job_id, slice, $4, $5::text[], repeat('x', cardinality($5::text[])), worker from fence
), gate as (
    -- As in a settle.
    select f.job_id, f.slice, $7 and $6::text is not null as goes_on, $6::text is null as ends,
           j.status = 'running' and not j.paused and c.deleted_at is null
               and (c.paused_until is null or c.paused_until <= now())
               and case when c.max_pages_in_flight is null then true else c.max_pages_in_flight >=
                   (select count(*) from slices o
                     where o.tenant_id = f.tenant_id and o.status = 'ready' and o.connection_id = $9) end as open
      from fence f, jobs j, connections c where j.id = $1 and c.id = $9
)
update slices s set
       page = s.page + 1, cursor = $6, charges = '{}', attempts = 0, last_error = null, last_settled_at = now(),
       deleted = s.deleted + cardinality($5::text[]),
       status = (case when g.ends then 'done' when g.open then 'ready' else 'queued' end)::slice_status,
       lease_token = case when g.goes_on and g.open then s.lease_token end,
       leased_ring = case when g.goes_on and g.open then s.leased_ring end,
       worker = case when g.goes_on and g.open then s.worker end,
       leased_until = case when g.goes_on and g.open then now() + $8::float8 * interval '1 ms' end,
       ring = s.ring + case when g.open and not g.goes_on and not g.ends then 1 else 0 end,
       rung_at = case when g.open and not g.goes_on and not g.ends then now() else s.rung_at end,
       rung_marker = case when g.open and not g.goes_on and not g.ends then (select published from markers)
                          else s.rung_marker end
  from gate g
 where s.job_id = g.job_id and s.slice = g.slice
returning s.status as "status!: SliceStatus", s.page as "page!", s.ring as "ring!", s.lease_token is not null as "kept!",
          cardinality($5::text[])::bigint as "deleted!"
