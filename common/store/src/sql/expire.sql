-- Leases whose holders no longer renew them. Whatever broke, the page is free again; the loss is charged like a takeover.
-- $1 how many at most.
with lost as materialized (
    select s.job_id, s.slice
      from (select job_id, slice from slices where status = 'ready' and leased_until < now()
             union all
            select c.job_id, c.slice
              from jobs j join slices c on c.job_id = j.id and c.status = 'cancelled' and c.leased_until < now()
             where j.status = 'cancelling') candidate
      join slices s on s.job_id = candidate.job_id and s.slice = candidate.slice
     where s.leased_until < now()
     order by s.job_id, s.slice
     limit $1
       for no key update of s skip locked
)
update slices s set
       charges = case when s.status = 'ready'
                       and (w.suspect_job is null or (w.suspect_job, w.suspect_slice) = (s.job_id, s.slice))
                       and not s.worker = any (s.charges)
                      then s.charges || s.worker else s.charges end,
       lease_token = null, leased_ring = null, worker = null, leased_until = null,
       ring = s.ring + case when s.status = 'ready' then 1 else 0 end,
       rung_at = case when s.status = 'ready' then now() else s.rung_at end,
       rung_marker = case when s.status = 'ready' then (select published from markers) else s.rung_marker end
  from lost l, slices old left join workers w on w.id = old.worker
 where s.job_id = l.job_id and s.slice = l.slice and old.job_id = l.job_id and old.slice = l.slice
returning s.job_id as "job: JobId", s.slice, s.page, s.ring, s.status = 'ready' as "open!"
